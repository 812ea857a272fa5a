"""When it is certain that the door did not open, what the grant took is given back: a use of a pass, a place in an area."""

from __future__ import annotations

import time
from collections.abc import Callable

from py_service._core_rs import Settlement, give_back
from py_service.errors import Problem
from py_service.journal.event import Event, make_event
from py_service.stores.mongo import Document


class GiveBack:
    """A member of the stateful lane; once per attempt, whichever process does it."""

    fenced = False
    key_is_clients = False
    body_mark: str | None = None
    judged_revision = 0

    def __init__(
        self,
        organization: str,
        attempt: str,
        person: str,
        door: str,
        granted_at_ms: int,
        taken: bytes,
        on_end: Callable[[bool], None] | None = None,
    ) -> None:
        """`on_end` hears whether it is in the journal, from whomever."""
        self.organization = organization
        self.key: str | None = f"give_back:{attempt}"
        self.judged_at_ms = 0
        self.waiting_since = time.monotonic()
        self.answered = False
        self._attempt = attempt
        self._person = person
        self._door = door
        self._granted_at_ms = granted_at_ms
        self._taken = taken
        self._on_end = on_end

    def judge(self, now_ms: int) -> bool:
        self.judged_at_ms = now_ms
        return True

    def settle(self, records: bytes, at_ms: int) -> Settlement:
        return give_back(self._person, self._door, self._granted_at_ms, self._taken, records)

    def adopt(self, settlement: Settlement) -> None:
        """There is nothing to answer."""

    def event(self, at_ms: int, identifier: str) -> Event:
        return make_event("given_back", self.organization, at_ms, attempt=self._attempt, door=self._door, person=self._person)

    def committed(self, at_ms: int, identifier: str) -> None:
        self._end(in_journal=True)

    def late(self, identifier: str) -> Event | None:
        self._end(in_journal=True)
        return None

    def duplicate(self, journal_document: Document) -> None:
        self._end(in_journal=True)

    def failed(self, problem: Problem) -> None:
        self._end(in_journal=False)

    def _end(self, *, in_journal: bool) -> None:
        self.answered = True
        if self._on_end is not None:
            self._on_end(in_journal)
