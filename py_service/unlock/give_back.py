"""When it is certain that the door did not open, what the grant took is given back: a use of a pass, a place in an area."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from py_service._core_rs import Settlement, give_back
from py_service.errors import Problem
from py_service.journal.event import Event, make_event
from py_service.journal.member import Member
from py_service.stores.mongo import Document

AGAIN_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)  # after each try that the store didn't take


def give_back_soon(submit: Callable[[Member], None], make: Callable[[Callable[[bool], None]], GiveBack], tries: int = 0) -> None:
    """Into the lane, and again while the store doesn't take it. What stays undone then is the worker's, who reads how the attempt ended.

    `make`: the member of one try, given its `on_end`.
    """

    def ended(in_journal: bool) -> None:
        if not in_journal and tries < len(AGAIN_SECONDS):
            asyncio.get_running_loop().call_later(AGAIN_SECONDS[tries], give_back_soon, submit, make, tries + 1)

    try:
        submit(make(ended))
    except Problem:  # the queue is full
        ended(False)


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
        sites: list[str] | None,
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
        self._sites = sites
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
        return make_event(
            "given_back", self.organization, at_ms, attempt=self._attempt, door=self._door, person=self._person, sites=self._sites
        )

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
