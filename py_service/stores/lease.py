"""A fenced lease in MongoDB: at most one holder, and a holder that lost it can't write any more.

Every transaction of the holder renews the lease inside itself, so it conflicts with whoever takes it over.
"""

from __future__ import annotations

import time

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from py_service.errors import StoreUnavailable
from py_service.stores.mongo import Mongo, now_ms, session_name
from py_service.stores.place import is_gone, own_place

LEASE_MS = 10_000
FRESH_SECONDS = 3.0


class LeaseLost(StoreUnavailable):
    """Somebody else holds it now."""


class Lease:
    """`holder` is the process's name."""

    def __init__(self, mongo: Mongo, name: str, holder: str) -> None:
        self._mongo = mongo
        self._collection = mongo.database["leases"]
        self.session = mongo.session()  # of every transaction that holds the lease
        self.name = name
        self.holder = holder
        self._renewed_at = -FRESH_SECONDS

    @property
    def fresh(self) -> bool:
        """Renewed a moment ago, by ourselves: taking it again would only get in the way of our own transactions."""
        return time.monotonic() - self._renewed_at < FRESH_SECONDS

    def renewed(self) -> None:
        """A transaction that held it has committed."""
        self._renewed_at = time.monotonic()

    async def take(self) -> bool:
        """True when the lease is ours now."""
        document = await self._collection.find_one({"_id": self.name})
        until = now_ms() + LEASE_MS
        ours = {"holder": self.holder, "until": until, "place": own_place(), "session": session_name(self.session)}
        if document is None:
            try:
                await self._collection.insert_one({"_id": self.name, "token": 1, **ours})
            except DuplicateKeyError:
                return False
            return True
        if document["holder"] != self.holder:
            if document["until"] > now_ms() and not is_gone(document.get("place")):
                return False
            if document.get("session") is not None:
                # A holder that died inside a transaction has the lease's own document in it.
                await self._mongo.end_sessions([document["session"]])
        # The token that was read must still stand: of two who read it, one matches.
        changed = await self._collection.update_one({"_id": self.name, "token": document["token"]}, {"$set": ours, "$inc": {"token": 1}})
        return changed.modified_count == 1

    async def hold(self, session: AsyncClientSession) -> None:
        """Renew inside a transaction. Raises LeaseLost."""
        changed = await self._collection.update_one(
            {"_id": self.name, "holder": self.holder}, {"$set": {"until": now_ms() + LEASE_MS}}, session=session
        )
        if changed.matched_count != 1:
            raise LeaseLost(self.name)
