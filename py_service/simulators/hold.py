"""How a simulated lock keeps its door open: it asks for a lease, has it renewed in time, and lets the bolt go when it gets none.

It goes on while the line to the gateway is down. What doesn't live here: verifying a lease and moving the bolt (`command.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from py_service.simulators.command import LOCK_JAMMED, CommandAnswers
from py_service.simulators.device_api import DeviceApi, DeviceRefused, HoldLease, decode_base64url
from py_service.simulators.door import Door

RETRY_MS = 1_000
REFUSED_MS = 10_000  # each try is an event
FAILED_MS = 30_000  # a bolt that is jammed, a lock that is switched off
HINTED_MS = 250  # however often it is told to ask
ANSWER_SECONDS_MAX = 1.2  # two questions fit into what is left of a lease
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

    async def run(self) -> None:
        """Until cancelled. However it ends, the bolt goes out."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_time())
                tasks.create_task(self._keep_asking())
        finally:
            self._let_go()

    def ask_now(self) -> None:
        """Something changed, so it was said: nobody's proof, and no harm."""
        self._wake.set()

    async def _keep_asking(self) -> None:
        while True:
            self._wake.clear()
            if self._answers.knows_the_time(self._tick_ms()):
                await self._ask()
            else:
                self._ask_at_ms = self._tick_ms() + HINTED_MS  # whoever connects asks for it
            await asyncio.sleep(HINTED_MS / 1_000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._ask_at_ms - self._tick_ms(), 0) / 1_000):
                    await self._wake.wait()

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
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                lease = await self._api.hold(self._hold if self._door.free else None)
            await self._take(lease)
        except (DeviceRefused, httpx.HTTPError, msgspec.MsgspecError, TimeoutError, ValueError) as error:
            # Whatever else it was: the lease that it has lives on to its end.
            if isinstance(error, DeviceRefused) and error.status in (401, 403, 404):
                self._let_go()  # it isn't told to keep it, whoever it is now
                self._ask_at_ms = self._tick_ms() + (RETRY_MS if error.status == 404 else FAILED_MS)

    async def _take(self, lease: HoldLease) -> None:
        now_ms = self._tick_ms()
        if lease.message is None or lease.hold is None:
            self._let_go()
        else:
            refused = self._answers.lease(lease.hold, decode_base64url(lease.message), now_ms)
            if refused is not None:
                await self._refused(refused)
                return
            self._hold = lease.hold
        self._ask_at_ms = now_ms + lease.ask_again_in_ms
        self._moved()

    async def _refused(self, code: str) -> None:
        self._let_go()
        self._moved()
        if code == "command_replayed":  # the hold ended while its renewal was under way: another one begins
            self._ask_at_ms = self._tick_ms()
        elif code == LOCK_JAMMED:
            self._ask_at_ms = self._tick_ms() + FAILED_MS
        else:
            self._ask_at_ms = self._tick_ms() + REFUSED_MS
            await self._ask_time()

    def _let_go(self) -> None:
        self._hold = None
        if self._door.free:
            self._answers.release(self._tick_ms())
            self._moved()
