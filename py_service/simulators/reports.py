"""The numbered reports of one lock: kept until the service says `stored`, sent again until then, numbers never reused.

What doesn't live here: signing (`command.py`), sockets (`lock.py`).
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

import msgspec

RESEND_MS = 3_000
PENDING_MAX = 1_000


@dataclass(slots=True)
class Pending:
    """A report that the service hasn't stored yet. `sent_at_ms` is the lock's own tick, None before the first time."""

    number: int
    command: str | None
    report: bytes
    sent_at_ms: int | None = None


class _SavedReport(msgspec.Struct):
    number: int
    command: str | None
    report: str


class _Saved(msgspec.Struct):
    next_number: int
    pending: list[_SavedReport]


class ReportBook:
    """Numbers and unstored reports of one lock. With a `state_file` both survive a restart of the process.

    Without one the numbers start at the time of boot (Unix ms times 1,000), which is above every number given before,
    as long as the lock makes fewer than a million reports a second.
    """

    def __init__(self, state_file: Path | None = None, *, boot_ms: int | None = None) -> None:
        self._state_file = state_file
        self._pending: dict[int, Pending] = {}
        self._next = (time.time_ns() // 1_000_000 if boot_ms is None else boot_ms) * 1_000
        self.dropped = 0
        if state_file is not None and state_file.exists():
            self._load(state_file)

    def take_number(self) -> int:
        """The next number. It is written down before it is used, so that no restart gives it twice."""
        number, self._next = self._next, self._next + 1
        self._save()
        return number

    def keep(self, number: int, command: str | None, report: bytes) -> Pending:
        """Keep a report until it is stored. At most PENDING_MAX: the oldest gives way, and is counted."""
        if len(self._pending) >= PENDING_MAX:
            del self._pending[next(iter(self._pending))]
            self.dropped += 1
        pending = self._pending[number] = Pending(number, command, report)
        self._save()
        return pending

    def stored(self, number: int) -> bool:
        """The service has it for good. False when it wasn't waited for."""
        if self._pending.pop(number, None) is None:
            return False
        self._save()
        return True

    def unsent(self) -> None:
        """A new connection: everything pending is to be sent again at once."""
        for pending in self._pending.values():
            pending.sent_at_ms = None

    def due(self, now_ms: int) -> list[Pending]:
        """What is to be sent now, in order of number."""
        return [item for item in self._pending.values() if item.sent_at_ms is None or now_ms - item.sent_at_ms >= RESEND_MS]

    def next_deadline_ms(self) -> int | None:
        """When `due` has something next, by the lock's tick."""
        return min((0 if item.sent_at_ms is None else item.sent_at_ms + RESEND_MS for item in self._pending.values()), default=None)

    def __len__(self) -> int:
        return len(self._pending)

    def _load(self, path: Path) -> None:
        saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
        self._next = saved.next_number
        for item in saved.pending:
            self._pending[item.number] = Pending(item.number, item.command, urlsafe_b64decode(item.report))

    def _save(self) -> None:
        if self._state_file is None:
            return
        items = [_SavedReport(item.number, item.command, urlsafe_b64encode(item.report).decode()) for item in self._pending.values()]
        partial = self._state_file.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(_Saved(self._next, items)))
        partial.replace(self._state_file)  # a kill in between leaves the old file whole
