"""The identity room's documents: accounts, refresh tokens, and the person behind an account. Sessions themselves: `sessions.py`.

Each query is by `_id`, or by equality or one bounded range on one indexed field (docs/protocols/documents.md, query law).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from py_service.errors import stores_unavailable
from py_service.identity.accounts import holder_of
from py_service.identity.messages import RoleHeld
from py_service.identity.sessions import COLLECTION, Session
from py_service.stores.mongo import MAJORITY, MAJORITY_JOURNALED, Document, Mongo, is_conflict, store_errors

TOKENS_AT_ONCE_MAX = 500
EXPIRED_KEPT_MS = 60_000  # clocks differ by a second at most; and who comes a moment too late is told that the token has expired
CONFLICTS_MAX = 20
CONFLICT_PAUSE_SECONDS_MAX = 0.02

Settled = TypeVar("Settled")


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
class RefreshToken:
    """One token of a session (its family). `id` is the SHA-256 of the token, in hex; the token itself is stored nowhere."""

    id: str
    family: str
    org: str
    person: str
    expires_at: int
    used: bool = False

    def document(self) -> Document:
        """As it is stored."""
        return {
            "_id": self.id, "family": self.family, "org": self.org, "person": self.person, "expires_at": self.expires_at,
            "used": self.used,
        }  # fmt: skip


class IdentityStore:
    """Every write is majority and journal acknowledged. Raises Problem 503 when the store doesn't answer."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        database = mongo.database
        self._accounts = _durable(database, "accounts")
        self._tokens = _durable(database, "sessions")
        self._sessions = _durable(database, COLLECTION)
        self._persons = _durable(database, "persons")

    async def account(self, email: str) -> Account | None:
        """`email` in lower case."""
        async with store_errors():
            found = await self._accounts.find_one({"_id": email})
        return None if found is None else msgspec.convert(found, Account)

    async def account_of(self, organization: str, person: str) -> tuple[str, Account] | None:
        """A person's account, and the address that it is signed in with."""
        async with store_errors():
            found = await self._accounts.find_one({"holder": holder_of(organization, person)})
        return None if found is None else (str(found["_id"]), msgspec.convert(found, Account))

    async def begin_session(self, email: str, proved: str, renewed: str | None, session: Session, token: RefreshToken) -> bool:
        """Write a session for whoever proved the password whose hash is `proved`; `renewed` is its hash with today's parameters.

        False when the account has another password by now. INVARIANT: the account is written too, so that a change of the password and
        a sign-in with the old one can't both succeed without the one seeing the other: the change ends the session, or there is none.
        """

        async def work(transaction: AsyncClientSession) -> bool:
            found = await self._accounts.find_one({"_id": email}, session=transaction)
            if found is None or found["password"] != proved:
                return False
            holder = holder_of(session.org, session.person)
            changed = {"password": renewed or proved, "signed_in_at": session.created_at, "holder": holder}
            await self._accounts.update_one({"_id": email}, {"$set": changed}, session=transaction)
            await self._sessions.insert_one(session.document(), session=transaction)
            await self._tokens.insert_one(token.document(), session=transaction)
            return True

        return await self._settled(work)

    async def add_session(self, session: Session, token: RefreshToken) -> None:
        """Write a session for whoever proved who they are without a password."""

        async def work(transaction: AsyncClientSession) -> None:
            await self._sessions.insert_one(session.document(), session=transaction)
            await self._tokens.insert_one(token.document(), session=transaction)

        await self._settled(work)

    async def _settled(self, work: Callable[[AsyncClientSession], Awaitable[Settled]]) -> Settled:
        """What `work` comes to in a transaction of its own; tried again when another one was faster. Raises Problem 503."""
        for _ in range(CONFLICTS_MAX):
            async with store_errors(), self._mongo.session() as session:
                try:
                    async with self._mongo.transaction(session):
                        settled = await work(session)
                        await session.commit_transaction()
                    return settled
                except PyMongoError as error:
                    if not is_conflict(error):
                        self._mongo.leave(session)  # nobody knows what the store still holds for it
                        raise
            await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_SECONDS_MAX))
        raise stores_unavailable("The account is being changed.")

    async def person(self, organization: str, person: str) -> PersonSeen | None:
        async with store_errors():
            found = await self._persons.find_one({"_id": f"{organization}:{person}"})
        return None if found is None else msgspec.convert(found, PersonSeen)

    async def insert_token(self, token: RefreshToken) -> None:
        async with store_errors():
            await self._tokens.insert_one(token.document())

    async def token(self, token_id: str) -> RefreshToken | None:
        async with store_errors():
            found = await self._tokens.find_one({"_id": token_id})
        return None if found is None else _token(found)

    async def use_token(self, token_id: str) -> bool:
        """Mark a token as used. False when somebody else did, or when it is gone: of two callers one gets True.

        INVARIANT: an update of one document is atomic, and one that changes nothing counts as not modified; that decides the race.
        `used: False` in the query would say it plainer, but the embedded server scans for any predicate beside `_id`.
        """
        async with store_errors():
            outcome = await self._tokens.update_one({"_id": token_id}, {"$set": {"used": True}})
        return outcome.modified_count == 1

    async def delete_token(self, token_id: str) -> None:
        async with store_errors():
            await self._tokens.delete_one({"_id": token_id})

    async def delete_expired(self, now_ms: int) -> int:
        """Delete refresh tokens that have been over for a minute, 500 at most; how many. A token's end never moves."""
        over = {"expires_at": {"$gte": 0, "$lt": now_ms - EXPIRED_KEPT_MS}}
        async with store_errors():
            found = await self._tokens.find(over, {"_id": 1}).limit(TOKENS_AT_ONCE_MAX).to_list()
            if found:
                await self._tokens.delete_many({"_id": {"$in": [document["_id"] for document in found]}})
        return len(found)


def _token(document: Document) -> RefreshToken:
    return RefreshToken(
        id=str(document["_id"]),
        family=str(document["family"]),
        org=str(document["org"]),
        person=str(document["person"]),
        expires_at=msgspec.convert(document["expires_at"], int),
        used=document["used"] is not False,  # anything but a clear "not used" counts as used
    )


def _durable(database: AsyncDatabase[Document], name: str) -> AsyncCollection[Document]:
    return database.get_collection(name, read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)
