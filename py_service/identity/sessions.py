"""Sessions that go on: one document each, written at sign-in, touched by every refresh, taken out by the change that ends it.

A session is a family of refresh tokens; its id stands in the access tokens. A refresh token whose session is gone is good for nothing,
so the end of a session is one document in one transaction, however many tokens it had.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from py_service.stores.mongo import Document, store_errors

COLLECTION = "session_families"
CLIENT_CHARACTERS_MAX = 160
SWEPT_AT_ONCE_MAX = 500
SWEPT_LATE_MS = 60_000  # clocks differ by a second at most


@dataclass(frozen=True, slots=True)
class Session:
    """`last_seen`: of the latest refresh. `client`: what its User-Agent said then. `expires_at`: that of its latest refresh token."""

    id: str
    org: str
    person: str
    created_at: int
    last_seen: int
    expires_at: int
    client: str

    @property
    def document_id(self) -> str:
        return session_document_id(self.org, self.id)

    def document(self) -> Document:
        """As it is stored."""
        return {"_id": self.document_id, "holder": _holder(self.org, self.person), **asdict(self)}

    @classmethod
    def of(cls, document: Document) -> Session:
        """A stored one."""
        return msgspec.convert({name: document[name] for name in cls.__dataclass_fields__}, cls)


def session_document_id(organization: str, session: str) -> str:
    return f"{organization}:{session}"


def _holder(organization: str, person: str) -> str:
    return f"{organization}:{person}"


def client_name(user_agent: str | None) -> str:
    """A User-Agent as it can be shown: visible ASCII in one line, 160 characters at most. Empty when there was none."""
    words = "".join(character if " " <= character <= "~" else " " for character in (user_agent or "")[: 4 * CLIENT_CHARACTERS_MAX])
    return " ".join(words.split())[:CLIENT_CHARACTERS_MAX].rstrip()


class SessionStore:
    """Queries by `_id`, or by equality or one bounded range on one indexed field. Raises Problem 503."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database

    async def find(self, organization: str, session: str) -> Session | None:
        """One that goes on."""
        async with store_errors():
            found = await self._database[COLLECTION].find_one({"_id": session_document_id(organization, session)})
        return None if found is None else Session.of(found)

    async def of_person(self, organization: str, person: str, limit: int) -> list[Session]:
        """Those seen last, the latest first."""
        async with store_errors():
            found = await sessions_of(self._database, organization, person, limit)
        return sorted(found, key=lambda session: (-session.last_seen, session.id))

    async def seen(self, session: Session, at_ms: int, expires_at_ms: int, client: str) -> bool:
        """A refresh has prolonged it. False when it has ended meanwhile."""
        changed = {"last_seen": at_ms, "expires_at": expires_at_ms, "client": client}
        async with store_errors():
            outcome = await self._database[COLLECTION].update_one({"_id": session.document_id}, {"$set": changed})
        return outcome.matched_count == 1

    async def delete_expired(self, now_ms: int) -> int:
        """Delete those that nobody prolonged, 500 at most; how many."""
        over = {"expires_at": {"$gte": 0, "$lt": now_ms - SWEPT_LATE_MS}}
        async with store_errors():
            found = await self._database[COLLECTION].find(over, {"_id": 1}).limit(SWEPT_AT_ONCE_MAX).to_list()
            if found:
                await self._database[COLLECTION].delete_many({"_id": {"$in": [document["_id"] for document in found]}})
        return len(found)

    async def delete_forgotten(self, now_ms: int) -> int:
        """Delete ends that nobody has to know of any more, and the refresh tokens of their sessions, 500 at most; how many."""
        over = {"forget_at": {"$gte": 0, "$lt": now_ms - SWEPT_LATE_MS}}
        async with store_errors():
            ended = await self._database["ended_sessions"].find(over, {"id": 1}).limit(SWEPT_AT_ONCE_MAX).to_list()
            for document in ended:
                if not await self._delete_tokens(str(document["id"])):
                    return SWEPT_AT_ONCE_MAX  # more of them the next time
                await self._database["ended_sessions"].delete_one({"_id": document["_id"]})
        return len(ended)

    async def _delete_tokens(self, session: str) -> bool:
        """Refresh tokens of a session, 500 at most. False when there may be more."""
        tokens = await self._database["sessions"].find({"family": session}, {"_id": 1}).limit(SWEPT_AT_ONCE_MAX).to_list()
        if tokens:
            await self._database["sessions"].delete_many({"_id": {"$in": [document["_id"] for document in tokens]}})
        return len(tokens) < SWEPT_AT_ONCE_MAX


async def sessions_of(
    database: AsyncDatabase[Document], organization: str, person: str, limit: int, session: AsyncClientSession | None = None
) -> list[Session]:
    """Those of a person's sessions that were seen last, the latest first: who has more than `limit` misses the oldest."""
    found = database[COLLECTION].find({"holder": _holder(organization, person)}, session=session).sort("last_seen", -1)
    return [Session.of(document) async for document in found.limit(limit)]
