"""How a lock answers a door command: verify, move the bolt, report; and how it reports the state of its door.

The verifier is the one that firmware embeds (crate `nexkey-lock`). What doesn't live here: sockets, HTTP, sending again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Protocol

from py_service._core_rs import DeviceKey, DoorCommand, LockRefusal
from py_service.simulators.door import Door, Move, StateChange
from py_service.simulators.moves import MoveLog
from py_service.simulators.reports import Pending, ReportBook

ANSWERS_MAX = 256
LOCK_JAMMED = "lock_jammed"
UNCERTAINTY_MS_MAX = 1_000  # the verifier's own limit
COMMAND_ID_CHARACTERS_MAX = 128


class Verifier(Protocol):
    """`LockVerifier`, as far as answering needs it."""

    def verify(self, command: bytes, monotonic_ms: int) -> DoorCommand: ...
    def take_lease(self, lease: bytes, monotonic_ms: int) -> DoorCommand: ...
    def holds(self, monotonic_ms: int) -> bool: ...
    def release_hold(self) -> None: ...
    def now_ms(self, monotonic_ms: int) -> int: ...
    def uncertainty_ms(self, monotonic_ms: int) -> int: ...


class CommandAnswers:
    """Verifies, acts and reports for one lock. An id that comes again is answered with its first report, byte for byte."""

    def __init__(self, lock: str, key: DeviceKey, verifier: Verifier, door: Door, reports: ReportBook, moves: MoveLog) -> None:
        self._lock = lock
        self._key = key
        self._verifier = verifier
        self._door = door
        self._reports = reports
        self._moves = moves
        self._answers: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def answer(self, command: str, message: bytes, monotonic_ms: int) -> Pending:
        """The report to send for a command frame. `command` is the frame's claim; what counts is the id inside the signature."""
        try:
            verified = self._verifier.verify(message, monotonic_ms)
        except LockRefusal as refusal:
            return self._refuse(command, refusal.code, monotonic_ms)
        return self._moved(verified.id, self._door.unlock(monotonic_ms, verified.id), monotonic_ms)

    def lease(self, hold: str, message: bytes, monotonic_ms: int) -> str | None:
        """Keep the bolt back on a lease that was asked for. Why it doesn't stay back, else None. How a hold begins is reported."""
        self.keep_time(monotonic_ms)
        begins = not self._door.free
        try:
            lease = self._verifier.take_lease(message, monotonic_ms)
        except LockRefusal as refusal:
            if not begins:
                return None  # the lease before it lives on
            self._refuse(hold, refusal.code, monotonic_ms)
            return refusal.code
        held = self._door.hold(monotonic_ms, lease.id)
        if begins:
            self._moved(lease.id, held, monotonic_ms)
        if held:
            return None
        self._verifier.release_hold()
        return LOCK_JAMMED

    def release(self, monotonic_ms: int) -> None:
        """No further lease: the bolt goes out."""
        self._verifier.release_hold()
        self._door.release(monotonic_ms)
        self.report_door(monotonic_ms)

    def knows_the_time(self, monotonic_ms: int) -> bool:
        """Whether any lease could be taken."""
        try:
            return self._verifier.uncertainty_ms(monotonic_ms) <= UNCERTAINTY_MS_MAX
        except LockRefusal:
            return False

    def keep_time(self, monotonic_ms: int) -> None:
        """Let the door's time pass: a hold ends when its lease does, or when the lock isn't sure of the time any more."""
        if self._door.free and not self._verifier.holds(monotonic_ms):
            self._door.release(monotonic_ms)
        self._door.tick(monotonic_ms)
        self.report_door(monotonic_ms)

    def _moved(self, identifier: str, moved: bool, monotonic_ms: int) -> Pending:
        self.report_door(monotonic_ms)
        result, reason = ("done", None) if moved else ("refused", LOCK_JAMMED)
        report = self._report(identifier, result, reason, monotonic_ms)
        # INVARIANT: only a verified id is remembered, so nobody can put words in the lock's mouth for an id to come.
        self._answers[identifier] = (report.number, report.report)
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)
        return report

    def report_door(self, monotonic_ms: int) -> None:
        """Write down what the door did since the last call, and report its new states."""
        now_ms = time.time_ns() // 1_000_000
        for effect in self._door.take_effects():
            if isinstance(effect, Move):
                self._moves.write(self._lock, now_ms - (monotonic_ms - effect.at_ms), effect)
            elif isinstance(effect, StateChange):
                number = self._reports.take_number()
                signed = self._key.sign_report(self._lock, number, "door", None, effect.state, None, self._time(monotonic_ms))
                self._reports.keep(number, None, signed)

    def _refuse(self, command: str, code: str, monotonic_ms: int) -> Pending:
        first = self._answers.get(command)
        # An id that was answered and comes again after its end is refused as expired: the verifier asks for the time first.
        if code in ("command_replayed", "command_expired") and first is not None:
            return self._reports.keep(first[0], command, first[1])
        result = "expired" if code == "command_expired" else "refused"
        return self._report(command[:COMMAND_ID_CHARACTERS_MAX], result, code, monotonic_ms)

    def _report(self, command: str, result: str, reason: str | None, monotonic_ms: int) -> Pending:
        number = self._reports.take_number()
        signed = self._key.sign_report(self._lock, number, "outcome", command, result, reason, self._time(monotonic_ms))
        return self._reports.keep(number, command, signed)

    def _time(self, monotonic_ms: int) -> int:
        try:
            return self._verifier.now_ms(monotonic_ms)
        except LockRefusal:  # no time yet: this machine's clock is better than nothing, and the service checks it
            return time.time_ns() // 1_000_000
