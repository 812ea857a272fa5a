"""The processes beside the stack in the unlock benchmark: silent locks, the open-loop client, and the bare server that is its peer.

Each is `python -m benchmarks.unlock_http <word> ...`; what they do is here, when they are started is `unlock_http.py`'s.
"""

from __future__ import annotations

import asyncio
import random
import sys
import urllib.parse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import uvloop
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

from benchmarks import silent_locks
from benchmarks.open_loop import Answered, OpenLoop, Prepared
from loadtests import answers
from loadtests.answers import Expected
from loadtests.plan import Plan, PlannedLock, read_plan
from loadtests.stack import API_WORKERS
from loadtests.tokens import TokenMint
from py_service.edge.rsgi import Exchange, Scope
from py_service.supervise.child import ChildSpec
from py_service.supervise.environment import surroundings

ANSWERING_SHARE = 0.1
PREPARED = 2_000
BARE_BODY = b'{"id":"unlocks-0123456789abcdef:000000000001:000","door":"berlin-main-entrance","person":"p-0001","state":"commanded"}'


class Asked(msgspec.Struct):
    """One prepared unlock. `waits` until its lock has opened."""

    door: str
    person: str
    waits: bool


def choose(plan: Plan, locks: list[PlannedLock], count: int) -> list[Asked]:
    """Persons and doors by chance, a tenth at doors whose locks answer (the plan's fleet)."""
    chance = random.Random(5)
    answering = [lock.door for lock in plan.fleet]
    silent = [lock.door for lock in locks if lock.door not in answering]
    chosen: list[Asked] = []
    for _ in range(count):
        answers_back = chance.random() < ANSWERING_SHARE
        chosen.append(Asked(chance.choice(answering if answers_back else silent), chance.choice(plan.cast.residents), answers_back))
    return chosen


class LatencyOrder(msgspec.Struct):
    """What the open-loop process is asked to do."""

    plan_file: str
    asked: list[Asked]
    rate: float
    seconds: float
    warm_up_seconds: float
    result_file: str


def run_latency(order_file: Path) -> None:
    """Writes (kind, milliseconds, fault) of every answer to the order's result file."""
    order = msgspec.json.decode(order_file.read_bytes(), type=LatencyOrder)
    plan = read_plan(Path(order.plan_file))
    mint = TokenMint(plan.keys, plan.cast.organization)
    address = urllib.parse.urlsplit(plan.api_url)
    prepared = [_prepare(asked, mint.token(asked.person), address.netloc) for asked in order.asked]
    assert address.hostname is not None
    assert address.port is not None
    client = OpenLoop(address.hostname, address.port)
    found: list[Answered] = uvloop.run(client.run(prepared, order.rate, order.seconds, order.warm_up_seconds))
    Path(order.result_file).write_bytes(msgspec.json.encode([(item.kind, item.milliseconds, item.fault) for item in found]))


def _prepare(asked: Asked, token: str, host: str) -> Prepared:
    wait = "Prefer: wait=2\r\n" if asked.waits else ""
    wire = (
        f"POST /v1/doors/{asked.door}/unlock HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{wait}Content-Length: 0\r\n\r\n"
    )
    expected = answers.OPENED if asked.waits else answers.COMMANDED
    return Prepared(wire.encode(), "opened" if asked.waits else "commanded", partial(_fault, expected, asked.door, asked.person))


def _fault(expected: Expected, door: str, person: str, status: int, body: bytes) -> str | None:
    return answers.judge_unlock(status, body, expected, door, person).fault


class Bare:
    """No more than an answer."""

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        exchange.response_bytes(202, [("content-type", "application/json")], BARE_BODY)


def serve_bare(port: int) -> None:
    def load() -> Callable[..., object]:
        return cast("Callable[..., object]", Bare())  # Granian's types know functions only, Granian itself looks for `__rsgi__`

    server = Granian(
        "bare", port=port, interface=Interfaces.RSGI, loop=Loops.uvloop, http=HTTPModes.http1, websockets=False, log_enabled=False,
        workers=API_WORKERS,
    )  # fmt: skip
    server.serve(target_loader=load, wrap_loader=False)


def run_silent(plan_file: Path, ready_file: Path, counts_file: Path) -> None:
    """The plan's `swarm_locks`, until SIGTERM."""
    plan = read_plan(plan_file)
    work = silent_locks.run(list(plan.swarm_locks), plan.cast.organization, plan.api_url, plan.gateway_url, ready_file, counts_file)
    uvloop.run(work)


def silent_spec(plan_file: Path, counts_file: Path) -> ChildSpec:
    """Ready when all of them are connected."""
    ready_file = plan_file.with_suffix(".silent")

    async def ready() -> bool:
        return ready_file.exists()

    return ChildSpec("silent", _command("silent", str(plan_file), str(ready_file), str(counts_file)), _environment(), ready)


def bare_spec(port: int) -> ChildSpec:
    async def ready() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    return ChildSpec("bare", _command("bare", str(port)), _environment(), ready)


async def latency_run(order: LatencyOrder, order_file: Path, seconds_max: float) -> list[Answered]:
    """Runs the open-loop client in a process of its own. Raises RuntimeError, TimeoutError."""
    await asyncio.to_thread(order_file.write_bytes, msgspec.json.encode(order))
    process = await asyncio.create_subprocess_exec(*_command("latency", str(order_file)), stdin=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(seconds_max):
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if status != 0:
        raise RuntimeError(f"the open-loop client ended with exit status {status}")
    written = await asyncio.to_thread(Path(order.result_file).read_bytes)
    rows = msgspec.json.decode(written, type=list[tuple[str, float, str | None]])
    return [Answered(*row) for row in rows]


def run_child(word: str, arguments: list[str]) -> None:
    """What `python -m benchmarks.unlock_http <word> ...` does. Raises KeyError."""
    paths = [Path(argument) for argument in arguments]
    doors: dict[str, Callable[[], None]] = {
        "silent": lambda: run_silent(paths[0], paths[1], paths[2]),
        "latency": lambda: run_latency(paths[0]),
        "bare": lambda: serve_bare(int(arguments[0])),
    }
    doors[word]()


def _command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.unlock_http", *words)


def _environment() -> dict[str, str]:
    return {**surroundings(), "PYTHONUNBUFFERED": "1"}
