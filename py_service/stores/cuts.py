"""Connections that have to end, until the gateways have heard of it: a word that is lost with Redis is said again.

Nobody knows which gateways listened, and Redis may forget what it keeps of the cuts. A gateway that has been without Redis for a second
ends every connection of persons itself, and reads what is kept when it is back (docs/protocols/realtime.md): what is said, and said again
a little later than that, was heard or isn't needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from py_service.stores.bus import BUS_ERRORS

AGAIN_SECONDS = 1.5  # after the first time: longer than a gateway does without Redis
LOOK_SECONDS = 0.1
KEPT_SECONDS = 330.0  # no token for the gateway lives longer
OWED_MAX = 200_000  # and one for each organization

logger = structlog.get_logger(__name__)


class Gateways(Protocol):
    """The part of the bus that this needs. Raises BUS_ERRORS."""

    async def cut(self, organization: str, subject: str | None, revision: int) -> None: ...


@dataclass(slots=True)
class _Owed:
    revision: int
    until: float
    again_at: float | None = None  # None: not said yet, or not since Redis was away


class Cuts:
    """One per process that says them. `clock` is monotonic, in seconds."""

    def __init__(
        self, bus: Gateways, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._sleep = sleep
        self._owed: dict[tuple[str, str | None], _Owed] = {}

    def owe(self, organization: str, subject: str | None, revision: int) -> None:
        """Connections of the subject whose token was decided before that revision end; without a subject all of the organization.

        An earlier one may come later: the logs of the processes are read one beside the other.
        """
        if subject is not None and len(self._owed) >= OWED_MAX and (organization, subject) not in self._owed:
            # More than can be kept apart until they were said twice: all connections of the organization end, rather than none.
            subject = None
        if (known := self._owed.get((organization, subject))) is not None:
            revision = max(revision, known.revision)
        self._owed[organization, subject] = _Owed(revision, self._clock() + KEPT_SECONDS)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.step()
            await self._sleep(LOOK_SECONDS)

    async def step(self) -> None:
        """Say what is due. When Redis is away, everything that isn't settled begins anew."""
        now = self._clock()
        for key, owed in list(self._owed.items()):
            if owed.again_at is not None and owed.again_at > now:
                continue
            try:
                await self._bus.cut(*key, owed.revision)
            except BUS_ERRORS as error:
                logger.warning("cut_waits", error=type(error).__name__, owed=len(self._owed))
                self._begin_anew(now)
                return
            if owed.again_at is None:
                owed.again_at = self._clock() + AGAIN_SECONDS
            elif self._owed.get(key) is owed:
                del self._owed[key]

    def _begin_anew(self, now: float) -> None:
        self._owed = {key: owed for key, owed in self._owed.items() if owed.until > now}
        for owed in self._owed.values():
            owed.again_at = None
