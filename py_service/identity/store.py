"""The identity room's documents: accounts, sessions, and the person behind an account. Nobody else reads sessions.

Each query is by `_id`, or by equality or one bounded range on one indexed field (docs/protocols/documents.md, query law).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from py_service.identity.messages import RoleHeld
from py_service.stores.mongo import MAJORITY, MAJORITY_JOURNALED, Document, store_errors

SESSIONS_AT_ONCE_MAX = 500
EXPIRED_KEPT_MS = 60_000  # clocks differ by a second at most; and who comes a moment too late is told that the token has expired


class Account(msgspec.Struct, frozen=True):
    """`password` is the encoded argon2id hash."""

    org: str
    person: str
    password: str


class PersonSeen(msgspec.Struct, frozen=True):
    """What a person is told about themselves."""

    name: str
    roles: list[RoleHeld]


@dataclass(frozen=True, slots=True)
class Session:
    """One refresh token of a family. `id` is the SHA-256 of the token, in hex; the token itself is stored nowhere."""

    id: str
    family: str
    org: str
    person: str
    expires_at: int
    used: bool = False


class IdentityStore:
    """Every write is majority and journal acknowledged. Raises Problem 503 when the store doesn't answer."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._accounts = _durable(database, "accounts")
        self._sessions = _durable(database, "sessions")
        self._persons = _durable(database, "persons")

    async def account(self, email: str) -> Account | None:
        """`email` in lower case."""
        async with store_errors():
            found = await self._accounts.find_one({"_id": email})
        return None if found is None else msgspec.convert(found, Account)

    async def open_account(self, email: str, account: Account) -> Account:
        """The account that stands under this e-mail address from now on: this one, or the one that was there."""
        async with store_errors():
            try:
                await self._accounts.insert_one({"_id": email, "org": account.org, "person": account.person, "password": account.password})
            except DuplicateKeyError:
                standing = await self._accounts.find_one({"_id": email})
                return account if standing is None else msgspec.convert(standing, Account)
        return account

    async def replace_password(self, email: str, old: str, new: str) -> None:
        """Only while it is still `old`: a password that was changed meanwhile stays changed (a transaction, see `use_session`)."""
        async with store_errors(), self._client.start_session() as session:
            await session.start_transaction(read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)
            found = await self._accounts.find_one({"_id": email}, session=session)
            if found is not None and found["password"] == old:
                await self._accounts.update_one({"_id": email}, {"$set": {"password": new}}, session=session)
            await session.commit_transaction()

    async def person(self, organization: str, person: str) -> PersonSeen | None:
        async with store_errors():
            found = await self._persons.find_one({"_id": f"{organization}:{person}"})
        return None if found is None else msgspec.convert(found, PersonSeen)

    async def insert_session(self, session: Session) -> None:
        async with store_errors():
            await self._sessions.insert_one(
                {
                    "_id": session.id,
                    "family": session.family,
                    "org": session.org,
                    "person": session.person,
                    "expires_at": session.expires_at,
                    "used": session.used,
                }
            )

    async def session(self, session_id: str) -> Session | None:
        async with store_errors():
            found = await self._sessions.find_one({"_id": session_id})
        return None if found is None else _session(found)

    async def use_session(self, session_id: str) -> bool:
        """Mark a token as used. False when somebody else did, or when it is gone: of two callers one gets True.

        INVARIANT: an update of one document is atomic, and one that changes nothing counts as not modified; that decides the race.
        `used: False` in the query would say it plainer, but the embedded server scans for any predicate beside `_id`.
        """
        async with store_errors():
            outcome = await self._sessions.update_one({"_id": session_id}, {"$set": {"used": True}})
        return outcome.modified_count == 1

    async def delete_session(self, session_id: str) -> None:
        async with store_errors():
            await self._sessions.delete_one({"_id": session_id})

    async def delete_expired(self, now_ms: int) -> int:
        """Delete sessions that have been over for a minute, 500 at most; how many. A session's end never moves."""
        over = {"expires_at": {"$gte": 0, "$lt": now_ms - EXPIRED_KEPT_MS}}
        async with store_errors():
            found = await self._sessions.find(over, {"_id": 1}).limit(SESSIONS_AT_ONCE_MAX).to_list()
            if found:
                await self._sessions.delete_many({"_id": {"$in": [document["_id"] for document in found]}})
        return len(found)

    async def delete_family(self, family: str, keep: str | None = None) -> None:
        """Delete until a look finds nothing, since a refresh that is under way may just have added one. `keep` stays."""
        while True:
            async with store_errors():
                found = await self._sessions.find({"family": family}).to_list(1_000)
                identifiers = [document["_id"] for document in found if document["_id"] != keep]
                if not identifiers:
                    return
                await self._sessions.delete_many({"_id": {"$in": identifiers}})


def _session(document: Document) -> Session:
    return Session(
        id=str(document["_id"]),
        family=str(document["family"]),
        org=str(document["org"]),
        person=str(document["person"]),
        expires_at=msgspec.convert(document["expires_at"], int),
        used=document["used"] is not False,  # anything but a clear "not used" counts as used
    )


def _durable(database: AsyncDatabase[Document], name: str) -> AsyncCollection[Document]:
    return database.get_collection(name, read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)
