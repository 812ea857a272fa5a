"""What goes wrong while a history is made: processes die or stand still, Redis vanishes, commands and commits come late or never.

Each fault is undone before the next begins. What doesn't live here: the races, and what must hold in spite of it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from tests.e2e.proxy import MongoProxy
from tests.e2e.running import Service

WORKER_OLD_SECONDS = 6.0
CATCH_SECONDS = 2.0
GATEWAY_SECONDS = (10.5, 0.7, 3.0)  # longer than `effective_by` reaches; and shorter than a command lives
LOST_SECONDS = 2.6  # a commit is asked for again until 2 s after its transaction's moment

Fault = Callable[[Service, random.Random], Awaitable[bool]]
"""Whether it took place."""


async def kill_redis(service: Service, chance: random.Random) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(service.supervisor.pid("redis"), signal.SIGKILL)
        return True
    return False


async def kill_api_worker(service: Service, chance: random.Random) -> bool:
    """The oldest one, when it is old enough: if one dies twice within 5.5 s, Granian ends itself and all of them."""
    with contextlib.suppress(OSError, ValueError):  # there may be none at the moment
        while True:
            age_seconds, pid = max((_age_seconds(pid), pid) for pid in service.worker_pids())
            if age_seconds > WORKER_OLD_SECONDS:
                break
            await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        return True
    return False


async def pause_api_worker(service: Service, chance: random.Random) -> bool:
    """At any moment of its work."""
    for pid in _one_of(service.worker_pids(), chance):
        return await _stand_still(pid, chance.choice((0.3, 0.7, 2.5)))
    return False


def pause_gateway() -> Fault:
    """Commands wait in it: in turn for longer than they live, and not so long."""
    seconds = itertools.cycle(GATEWAY_SECONDS)

    async def pause(service: Service, chance: random.Random) -> bool:
        return await _stand_still(service.supervisor.pid("gateway"), next(seconds))

    return pause


def hold_commits(mongo: MongoProxy, lane: str) -> Fault:
    """The store has committed, and the process stands still before it hears of it."""

    async def hold(service: Service, chance: random.Random) -> bool:
        async with mongo.holding(lane) as held:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(held.caught.wait(), CATCH_SECONDS)
                log = await service.database["logs"].find_one({"_id": held.documents[0].rpartition(":")[0]})
                assert log is not None and log["process"].startswith("api-"), log
                return await _stand_still(int(log["process"].split("-")[1]), chance.choice((0.3, 0.9, 2.6)))
        return False

    return hold


def lose_commits(mongo: MongoProxy, lane: str) -> Fault:
    """The store commits, and no process hears of it, for longer than they ask again: nobody knows what came of it."""

    async def lose(service: Service, chance: random.Random) -> bool:
        async with mongo.holding(lane) as held:
            held.lose()
            await asyncio.sleep(LOST_SECONDS)
            return held.caught.is_set()

    return lose


async def _stand_still(pid: int, seconds: float) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        return True
    return False


@contextlib.asynccontextmanager
async def faults(service: Service, kinds: dict[str, Fault], pause_seconds: tuple[float, float]) -> AsyncIterator[Counter[str]]:
    """As long as the block runs: every kind in turn, in an order that chance makes. Counts what took place."""
    done: Counter[str] = Counter()
    chance = random.Random()

    async def make() -> None:
        while True:
            for name in chance.sample(sorted(kinds), len(kinds)):
                await asyncio.sleep(chance.uniform(*pause_seconds))
                if await kinds[name](service, chance):
                    done[name] += 1

    making = asyncio.create_task(make())
    try:
        yield done
    finally:
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making


def _age_seconds(pid: int) -> float:
    """From /proc; raises OSError when it is gone."""
    started_ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def _one_of(pids: Sequence[int], chance: random.Random) -> list[int]:
    return [chance.choice(pids)] if pids else []
