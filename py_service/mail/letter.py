"""A letter that waits: a document that a change writes beside its objects, so that it is there exactly when the change is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import msgspec

from py_service.stores.mongo import Document

COLLECTION = "outbox"
TRIED_FOR_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Letter:
    """`kind` says who writes it; `about` is the object that it is about, of organization `org` (empty: nobody knows yet whose it is).

    `to`: an address in its one form (lower case). `quiet_ms`: for so long after it was sent no other letter with this id is.
    """

    kind: str
    org: str
    about: str
    to: str
    made_at: int
    quiet_ms: int = 0
    id: str = field(default_factory=lambda: secrets.token_hex(16))

    def document(self) -> Document:
        """As it is stored: due at once."""
        return {
            "_id": self.id, "kind": self.kind, "org": self.org, "about": self.about, "to": self.to, "made_at": self.made_at,
            "quiet_ms": self.quiet_ms, "due_at": self.made_at, "tries": 0,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter whose time has come, and how often it was tried."""

    letter: Letter
    tries: int

    @classmethod
    def of(cls, document: Document) -> Waiting:
        """A stored one."""
        named = {name: document["_id" if name == "id" else name] for name in Letter.__dataclass_fields__}
        return cls(msgspec.convert(named, Letter), int(document["tries"]))
