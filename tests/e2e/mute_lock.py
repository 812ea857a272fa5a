"""A lock that is connected, takes every command, and never answers: neither opens nor says why. Or only later."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from py_service._core_rs import DeviceKey
from py_service.simulators.device_api import DeviceApi, encode_base64url
from py_service.simulators.frames import SUBPROTOCOL, ServerFrame, decode_frame, encode_frame
from py_service.simulators.lock import LockIdentity
from tests.e2e.running import Service


@contextlib.asynccontextmanager
async def mute_lock(service: Service, identity: LockIdentity) -> AsyncIterator[list[ServerFrame]]:
    """Gives the command frames that it hears."""
    heard: list[ServerFrame] = []
    async with _line_of(service, identity) as line:
        listening = asyncio.create_task(_listen(line, heard))
        try:
            yield heard
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def say(service: Service, identity: LockIdentity, number: int, command: str, result: str, reason: str | None) -> None:
    """The lock is back, reports how a command ended, and waits until that is stored."""
    key = DeviceKey.from_seed(identity.seed)
    report = key.sign_report(identity.lock, number, "outcome", command, result, reason, time.time_ns() // 1_000_000)
    async with _line_of(service, identity) as line, asyncio.timeout(10):
        await line.send(encode_frame({"type": "report", "number": number, "command": command, "report": encode_base64url(report)}))
        while (frame := decode_frame(await line.recv())).type != "stored":
            assert frame.type != "error", frame


@contextlib.asynccontextmanager
async def _line_of(service: Service, identity: LockIdentity) -> AsyncIterator[ClientConnection]:
    async with service.client() as http:
        token = await DeviceApi(http, service.demo.id, identity.lock, DeviceKey.from_seed(identity.seed)).token()
    async with connect(service.stack.gateway_url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, proxy=None) as line:
        await line.send(encode_frame({"type": "authenticate", "token": token.token}))
        assert decode_frame(await line.recv()).type == "authenticated"
        yield line


async def _listen(line: ClientConnection, heard: list[ServerFrame]) -> None:
    with contextlib.suppress(ConnectionClosed, msgspec.MsgspecError):
        async for text in line:
            frame = decode_frame(text)
            if frame.type == "command":
                heard.append(frame)
