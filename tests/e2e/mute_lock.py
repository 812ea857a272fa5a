"""A lock that is connected, takes every command, and never answers: neither opens nor says why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from py_service._core_rs import DeviceKey
from py_service.simulators.device_api import DeviceApi
from py_service.simulators.frames import SUBPROTOCOL, ServerFrame, decode_frame, encode_frame
from py_service.simulators.lock import LockIdentity
from tests.e2e.running import Service


@contextlib.asynccontextmanager
async def mute_lock(service: Service, identity: LockIdentity) -> AsyncIterator[list[ServerFrame]]:
    """Gives the command frames that it hears."""
    heard: list[ServerFrame] = []
    async with service.client() as http:
        device = DeviceApi(http, service.demo.id, identity.lock, DeviceKey.from_seed(identity.seed))
        token = await device.token()
        async with connect(service.stack.gateway_url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, proxy=None) as line:
            await line.send(encode_frame({"type": "authenticate", "token": token.token}))
            assert decode_frame(await line.recv()).type == "authenticated"
            listening = asyncio.create_task(_listen(line, heard))
            try:
                yield heard
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)


async def _listen(line: ClientConnection, heard: list[ServerFrame]) -> None:
    with contextlib.suppress(ConnectionClosed, msgspec.MsgspecError):
        async for text in line:
            frame = decode_frame(text)
            if frame.type == "command":
                heard.append(frame)
