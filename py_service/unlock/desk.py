"""The attempts of this process that still wait for their lock."""

from __future__ import annotations

from py_service.stores.mongo import now_ms
from py_service.unlock.attempt import Attempt

KEEP_MS_AFTER_EXPIRY = 2_000


class Desk:
    """By command id, until the lock has spoken or its time is over. `received` counts commands that a lock said it has."""

    def __init__(self) -> None:
        self.received = 0
        self._attempts: dict[str, Attempt] = {}
        self._in_flight: set[str] = set()

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, attempt: Attempt) -> None:
        self._attempts[attempt.recorded.identifier] = attempt

    def find(self, command: str) -> Attempt | None:
        return self._attempts.get(command)

    def remove(self, command: str) -> None:
        self._attempts.pop(command, None)

    def begin(self, key: str) -> bool:
        """An idempotency key is under way in this process. False when it was already."""
        if key in self._in_flight:
            return False
        self._in_flight.add(key)
        return True

    def end(self, key: str) -> None:
        self._in_flight.discard(key)

    def sweep(self) -> None:
        """Forget the attempts whose command can't open anything any more; the worker closes them in the journal."""
        limit = now_ms() - KEEP_MS_AFTER_EXPIRY
        for identifier in [name for name, attempt in self._attempts.items() if attempt.expires_at_ms < limit]:
            del self._attempts[identifier]
