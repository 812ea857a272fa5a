"""The outbox: letters in the store. Each query is by `_id`, or by one bounded range on one indexed field. Raises Problem 503.

A letter has `due_at` while it waits; `forget_at` when it was sent (and its like are to be quiet for a while) or given up.
"""

from __future__ import annotations

import contextlib

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from py_service.mail.letter import COLLECTION, TRIED_FOR_MS, Letter, Waiting
from py_service.stores.mongo import MAJORITY, MAJORITY_JOURNALED, Document, store_errors

AT_ONCE_MAX = 16
GIVEN_UP_KEPT_MS = 30 * 86_400_000
FORGOTTEN_AT_ONCE_MAX = 500
AGAIN_MS_FIRST = 5_000
AGAIN_MS_MAX = 3_600_000


class Outbox:
    """One per process."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._letters = database.get_collection(COLLECTION, read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)

    async def put(self, letter: Letter) -> None:
        """One that no change causes. Nothing happens when one with its id waits, or was sent a moment ago."""
        async with store_errors():
            try:
                await self._letters.insert_one(letter.document())
            except DuplicateKeyError:
                return

    async def due(self, now_ms: int) -> list[Waiting]:
        """Those whose time has come, 16 at most."""
        async with store_errors():
            found = await self._letters.find({"due_at": {"$gte": 0, "$lte": now_ms}}).limit(AT_ONCE_MAX).to_list()
        return [Waiting.of(document) for document in found]

    async def sent(self, letter: Letter, now_ms: int) -> None:
        """It is gone; or it stays for a while, so that its like stay quiet."""
        async with store_errors():
            if letter.quiet_ms == 0:
                await self._letters.delete_one({"_id": letter.id})
                return
            over = {"$set": {"sent_at": now_ms, "forget_at": now_ms + letter.quiet_ms}, "$unset": {"due_at": ""}}
            await self._letters.update_one({"_id": letter.id}, over)

    async def again(self, waiting: Waiting, now_ms: int, because: str) -> bool:
        """Later, each time later; False when it was tried for a day, and is given up."""
        if now_ms - waiting.letter.made_at >= TRIED_FOR_MS:
            await self.give_up(waiting.letter, now_ms, because)
            return False
        pause_ms = min(AGAIN_MS_FIRST * 3 ** min(waiting.tries, 10), AGAIN_MS_MAX)
        later = {"due_at": now_ms + pause_ms, "tries": waiting.tries + 1, "because": because}
        async with store_errors():
            await self._letters.update_one({"_id": waiting.letter.id}, {"$set": later})
        return True

    async def give_up(self, letter: Letter, now_ms: int, because: str) -> None:
        """It stays to be looked at for 30 days, and isn't tried again. One of an id that is asked for again stays under another id: its
        like are quiet no longer than after one that was sent."""
        if letter.quiet_ms > 0:
            await self._set_aside(letter, now_ms, because)
        over = {
            "$set": {"given_up_at": now_ms, "because": because, "forget_at": now_ms + (letter.quiet_ms or GIVEN_UP_KEPT_MS)},
            "$unset": {"due_at": ""},
        }
        async with store_errors():
            await self._letters.update_one({"_id": letter.id}, over)

    async def _set_aside(self, letter: Letter, now_ms: int, because: str) -> None:
        kept = letter.document() | {
            "_id": f"{letter.id}:{now_ms}", "given_up_at": now_ms, "because": because, "forget_at": now_ms + GIVEN_UP_KEPT_MS,
        }  # fmt: skip
        del kept["due_at"]
        async with store_errors():
            with contextlib.suppress(DuplicateKeyError):
                await self._letters.insert_one(kept)

    async def delete_forgotten(self, now_ms: int) -> int:
        """500 at most; how many."""
        async with store_errors():
            over = {"forget_at": {"$gte": 0, "$lt": now_ms}}
            found = await self._letters.find(over, {"_id": 1}).limit(FORGOTTEN_AT_ONCE_MAX).to_list()
            if found:
                await self._letters.delete_many({"_id": {"$in": [document["_id"] for document in found]}})
        return len(found)
