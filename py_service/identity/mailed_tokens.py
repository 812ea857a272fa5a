"""One-time tokens that went out by mail: 256 random bits behind `#`, so that no server's log has them. Only their SHA-256 is stored.

What one is good for is settled in the change that uses it up: `proves` has to fit what is there then.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from typing import Literal

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from py_service.stores.mongo import MAJORITY, MAJORITY_JOURNALED, Document, store_errors

COLLECTION = "mailed_tokens"
SWEPT_AT_ONCE_MAX = 500
_TOKEN_BYTES = 32
TOKEN_CHARACTERS_MAX = 128
Purpose = Literal["invitation", "password_reset"]


@dataclass(frozen=True, slots=True)
class MailedToken:
    """`about`: the invitation, or the e-mail address of the account. `proves`: how often it was sent, or the password that was."""

    id: str
    purpose: Purpose
    org: str
    about: str
    proves: str
    expires_at: int


def token_hash(token: str) -> str:
    """SHA-256 in hex. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def link_of(public_url: str, page: str, token: str) -> str:
    """What the receiver opens."""
    return f"{public_url.rstrip('/')}/{page}#{token}"


class MailedTokens:
    """Queries by `_id`, or by one bounded range on one indexed field. Raises Problem 503."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._tokens = database.get_collection(COLLECTION, read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)

    async def make(self, purpose: Purpose, org: str, about: str, proves: str, expires_at: int) -> str:
        """A new one, which only the receiver will have."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        made = asdict(MailedToken(token_hash(token), purpose, org, about, proves, expires_at))
        made["_id"] = made.pop("id")
        async with store_errors():
            await self._tokens.insert_one(made)
        return token

    async def find(self, purpose: Purpose, token: str) -> MailedToken | None:
        """One that was not used up, whether or not it has expired."""
        async with store_errors():
            return await find_token(self._tokens.database, purpose, token_hash(token))

    async def delete_expired(self, now_ms: int) -> int:
        """500 at most; how many."""
        async with store_errors():
            over = {"expires_at": {"$gte": 0, "$lt": now_ms}}
            found = await self._tokens.find(over, {"_id": 1}).limit(SWEPT_AT_ONCE_MAX).to_list()
            if found:
                await self._tokens.delete_many({"_id": {"$in": [document["_id"] for document in found]}})
        return len(found)


async def find_token(
    database: AsyncDatabase[Document], purpose: Purpose, identifier: str, session: AsyncClientSession | None = None
) -> MailedToken | None:
    """By its hash, for this purpose only."""
    found = await database[COLLECTION].find_one({"_id": identifier}, session=session)
    if found is None or found["purpose"] != purpose:
        return None
    return msgspec.convert({**found, "id": found["_id"]}, MailedToken)
