"""Recall an attempt: the recorded decision, and its latest outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.journal.event import Event, command_expires_at_ms, parse_event_id
from py_service.permissions.event_sites import sites_of_event
from py_service.stores.mongo import Mongo, now_ms, store_errors
from py_service.unlock import store
from py_service.unlock.attempt import Attempt, Outcome, Replay
from py_service.unlock.desk import Desk
from py_service.unlock.messages import COMMANDED, REFUSED, UNCONFIRMED

if TYPE_CHECKING:
    from py_service.exchange import Principal

POLL_SECONDS = 0.05
WRONG_PINS_MAX, WRONG_PINS_SECONDS = 5, 600.0  # as at a door in the mode `card_and_pin`
WRONG_PERSONS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Recalled:
    """An attempt as the journal has it."""

    identifier: str
    event: Event
    outcome: Outcome

    @property
    def expires_at_ms(self) -> int:
        return command_expires_at_ms(int(self.event["at"]), self.event.get("wait"))


class RecallAttempt:
    """One per process."""

    def __init__(self, mongo: Mongo, index: PermissionIndex, desk: Desk) -> None:
        self._mongo = mongo
        self._index = index
        self._desk = desk

    async def by_id(self, claims: Principal, identifier: str) -> Recalled:
        """For the person of the attempt, and for whoever may read events at its site. Raises Problem 404, 503."""
        name = parse_event_id(identifier)
        if name is None:
            raise unknown("attempt")
        async with store_errors():
            event = await store.read_event(self._mongo, name)
        if event is None or event["org"] != claims.organization or event["kind"] not in ("authorized", REFUSED):
            raise unknown("attempt")
        if event["person"] != claims.subject and not self._may_read(claims, event):
            raise unknown("attempt")
        return await self.of_event(event, identifier)

    async def of_event(self, event: Event, identifier: str, wait_seconds: int = 0) -> Recalled:
        """With the latest outcome: what this process waits for, what is projected, or how far the time has run.

        With `wait_seconds` the lock gets that time to answer, whichever process commanded it.
        """
        until = time.monotonic() + wait_seconds
        while True:
            attempt = self._desk.find(identifier)
            outcome = await self._outcome(event, identifier, attempt)
            left = until - time.monotonic()
            if outcome.final or left <= 0:
                return Recalled(identifier, event, outcome)
            if attempt is None:
                await asyncio.sleep(min(left, POLL_SECONDS))
                continue
            done, _ = await asyncio.wait([attempt.outcome], timeout=left)
            if done:
                return Recalled(identifier, event, attempt.outcome.result())

    def _may_read(self, claims: Principal, event: Event) -> bool:
        site = next(iter(sites_of_event(self._index, event)), None)
        return self._index.check_role(claims.organization, claims.subject, "events.read", site, now_ms()).allowed

    async def _outcome(self, event: Event, identifier: str, attempt: Attempt | None) -> Outcome:
        if event["kind"] == REFUSED:
            return Outcome(REFUSED, str(event["reason"]))
        if attempt is not None and attempt.outcome.done():
            return attempt.outcome.result()
        async with store_errors():
            outcome = await store.read_outcome(self._mongo, str(event["org"]), identifier)
        if outcome is not None:
            return outcome
        # Whichever process commanded it: until then the lock may still act.
        still_open = now_ms() < command_expires_at_ms(int(event["at"]), event.get("wait"))
        return Outcome(COMMANDED if still_open else UNCONFIRMED)


class Repeats:
    """Whether a repeat is one. One per process.

    The answer to another PIN must not tell more about the first than a door does: after as many wrong ones as a door hears, nobody's
    repeats with a PIN are looked at for as long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: dict[tuple[str, str], tuple[int, float]] = {}  # by person: how many, and until when they count

    def check(self, replay: Replay, door: str) -> None:
        """Raises Problem 422: the key belongs to a request for another door, or with another PIN; 429 after too many of those."""
        event, now = replay.event, self._clock()
        if event["door"] != door:
            raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another door.")
        if not replay.asked_with_pin:
            return
        person = (str(event["org"]), str(event["person"]))
        count, until = self._wrong.get(person, (0, now + WRONG_PINS_SECONDS))
        if until <= now:
            count, until = 0, now + WRONG_PINS_SECONDS
        if count >= WRONG_PINS_MAX:
            seconds = max(1, round(until - now))
            raise Problem(429, "rate_limited", "Too many repeats with another PIN.", retry_after_seconds=seconds)
        if not replay.same_pin:
            if len(self._wrong) >= WRONG_PERSONS_MAX:
                self._wrong.pop(next(iter(self._wrong)))
            self._wrong[person] = (count + 1, until)
            raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used with another body.")
