"""When API keys were used last: written beside the requests, at most once a minute for each key and process, and lost without harm."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from py_service.identity.api_key import SUBJECT_PREFIX, ReadKey, read_key
from py_service.identity.needs import ClockMs
from py_service.stores.mongo import Document, find_by_ids, store_errors

COLLECTION = "api_key_uses"
EVERY_MS = 60_000
REMEMBERED_MAX = 10_000

logger = structlog.get_logger(__name__)


class Used(Protocol):
    """Whose a key is that was used."""

    @property
    def organization(self) -> str: ...
    @property
    def subject(self) -> str: ...


class KeyUses:
    """What the edge asks about keys. One per process; `run` is its background task."""

    def __init__(self, database: AsyncDatabase[Document], clock_ms: ClockMs) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._noted: dict[str, int] = {}  # by key, when it was written last, the eldest first
        self._waiting: dict[str, int] = {}
        self._wake = asyncio.Event()

    def read(self, text: str) -> ReadKey | None:
        """None for what is no key."""
        return read_key(text)

    def used(self, key: Used) -> None:
        """Called on the request's path: a look into a dictionary."""
        identifier, now_ms = f"{key.organization}:{key.subject.removeprefix(SUBJECT_PREFIX)}", self._clock_ms()
        if now_ms - self._noted.get(identifier, 0) < EVERY_MS:
            return
        self._noted.pop(identifier, None)
        self._noted[identifier] = now_ms
        if len(self._noted) > REMEMBERED_MAX:
            del self._noted[next(iter(self._noted))]
        self._waiting[identifier] = now_ms
        self._wake.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.write()

    async def write(self) -> None:
        """What waits now. A store that is away costs a note, not a request."""
        waiting, self._waiting = self._waiting, {}
        for identifier, at_ms in waiting.items():
            try:
                await self._database[COLLECTION].update_one({"_id": identifier}, {"$max": {"last_used_at": at_ms}}, upsert=True)
            except PyMongoError as error:
                logger.warning("api_key_use_not_noted", error=type(error).__name__)
                self._noted.pop(identifier, None)  # the next use tries again

    async def last(self, organization: str, keys: list[str]) -> dict[str, int]:
        """By key, when it was used last (ms); without those that never were. Raises Problem 503."""
        async with store_errors():
            found = await find_by_ids(self._database, COLLECTION, [f"{organization}:{key}" for key in keys])
        return {str(document["_id"]).partition(":")[2]: int(document["last_used_at"]) for document in found}
