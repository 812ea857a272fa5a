"""The organization's live feed, as a subscriber gets it over the gateway. What is done with the events lives in `live.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from py_service.simulators.frames import FRAME_BYTES_MAX, SUBPROTOCOL, Position, decode_frame, encode_frame
from py_service.simulators.phone import Phone, PhoneError
from py_service.simulators.reconnect import Reconnect

RENEW_SECONDS = 240.0  # a token lives for five minutes


class FeedEvent(msgspec.Struct):
    """An event as the feed carries it (docs/protocols/documents.md)."""

    kind: str
    at: int = 0
    id: str | None = None
    attempt: str | None = None
    door: str | None = None
    person: str | None = None
    lock: str | None = None
    reason: str | None = None
    passed_back: dict[str, object] | None = None
    actor: str | None = None
    subject: str | None = None
    detail: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class FeedGap:
    """Events were lost on the way, and the service says so."""

    reason: str


async def follow_feed(phone: Phone, gateway_url: str) -> AsyncIterator[FeedEvent | FeedGap]:
    """Forever, over lost connections, resuming at the position that was reached."""
    position: Position | None = None
    reconnect = Reconnect()
    while True:
        code, reason = None, ""
        try:
            token, topics = await phone.realtime_token()
            topic = f"organizations/{phone.organization}/events"
            if topic not in topics:
                yield FeedGap(f"{phone.person} may not see {topic}")
                return
            line = connect(gateway_url, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=FRAME_BYTES_MAX, proxy=None, open_timeout=5)
            async with line as socket:
                await socket.send(encode_frame({"type": "authenticate", "token": token}))
                resumed = {} if position is None else {"position": {"epoch": position.epoch, "offset": position.offset}}
                await socket.send(encode_frame({"type": "subscribe", "topic": topic, **resumed}))
                renewed = asyncio.get_running_loop().time() + RENEW_SECONDS
                async for text in socket:
                    frame = decode_frame(text)
                    if asyncio.get_running_loop().time() > renewed:
                        token, _ = await phone.realtime_token()
                        await socket.send(encode_frame({"type": "authenticate", "token": token}))
                        renewed += RENEW_SECONDS
                    if frame.type in ("subscribed", "event", "gap") and frame.position is not None:
                        resuming, position = position is not None, frame.position
                        reconnect.worked()
                        if frame.type == "event":
                            yield msgspec.json.decode(frame.event, type=FeedEvent)
                        elif frame.type == "gap" or (resuming and not frame.recovered):
                            yield FeedGap(frame.reason or "unknown")
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                code, reason = closed.rcvd.code, closed.rcvd.reason
        except (OSError, TimeoutError, WebSocketException, httpx.HTTPError, PhoneError, msgspec.MsgspecError):
            pass  # the supervisor says what is down; the feed only comes back
        await asyncio.sleep(reconnect.pause_seconds(code, reason))
