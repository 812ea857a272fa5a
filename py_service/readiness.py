"""Whether a process can do its work: the stores answer, and its clock is the store's."""

from __future__ import annotations

from pymongo.errors import PyMongoError

from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Mongo


class Readiness:
    """Redis may be away: decisions go on without it, so it isn't asked."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def missing(self) -> list[str]:
        """`mongo`, `clock`. A process more than 1 s off the store's clock decides nothing well."""
        try:
            difference = await self._mongo.clock_difference_ms()
        except PyMongoError:
            return ["mongo"]
        return ["clock"] if abs(difference) > CLOCK_DIFFERENCE_MS_MAX else []
