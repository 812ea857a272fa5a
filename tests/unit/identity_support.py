"""What the unit tests of identity and devices share: a real index and ring, a clock that stands, and a store kept in dictionaries."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace

from py_service._core_rs import KeyRing, PermissionIndex
from py_service.errors import Problem, stores_unavailable
from py_service.identity.messages import RoleHeld
from py_service.identity.sessions import Session, SessionStore
from py_service.identity.store import Account, IdentityStore, PersonSeen, RefreshToken

NOW_MS = 1_800_000_000_000


class Clock:
    """Milliseconds that only move when told."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def make_ring() -> KeyRing:
    """A ring with an access key and acme's command key, both active."""
    ring = KeyRing(bytes(32))
    for purpose, organization, key_id in (("access", "", "access.1"), ("command", "acme", "acme.1")):
        ring.generate(purpose, organization, key_id)
        ring.activate(purpose, organization, key_id)
    return ring


def images(**changed: dict[str, object]) -> bytes:
    """Acme: one site, two doors, and Ada, who may open the first. `changed` replaces documents, named `<kind>__<id>`."""
    documents: dict[str, dict[str, object]] = {
        "organization acme": {"name": "Acme", "active": True},
        "site hq": {"name": "HQ", "address": "", "time_zone": "Europe/Berlin", "locked_down": False},
        "door front": {"site": "hq", "area": None, "name": "Front", "lock": "lock1", "mode": "locked", "locked_down": False},
        "door back": {"site": "hq", "area": None, "name": "Back", "lock": None, "mode": "locked", "locked_down": False},
        "person ada": person_document(),
        "grant g1": {
            "effect": "allow",
            "person": "ada",
            "group": None,
            "door": "front",
            "area": None,
            "site": None,
            "schedule": None,
            "valid_from": None,
            "valid_until": None,
        },
        **{name.replace("__", " "): document for name, document in changed.items()},
    }
    listed = [{"kind": name.split()[0], "id": name.split()[1], "document": document} for name, document in documents.items()]
    return json.dumps(listed).encode()


def person_document(**changed: object) -> dict[str, object]:
    return {
        "name": "Ada",
        "email": "ada@acme.example",
        "kind": "employee",
        "state": "active",
        "valid_from": None,
        "valid_until": None,
        "groups": [],
        "roles": [],
        "tokens_valid_after": 0,
    } | changed


class MadePermissions:
    """The real index; `current` loads what `following` holds, as if another process had changed it."""

    def __init__(self, loaded: bytes | None = None) -> None:
        self.index = PermissionIndex()
        self.index.load("acme", 1, loaded or images())
        self.following: bytes | None = None
        self.failure: Problem | None = None

    async def current(self, organization: str, /) -> int:
        if self.failure:
            raise self.failure
        if self.following is not None:
            self.index.load("acme", 2, self.following)
        return self.index.revision(organization)


@dataclass
class Fails:
    """Raise 503 once at the call of this name."""

    at: str | None = None

    def check(self, name: str) -> None:
        if self.at == name:
            self.at = None
            raise stores_unavailable()


class MadeSessions(SessionStore):
    """Sessions that go on, over a dictionary by identifier."""

    def __init__(self) -> None:
        self.going_on: dict[str, Session] = {}
        self.fails = Fails()

    async def find(self, organization: str, session: str) -> Session | None:
        found = self.going_on.get(session)
        return found if found is not None and found.org == organization else None

    async def seen(self, session: Session, at_ms: int, expires_at_ms: int, client: str) -> bool:
        self.fails.check("seen")
        if session.id not in self.going_on:
            return False
        self.going_on[session.id] = replace(session, last_seen=at_ms, expires_at=expires_at_ms, client=client)
        return True


class MadeStore(IdentityStore):
    """The store's methods over dictionaries. Its queries are tested against the real server."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.persons: dict[str, PersonSeen] = {"acme:ada": PersonSeen("Ada", [RoleHeld("auditor", None)])}
        self.tokens: dict[str, RefreshToken] = {}
        self.sessions = MadeSessions()
        self.fails = Fails()

    async def account(self, email: str) -> Account | None:
        return self.accounts.get(email)

    async def begin_session(self, email: str, proved: str, renewed: str | None, session: Session, token: RefreshToken) -> bool:
        found = self.accounts.get(email)
        if found is None or found.password != proved:
            return False
        self.accounts[email] = Account(found.org, found.person, renewed or proved)
        self.sessions.going_on[session.id] = session
        self.tokens[token.id] = token
        return True

    async def person(self, organization: str, person: str) -> PersonSeen | None:
        return self.persons.get(f"{organization}:{person}")

    async def insert_token(self, token: RefreshToken) -> None:
        self.fails.check("insert_token")
        self.tokens[token.id] = token

    async def token(self, token_id: str) -> RefreshToken | None:
        found = self.tokens.get(token_id)
        await asyncio.sleep(0)  # as with a real store, another request comes between reading and writing
        return found

    async def use_token(self, token_id: str) -> bool:
        self.fails.check("use_token")
        found = self.tokens.get(token_id)
        if found is None or found.used:
            return False
        self.tokens[token_id] = replace(found, used=True)
        return True

    async def delete_token(self, token_id: str) -> None:
        self.tokens.pop(token_id, None)
