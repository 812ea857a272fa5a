"""A request with an Idempotency-Key: what it is remembered by, and which of its changes have taken effect.

The lane of changes asks `next_step` whether the change that it is given belongs to such a request. If so it looks, inside its own
transaction, for what that step came to before, and writes down there what it comes to now. So a step has taken effect exactly when its
record is in the store, whoever carries it out, however often, in whichever process.
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from pymongo.asynchronous.client_session import AsyncClientSession

from py_service.errors import Problem
from py_service.exchange import Request
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step came to: `revision` and `result` as in the lane's `Changed`."""

    revision: int
    result: Document | None


class StepRecords(Protocol):
    """Where steps are kept, in the transaction of `session`."""

    async def recall_step(self, session: AsyncClientSession, keyed: Keyed, number: int) -> Kept | None: ...
    async def keep_step(self, session: AsyncClientSession, keyed: Keyed, number: int, kept: Kept) -> None: ...


@dataclass(slots=True)
class Keyed:
    """`identifier` is the `_id` of its claim; `request` the SHA-256 of all that the key stands for."""

    organization: str
    identifier: str
    request: bytes
    records: StepRecords
    over: bool = False
    submitted: int = 0
    recalled: set[int] = field(default_factory=set)

    def check_same(self, request: bytes) -> None:
        """Raises Problem 422: the key stands for another request."""
        if request != self.request:
            raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another request.")


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a request, by its number among the request's changes."""

    keyed: Keyed
    number: int

    async def recall(self, session: AsyncClientSession) -> Kept | None:
        """What it came to before; None when it hasn't taken effect. Raises Problem 422 when the key stands for another request."""
        kept = await self.keyed.records.recall_step(session, self.keyed, self.number)
        if kept is not None:
            self.keyed.recalled.add(self.number)
        return kept

    async def keep(self, session: AsyncClientSession, revision: int, result: Document | None) -> None:
        """Write down what it comes to: there when the transaction commits. Raises Problem 500 for a result that can't be written down."""
        await self.keyed.records.keep_step(session, self.keyed, self.number, Kept(revision, result))


under_way: ContextVar[Keyed | None] = ContextVar("idempotency_under_way", default=None)


def next_step() -> Step | None:
    """The next change of the request that is being carried out here; None when it has no key, or has been answered."""
    keyed = under_way.get()
    if keyed is None or keyed.over:
        return None
    keyed.submitted += 1
    return Step(keyed, keyed.submitted)


def identifier_of(organization: str, principal: str, key: str) -> str:
    """Of this principal of this organization only. The key itself, which may say something, is not stored."""
    return f"{organization}:{_digest(principal.encode(), key.encode()).hex()}"


def digest_of(request: Request) -> bytes:
    """Method, path, query and body: another one of any of them is another request."""
    query = [text.encode("utf-8", "surrogatepass") for pair in sorted(request.query.items()) for text in pair]
    return _digest(request.method.encode(), request.path.encode("utf-8", "surrogatepass"), request.body, *query)


def _digest(*parts: bytes) -> bytes:
    """SHA-256 of all parts, each after its length, so that no two lists of parts have the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
