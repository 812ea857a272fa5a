"""How a simulated lock keeps to the time: it asks for the signed time, and again soon while it isn't sure.

What doesn't live here: what an answer is worth; the verifier says that (crate `nexkey-lock`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import httpx
import msgspec

from py_service._core_rs import LockRefusal, LockVerifier
from py_service.simulators.device_api import DeviceRefused

EVERY_MS = 15 * 60_000
RETRY_MS = 5_000
UNSURE_MS = 2_000  # until it is sure it refuses every command
NONCE_BYTES = 16
ROUND_TRIP_MS_MAX = 900


class TimeApi(Protocol):
    """`DeviceApi`, as far as the time goes."""

    async def time(self, nonce: bytes) -> bytes: ...


class ClockKeeper:
    """`due_ms` is the tick at which to ask again: whoever keeps the lock's deadlines does. `knows`: whether it is sure of the time at a
    tick, also at one to come: until then its own clock makes it less so.
    """

    def __init__(
        self,
        api: TimeApi,
        verifier: LockVerifier,
        knows: Callable[[int], bool],
        tick_ms: Callable[[], int],
        note: Callable[[Exception], None],
    ) -> None:
        self._api = api
        self._verifier = verifier
        self._knows = knows
        self._tick_ms = tick_ms
        self._note = note
        self.due_ms = 0

    async def ask(self) -> None:
        """Without an answer the old time stands, and the verifier refuses once it is too unsure."""
        self._wait(RETRY_MS)
        nonce = os.urandom(NONCE_BYTES)
        try:
            asked = self._tick_ms()
            self._verifier.begin_time(nonce, asked)
            told = await self._api.time(nonce)
            if self._tick_ms() - asked > ROUND_TRIP_MS_MAX and self._knows(self._tick_ms()):
                return  # it would make the lock less sure than it is, and its door would shut
            self._verifier.accept_time(told, self._tick_ms())
        except (httpx.HTTPError, DeviceRefused, LockRefusal, msgspec.MsgspecError, ValueError) as error:
            self._note(error)
        else:
            self._wait(EVERY_MS)

    def _wait(self, milliseconds: int) -> None:
        """Shorter, when it isn't sure or wouldn't be to the end of that."""
        now_ms = self._tick_ms()
        self.due_ms = now_ms + (milliseconds if self._knows(now_ms + milliseconds) else UNSURE_MS)
