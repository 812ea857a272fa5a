"""What the edge costs: the same small answer from bare RSGI and through the edge, with wrk, in turns, in the same run.

`open` is a route for anyone; `token` verifies a bearer token in the core (cached) and holds it against the permissions in memory, as the
unlock does before its commit group. One worker, 32 connections, the headers that a phone sends.
What doesn't live here: any store. The whole unlock has its own benchmark.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import msgspec
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

from py_service._core_rs import KeyRing, PermissionIndex
from py_service.edge.identity import Authenticator
from py_service.edge.limits import Limits
from py_service.edge.rsgi import Exchange, Scope
from py_service.edge.server import Composition, EdgeApplication
from py_service.exchange import Handler, Operation, Request, Response, Route, encoded
from py_service.telemetry import RequestMetrics

ROUNDS = 3
SECONDS = 4
CONNECTIONS = 32
RATIO_MIN = {"open": 0.50, "token": 0.40}  # of bare RSGI
HEADERS = {"Accept": "application/json", "User-Agent": "nexkey-phone/1.0", "Accept-Language": "en", "Prefer": "wait=2"}
PATHS = {"bare": ("GET", "/open"), "open": ("GET", "/open"), "token": ("POST", "/v1/doors/front/unlock")}
EXPECTED = {"id": "door", "state": "commanded"}
QUOTA = 1_000_000_000
MASTER_KEY = bytes(range(32))


class Answer(msgspec.Struct):
    id: str
    state: str


ANSWER = Answer("door", "commanded")


class Bare:
    """No more than an answer: what Granian and msgspec cost alone."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        exchange.response_bytes(200, [("content-type", "application/json")], self._encode(ANSWER))


class NoApiKeys:
    """Every request of this benchmark shows a token."""

    def read(self, text: str) -> None:
        return None

    def used(self, key: object) -> None:
        raise AssertionError("no key was read")


class InMemory:
    """Permissions that are always current."""

    def __init__(self) -> None:
        self.index = PermissionIndex()
        person = {"name": "Ada", "email": "", "kind": "", "state": "active", "groups": [], "roles": [], "tokens_valid_after": 0}
        images = [
            {"kind": "organization", "id": "acme", "document": {"name": "Acme", "active": True}},
            {"kind": "person", "id": "ada", "document": person | {"valid_from": None, "valid_until": None}},
        ]
        self.index.load("acme", 1, json.dumps(images).encode())

    async def current(self, organization: str, /) -> int:
        return 1


async def answer(request: Request) -> Response:
    return encoded(200, ANSWER)


def make_ring(sealed: bytes | None) -> tuple[KeyRing, bytes]:
    ring = KeyRing(MASTER_KEY)
    if sealed is None:
        sealed = ring.generate("access", "", "access.1")
    else:
        ring.load("access", "", "access.1", sealed)
    ring.activate("access", "", "access.1")
    return ring, sealed


async def compose() -> Composition:
    async def nothing() -> None:
        return None

    async def no_reload() -> bool:
        return False

    async def once(key: str, request: Request, handler: Handler) -> Response:
        return await handler(request)

    ring, _ = make_ring(bytes.fromhex(os.environ["EDGE_BENCHMARK_KEY"]))
    told = Operation("Answers at once", "Benchmark", {200: None})
    routes = [
        Route("GET", "/open", answer, access="anyone", fenced=False, body_bytes_max=0, about=told),
        Route("POST", "/v1/doors/{door}/unlock", answer, fenced=False, body_bytes_max=0, own_quota="unlock", about=told),
    ]
    # Metered as always, with quotas that one token and one address don't use up.
    limits = Limits(requests_per_minute_max=QUOTA, unlocks_per_minute_max=QUOTA, open_requests_per_minute_max=QUOTA)
    return Composition(routes, Authenticator(ring, InMemory(), no_reload, NoApiKeys()), RequestMetrics("benchmark"), nothing, once, limits)


def serve(kind: str, port: int) -> None:
    application = Bare() if kind == "bare" else EdgeApplication(compose)

    def load() -> Callable[..., object]:
        return cast("Callable[..., object]", application)  # Granian's types know functions only, Granian itself looks for `__rsgi__`

    server = Granian(
        "edge", port=port, interface=Interfaces.RSGI, loop=Loops.uvloop, http=HTTPModes.http1, websockets=False, log_enabled=False
    )
    server.serve(target_loader=load, wrap_loader=False)


@contextmanager
def served(kind: str, environment: dict[str, str]) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.edge", kind, str(port)], env=environment)
    try:
        _wait_for(port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def check(port: int, method: str, path: str, headers: dict[str, str]) -> None:
    """The answer is right before it is counted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, headers=headers)
    found = connection.getresponse()
    body = found.read()
    connection.close()
    if found.status != 200 or json.loads(body) != EXPECTED:
        raise SystemExit(f"wrong answer: {found.status} {body!r}")


def requests_per_second(port: int, method: str, path: str, headers: dict[str, str]) -> float:
    """One run of wrk. Exits when any answer wasn't a success."""
    script = f'wrk.method = "{method}"\n' + "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:  # a file, because wrk reads it once for each thread
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", file.name, f"http://127.0.0.1:{port}{path}"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"refused or broken requests:\n{printed}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if found is None:
        raise SystemExit(f"wrk said:\n{printed}")
    return float(found.group(1))


def measure() -> int:
    ring, sealed = make_ring(None)
    now_ms = time.time_ns() // 1_000_000
    token = ring.sign_access_token("api", "acme", "ada", "person", "s", [], now_ms, now_ms + 300_000)
    environment = os.environ | {"EDGE_BENCHMARK_KEY": sealed.hex()}
    figures: dict[str, list[float]] = {kind: [] for kind in PATHS}
    for _ in range(ROUNDS):  # in turns, so that a busy moment of the machine meets them all
        for kind, (method, path) in PATHS.items():
            headers = HEADERS | {"Authorization": f"Bearer {token}"}
            with served(kind, environment) as port:
                check(port, method, path, headers)
                figures[kind].append(requests_per_second(port, method, path, headers))
    missed = False
    bare = statistics.median(figures["bare"])
    print(f"{'bare':<6} {bare:>9,.0f} requests/s")
    for kind, ratio_min in RATIO_MIN.items():
        rate = statistics.median(figures[kind])
        ratio = statistics.median(ours / theirs for ours, theirs in zip(figures[kind], figures["bare"], strict=True))
        missed = missed or ratio < ratio_min
        added = 1e6 / rate - 1e6 / bare
        print(f"{kind:<6} {rate:>9,.0f} requests/s  {ratio:.2f} of bare RSGI (at least {ratio_min:.2f})  {added:.1f} us more each")
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(measure())
