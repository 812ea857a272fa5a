"""What joins a commit group: a decision, a lock's report, a note that is owed to the log."""

from __future__ import annotations

from typing import Protocol

from py_service.errors import Problem
from py_service.journal.event import Event
from py_service.stores.mongo import Document


class Member(Protocol):
    """One event that wants to be in the log.

    organization     whose fence it stands behind
    fenced           whether it was decided on permissions (a report wasn't)
    key              unique in the whole journal, or None
    key_is_clients   a client made the key up, so repeats are to be expected and are read before
    body_mark        kept beside the key: what a repeat's body is held against, or None
    judged_at_ms     when `judge` last ran
    judged_revision  the revision it decided on
    waiting_since    time.monotonic() at arrival
    answered         whoever waits has an answer: it must not be committed any more
    """

    @property
    def organization(self) -> str: ...
    @property
    def fenced(self) -> bool: ...
    @property
    def key(self) -> str | None: ...
    @property
    def key_is_clients(self) -> bool: ...
    @property
    def body_mark(self) -> str | None: ...
    @property
    def judged_at_ms(self) -> int: ...
    @property
    def judged_revision(self) -> int: ...
    @property
    def waiting_since(self) -> float: ...
    @property
    def answered(self) -> bool: ...

    def judge(self, now_ms: int) -> bool:
        """Decide (again) as of `now_ms`. False when the member has answered for itself and leaves the group."""
        ...

    def event(self, at_ms: int, identifier: str) -> Event:
        """The event as it will be committed."""
        ...

    def committed(self, at_ms: int, identifier: str) -> None:
        """It is in the store, by majority and journal, in time."""
        ...

    def late(self, identifier: str) -> Event | None:
        """It is in the store, but too late to act on. Returns the event that says so, when one is owed."""
        ...

    def duplicate(self, journal_document: Document) -> None:
        """Its key is in the journal already, in this document."""
        ...

    def failed(self, problem: Problem) -> None:
        """It isn't in the store, or nobody knows."""
        ...


def conclusion_key(attempt: object) -> str:
    """The service concludes once how an attempt ended, whichever process does. What a lock says is apart from that."""
    return f"close:{attempt}"


class Note:
    """An event that the log owes, with nobody waiting for it: how an attempt ended that the lock has no word on."""

    fenced = False
    key_is_clients = False
    body_mark: str | None = None
    judged_at_ms = 0
    judged_revision = 0
    waiting_since = 0.0

    def __init__(self, event: Event) -> None:
        self.organization = str(event["org"])
        self.key: str | None = conclusion_key(event["attempt"])
        self._event = event
        self.written = False

    @property
    def answered(self) -> bool:
        """It is owed until it is written, and only once."""
        return self.written

    def judge(self, now_ms: int) -> bool:
        return True

    def event(self, at_ms: int, identifier: str) -> Event:
        return {**self._event, "at": at_ms}

    def committed(self, at_ms: int, identifier: str) -> None:
        self.written = True

    def late(self, identifier: str) -> Event | None:
        self.written = True
        return None

    def duplicate(self, journal_document: Document) -> None:
        self.written = True

    def failed(self, problem: Problem) -> None:
        self.written = False
