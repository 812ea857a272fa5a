"""How a simulated lock keeps its door open: it asks for a lease, has it renewed in time, and lets the bolt go when it gets none.

It goes on while the line to the gateway is down. What doesn't live here: verifying a lease and moving the bolt (`command.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from py_service._core_rs import LockRefusal
from py_service.simulators.command import CommandAnswers
from py_service.simulators.device_api import DeviceApi, DeviceRefused, HoldLease, decode_base64url
from py_service.simulators.door import Door

RETRY_MS = 1_000
FAILED_MS = 30_000  # a bolt that is jammed isn't tried all the time
TICK_SECONDS = 0.1


class HoldKeeper:
    """Run it as a task beside the line."""

    def __init__(
        self, api: DeviceApi, answers: CommandAnswers, door: Door, ask_time: Callable[[], Awaitable[None]], tick_ms: Callable[[], int],
        moved: Callable[[], None],
    ) -> None:  # fmt: skip
        self._api = api
        self._answers = answers
        self._door = door
        self._ask_time = ask_time
        self._tick_ms = tick_ms
        self._moved = moved
        self._hold: str | None = None
        self._ask_at_ms = 0
        self._wake = asyncio.Event()
        self.last_error = ""

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.create_task(self._keep_time())
        try:
            while True:
                self._wake.clear()
                await self._ask()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(self._ask_at_ms - self._tick_ms(), 1) / 1_000):
                        await self._wake.wait()
        finally:
            clock.cancel()

    def ask_now(self) -> None:
        """Something changed, so it was said: nobody's proof, and no harm."""
        self._wake.set()

    async def _keep_time(self) -> None:
        """The bolt goes out at the end of a lease, also while a question is under way."""
        while True:
            was_free = self._door.free
            self._answers.keep_time(self._tick_ms())
            if was_free and not self._door.free:
                self._moved()
            await asyncio.sleep(TICK_SECONDS)

    async def _ask(self) -> None:
        self._ask_at_ms = self._tick_ms() + RETRY_MS
        asked = self._hold if self._door.free else None
        try:
            self._take(await self._api.hold(asked))
        except LockRefusal as refusal:
            self.last_error = refusal.code
            if refusal.code == "clock_unsure":
                await self._ask_time()
        except (DeviceRefused, httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
            self.last_error = f"{type(error).__name__}: {error}"
            if isinstance(error, DeviceRefused) and error.status in (401, 403, 404):
                self._let_go()  # it isn't told to keep it, whoever it is now

    def _take(self, lease: HoldLease) -> None:
        now_ms = self._tick_ms()
        if lease.message is None:
            self._let_go()
        elif self._answers.lease(decode_base64url(lease.message), now_ms):
            self._hold = lease.hold
        else:
            self._let_go()
            self._ask_at_ms = now_ms + (FAILED_MS if self._door.jammed else RETRY_MS)
            return
        self._ask_at_ms = now_ms + lease.ask_again_in_ms
        self._moved()

    def _let_go(self) -> None:
        self._hold = None
        if self._door.free:
            self._answers.release(self._tick_ms())
            self._moved()
