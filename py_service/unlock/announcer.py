"""After the commit: sign commands, hand them to gateways, publish events. One call of Redis for all that waits.

INVARIANT: nothing is signed or published for a lock after T + 2 s; a process that was paused stays silent.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import structlog

from py_service._core_rs import CoreError, KeyRing
from py_service.journal.event import Event, event_body, make_event, topics_of
from py_service.stores.bus import Bus, BusAway, BusUnknown, Delivery, Published
from py_service.stores.mongo import now_ms
from py_service.unlock.attempt import Attempt, Outcome
from py_service.unlock.messages import COMMANDED, UNCONFIRMED, UNLOCKED_FAILED

SILENT_AFTER_MS = 2_000
ANNOUNCE_AT_ONCE_MAX = 256
WAITING_MAX = 16_384

logger = structlog.get_logger(__name__)
_ENCODER = msgspec.json.Encoder()
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Stored:
    """To a lock: your report is in the journal."""

    organization: str
    lock: str
    number: int

    def delivery(self) -> Delivery:
        body = {"type": "stored", "org": self.organization, "lock": self.lock, "number": self.number}
        return Delivery(self.organization, self.lock, _ENCODER.encode(body))


@dataclass(slots=True)
class _Command:
    attempt: Attempt
    decided_monotonic: float


class Announcer:
    """One per process; `owe` takes events that must be journaled because of what happened here."""

    def __init__(self, bus: Bus, keys: KeyRing, process: str, owe: Callable[[Event], None]) -> None:
        self._bus = bus
        self._keys = keys
        self._process = process
        self._owe = owe
        self._commands: deque[_Command] = deque()
        self._events: deque[tuple[str, Event]] = deque()
        self._stored: deque[Stored] = deque()
        self._wake = asyncio.Event()

    def command(self, attempt: Attempt) -> None:
        """A granted attempt, just committed."""
        self._commands.append(_Command(attempt, time.monotonic()))
        self._wake.set()

    def withdraw(self, attempt: Attempt) -> None:
        """Nobody waits for the command any more: what isn't signed by now never is, and that is known, said and recorded.

        Without effect when it is signed, or when its fate is known. Only called at T + 2 s or later.
        """
        if not attempt.signed and not attempt.commanded.done():
            self._unreachable(attempt, "command_expired")

    def event(self, identifier: str, event: Event) -> None:
        """A committed event. When too many wait they are left to the worker, which publishes from the journal."""
        if len(self._events) < WAITING_MAX:
            self._events.append((identifier, event))
            self._wake.set()

    def stored(self, stored: Stored) -> None:
        """A report that is in the journal."""
        if len(self._stored) < WAITING_MAX:
            self._stored.append(stored)
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            if not (self._commands or self._events or self._stored):
                self._wake.clear()
                continue
            commands = _take(self._commands)
            events = _take(self._events)
            stored = _take(self._stored)
            try:
                await self._announce(commands, events, stored)
            except Exception:
                logger.exception("announce_broken")
                for command in commands:
                    command.attempt.command_known(Outcome(UNCONFIRMED))

    async def _announce(self, commands: list[_Command], events: list[tuple[str, Event]], stored: list[Stored]) -> None:
        signed: list[_Command] = []
        deliveries: list[Delivery] = []
        for command in commands:
            delivery = self._sign(command)
            if delivery is not None:
                signed.append(command)
                deliveries.append(delivery)
        deliveries += [item.delivery() for item in stored]
        published = [Published(name, event_body(name, event), topics_of(event)) for name, event in events]
        try:
            taken = await self._bus.publish(deliveries, published)
        except BusAway as error:
            logger.warning("bus_away", error=str(error))
            for command in signed:
                self._unreachable(command.attempt, "door_unreachable")
            return
        except BusUnknown as error:
            logger.warning("bus_unknown", error=str(error))
            for command in signed:
                command.attempt.command_known(Outcome(UNCONFIRMED))
            return
        for command, was_taken in zip(signed, taken, strict=False):
            if was_taken:
                command.attempt.command_known(Outcome(COMMANDED))
            else:
                self._unreachable(command.attempt, "door_unreachable")

    def _sign(self, command: _Command) -> Delivery | None:
        attempt = command.attempt
        commit = attempt.recorded
        if attempt.commanded.done():
            return None  # withdrawn
        if attempt.lock is None:
            self._unreachable(attempt, "door_unreachable")
            return None
        paused_ms = (time.monotonic() - command.decided_monotonic) * 1000
        if max(now_ms() - commit.at_ms, paused_ms) >= SILENT_AFTER_MS:
            self._unreachable(attempt, "command_expired")
            return None
        try:
            message = self._keys.sign_command(
                attempt.organization, attempt.lock, attempt.door, "unlock", commit.identifier, commit.at_ms, attempt.expires_at_ms
            )
        except CoreError as error:
            logger.error("command_not_signed", code=error.code, organization=attempt.organization)
            self._unreachable(attempt, "door_unreachable")
            return None
        attempt.signed = True
        body = {
            "type": "command",
            "org": attempt.organization,
            "lock": attempt.lock,
            "command": commit.identifier,
            "reply_to": self._process,
            "message": base64.urlsafe_b64encode(message).rstrip(b"=").decode(),
            "expires_at": attempt.expires_at_ms,
        }
        return Delivery(attempt.organization, attempt.lock, _ENCODER.encode(body))

    def _unreachable(self, attempt: Attempt, reason: str) -> None:
        """No command went out: said at once, and recorded."""
        commit = attempt.recorded
        attempt.command_known(Outcome(UNLOCKED_FAILED, reason))
        self._owe(
            make_event(
                UNLOCKED_FAILED, attempt.organization, 0, attempt=commit.identifier, door=attempt.door, person=attempt.person,
                lock=attempt.lock, sites=attempt.sites, reason=reason,
            )
        )  # fmt: skip


def _take(waiting: deque[Item]) -> list[Item]:
    return [waiting.popleft() for _ in range(min(len(waiting), ANNOUNCE_AT_ONCE_MAX))]
