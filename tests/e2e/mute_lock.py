"""A lock that is connected, takes every command, and never answers: neither opens nor says why. Or only later, or when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
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


@contextlib.asynccontextmanager
async def jammed_lock(service: Service, identity: LockIdentity, may_say: asyncio.Event) -> AsyncIterator[None]:
    """Says of every command that it jammed, to whoever gave it, once it may."""

    async def answer(line: ClientConnection) -> None:
        numbers = itertools.count(time.time_ns() // 1_000_000)  # such as no report of this lock had
        with contextlib.suppress(ConnectionClosed):
            async for text in line:
                frame = decode_frame(text)
                if frame.type == "command":
                    await may_say.wait()
                    await line.send(_report(identity, next(numbers), str(frame.command), "refused", "lock_jammed"))

    async with _line_of(service, identity) as line:
        answering = asyncio.create_task(answer(line))
        try:
            yield
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


async def say(service: Service, identity: LockIdentity, number: int, command: str, result: str, reason: str | None) -> None:
    """The lock is back, reports how a command ended, and waits until that is stored."""
    async with _line_of(service, identity) as line, asyncio.timeout(10):
        await line.send(_report(identity, number, command, result, reason))
        while (frame := decode_frame(await line.recv())).type != "stored":
            assert frame.type != "error", frame


def _report(identity: LockIdentity, number: int, command: str, result: str, reason: str | None) -> str:
    key = DeviceKey.from_seed(identity.seed)
    report = key.sign_report(identity.lock, number, "outcome", command, result, reason, time.time_ns() // 1_000_000)
    return encode_frame({"type": "report", "number": number, "command": command, "report": encode_base64url(report)})


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
