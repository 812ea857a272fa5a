"""Closes the granted attempts that never got an outcome, 2 s after their command expired."""

from __future__ import annotations

import time
from collections.abc import Callable

from py_service.errors import Problem
from py_service.journal.event import Event, make_event
from py_service.journal.member import Member, conclusion_key
from py_service.stores.mongo import Document, Mongo

CLOSE_AFTER_MS = 2_000
CLOSE_AT_ONCE_MAX = 256


class Closing:
    """Lives in the worker. Only called when the projection has read the journal to its end, so that no outcome is overlooked."""

    def __init__(self, mongo: Mongo, submit: Callable[[Member], None]) -> None:
        self._mongo = mongo
        self._submit = submit
        self._under_way: set[str] = set()

    async def step(self, as_of_ms: int) -> int:
        """Close what had expired 2 s before `as_of_ms`, the moment at which the journal was read to its end; how many."""
        query = {"expires_at": {"$gte": 0, "$lt": as_of_ms - CLOSE_AFTER_MS}}
        found = await self._mongo.database["open_attempts"].find(query).limit(CLOSE_AT_ONCE_MAX).to_list()
        present = {document["_id"] for document in found}
        self._under_way &= present
        for document in found:
            if document["_id"] not in self._under_way:
                self._close(document)
        return len(found)

    def _close(self, document: Document) -> None:
        self._under_way.add(document["_id"])
        member = CloseMember(document, lambda: self._under_way.discard(document["_id"]))
        try:
            self._submit(member)
        except Problem:
            self._under_way.discard(document["_id"])


class CloseMember:
    """`unlocked.failed`, `unconfirmed`: once per attempt, whoever the worker is."""

    fenced = False
    key_is_clients = False
    body_mark: str | None = None
    judged_revision = 0

    def __init__(self, attempt: Document, on_failed: Callable[[], None]) -> None:
        self.organization = str(attempt["org"])
        self.key: str | None = conclusion_key(attempt["_id"])
        self.judged_at_ms = 0
        self.waiting_since = time.monotonic()
        self.answered = False
        self._attempt = attempt
        self._on_failed = on_failed

    def judge(self, now_ms: int) -> bool:
        self.judged_at_ms = now_ms
        return True

    def event(self, at_ms: int, identifier: str) -> Event:
        attempt = self._attempt
        return make_event(
            "unlocked.failed", self.organization, at_ms, attempt=attempt["_id"], door=attempt.get("door"), person=attempt.get("person"),
            lock=attempt.get("lock"), sites=attempt.get("sites"), reason="unconfirmed",
        )  # fmt: skip

    def committed(self, at_ms: int, identifier: str) -> None:
        self.answered = True

    def late(self, identifier: str) -> Event | None:
        self.answered = True
        return None

    def duplicate(self, journal_document: Document) -> None:
        self.answered = True

    def failed(self, problem: Problem) -> None:
        self.answered = True
        self._on_failed()
