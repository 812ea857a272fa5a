"""What a grant took whose door stayed shut, and that nobody gave back: whoever was to do it died, or the store didn't take it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from py_service.errors import Problem
from py_service.journal.member import Member
from py_service.stores.mongo import Document, Mongo, plain
from py_service.unlock.give_back import GiveBack
from py_service.unlock.messages import UNLOCKED
from py_service.unlock.store import read_attempt

GIVEN_BACK = "given_back"
AT_ONCE_MAX = 64
AGAIN_MS = 1_000
OWED_MS_MAX = 86_400_000  # what the store refused for so long is left to a manager, and told in the log

logger = structlog.get_logger(__name__)


class OwedGiveBacks:
    """Lives in the worker; the projection notes what is owed, in `give_backs`. Only called when it has read the journal to its end."""

    def __init__(self, mongo: Mongo, settle: Callable[[Member], None]) -> None:
        self._notes = mongo.database["give_backs"]
        self._mongo = mongo
        self._settle = settle
        self._waits_until_ms: dict[str, int] = {}  # of those that were handed in
        self._over: set[str] = set()

    async def step(self, as_of_ms: int) -> int:
        """Give back what was due before `as_of_ms`; how many were due. Raises pymongo errors."""
        if self._over:
            over, self._over = self._over, set()
            await self._notes.delete_many({"_id": {"$in": sorted(over)}})
        found = await self._notes.find({"due_at": {"$gte": 0, "$lt": as_of_ms}}).limit(AT_ONCE_MAX).to_list()
        self._waits_until_ms = {name: until for name, until in self._waits_until_ms.items() if until > as_of_ms}
        for note in found:
            if str(note["_id"]) not in self._waits_until_ms:
                await self._give_back(note, as_of_ms)
        return len(found)

    async def _give_back(self, note: Document, as_of_ms: int) -> None:
        attempt, organization = str(note["_id"]), str(note["org"])
        kinds = {event["kind"] for event in await read_attempt(self._mongo, organization, attempt)}
        if kinds & {GIVEN_BACK, UNLOCKED}:  # done; or a lock says after all that it opened
            self._over.add(attempt)
            return
        if int(note["due_at"]) < as_of_ms - OWED_MS_MAX:
            logger.error("never_given_back", organization=organization, attempt=attempt)
            self._over.add(attempt)
            return
        taken = msgspec.json.encode(note["taken"], enc_hook=plain)

        def ended(in_journal: bool) -> None:
            if in_journal:
                self._over.add(attempt)

        self._waits_until_ms[attempt] = as_of_ms + AGAIN_MS
        person, door, sites = str(note["person"]), str(note["door"]), note.get("sites")
        try:
            self._settle(GiveBack(organization, attempt, person, door, sites, int(note["at"]), taken, ended))
        except Problem:  # the queue is full: the next step comes soon
            del self._waits_until_ms[attempt]
