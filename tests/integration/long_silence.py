"""A client that never answers the gateway's pings, beside one that does nothing else: 46 s by its promises, while other tests run."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from websockets.client import ClientProtocol
from websockets.frames import Close, Opcode
from websockets.frames import Frame as WireFrame
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.integration.gateway_server import Frame, Gateway, KeyServer, Valkey, receive, say


@dataclass
class LongSilence:
    """`heard`: what the mute client was told, and how many seconds after it connected; the rest is of the one that answers pings."""

    heard: list[tuple[str, float]] = field(default_factory=list)
    answering_seconds: float = 0.0
    answer: Frame = field(default_factory=dict)
    connections: int = -1
    log: str = ""
    done: threading.Event = field(default_factory=threading.Event)


async def keep_silent(silence: LongSilence, folder: Path) -> None:
    """Fills `silence`; what goes wrong leaves it as far as it came."""
    valkey, keys = Valkey(), KeyServer()
    gateway = Gateway(valkey, keys, folder).start()
    try:
        answering = await gateway.person()
        started = time.monotonic()
        silence.heard = await asyncio.wait_for(never_answer(gateway), 55)
        silence.answering_seconds = time.monotonic() - started
        await say(answering, type="ping")
        silence.answer = await receive(answering)
        silence.connections = gateway.metric("connections")
        await answering.close()
    finally:
        gateway.stop()
        silence.log = gateway.log_path.read_text()
        keys.stop()
        valkey.stop()
        silence.done.set()


async def never_answer(gateway: Gateway) -> list[tuple[str, float]]:
    """Authenticates, then only listens."""
    protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{gateway.port}/v1/realtime"), subprotocols=[Subprotocol("nexkey.v1.json")])
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    protocol.send_request(protocol.connect())
    writer.writelines(protocol.data_to_send())
    heard: list[tuple[str, float]] = []
    started = time.monotonic()
    while data := await reader.read(65_536):
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Response):
                protocol.send_text(json.dumps({"type": "authenticate", "token": gateway.keys.token()}).encode())
                writer.writelines(protocol.data_to_send())
            elif isinstance(event, WireFrame) and event.opcode is Opcode.CLOSE:
                close = Close.parse(event.data)
                heard.append((f"{close.code} {close.reason}", time.monotonic() - started))
            elif isinstance(event, WireFrame):
                name = "ping" if event.opcode is Opcode.PING else json.loads(bytes(event.data))["type"]
                heard.append((name, time.monotonic() - started))
    writer.close()
    return heard
