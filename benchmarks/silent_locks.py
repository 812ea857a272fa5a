"""Locks that are connected and take every command, and never answer: what stands for thousands of doors that this machine can't simulate.

A simulated lock that answers costs a third of a millisecond of CPU for each command, on the very cores that are measured. These cost a
tenth: they hold a real, authenticated connection, and verify every hundredth command with the firmware's verifier. The service closes
their attempts as `unconfirmed` after their time, which is work that a lock's answer would have saved.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtests.plan import PlannedLock
from py_service._core_rs import DeviceKey, LockVerifier
from py_service.simulators.device_api import DeviceApi, decode_base64url
from py_service.simulators.frames import FRAME_BYTES_MAX, SUBPROTOCOL, decode_frame, encode_frame
from py_service.simulators.lock import monotonic_ms

VERIFIED_EVERY = 100
MEMORY_COMMANDS_MAX = 4_096
TOKEN_SECONDS = 200.0
ENROLLING_MAX = 8


class Counts(msgspec.Struct):
    """`commands` reached a lock; of them `verified` were looked at and found to be signed for it, `refused` not."""

    commands: int = 0
    verified: int = 0
    refused: int = 0


class SilentLock:
    """One connection."""

    def __init__(self, planned: PlannedLock, organization: str, http: httpx.AsyncClient, counts: Counts) -> None:
        identity = planned.identity()
        self._api = DeviceApi(http, organization, identity.lock, DeviceKey.from_seed(identity.seed))
        self._counts = counts
        self._verifier: LockVerifier | None = None

    async def enrol(self) -> None:
        """Pin the organization's key and learn the time. Raises DeviceRefused, LockRefusal, httpx.HTTPError."""
        pinned = await self._api.configuration()
        key = decode_base64url(pinned.public_key)
        self._verifier = LockVerifier(pinned.organization, pinned.lock, pinned.key_id, key, MEMORY_COMMANDS_MAX)
        nonce = os.urandom(16)
        self._verifier.begin_time(nonce, monotonic_ms())
        self._verifier.accept_time(await self._api.time(nonce), monotonic_ms())

    async def authenticate(self, line: ClientConnection) -> None:
        await line.send(encode_frame({"type": "authenticate", "token": (await self._api.token()).token}))

    async def listen(self, line: ClientConnection) -> None:
        """Until cancelled or closed."""
        async for text in line:
            if b'"command"' not in (text if isinstance(text, bytes) else text.encode()):
                continue
            self._counts.commands += 1
            if self._counts.commands % VERIFIED_EVERY == 0:
                self._verify(decode_frame(text).message)

    async def prolong(self, line: ClientConnection) -> None:
        while True:
            await asyncio.sleep(TOKEN_SECONDS)
            await self.authenticate(line)

    def _verify(self, message: str) -> None:
        assert self._verifier is not None
        try:
            self._verifier.verify(decode_base64url(message), monotonic_ms())
        except Exception:  # noqa: BLE001  whatever it was, this command would not have opened the door
            self._counts.refused += 1
        else:
            self._counts.verified += 1


async def run(locks: list[PlannedLock], organization: str, api_url: str, gateway_url: str, ready_file: Path, counts_file: Path) -> None:
    """Until SIGTERM; then `counts_file` says what came. `ready_file` stands when all are connected."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    counts, enrolling = Counts(), asyncio.Semaphore(ENROLLING_MAX)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=api_url, timeout=10.0, trust_env=False))
        tasks: list[asyncio.Task[None]] = []

        async def begin(planned: PlannedLock) -> None:
            async with enrolling:
                lock = SilentLock(planned, organization, http, counts)
                await lock.enrol()
                line = await stack.enter_async_context(
                    connect(gateway_url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, max_size=FRAME_BYTES_MAX, proxy=None)
                )
                await lock.authenticate(line)
                while decode_frame(await line.recv()).type != "authenticated":
                    pass
                tasks.extend((asyncio.create_task(lock.listen(line)), asyncio.create_task(lock.prolong(line))))

        await asyncio.gather(*(begin(planned) for planned in locks))
        await asyncio.to_thread(ready_file.touch)
        await stopped.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(counts_file.write_bytes, msgspec.json.encode(counts))
