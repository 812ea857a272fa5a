"""The fleet of locks of a load test, as a process: `python -m loadtests.locks <plan> <ready file>`. Runs until it is stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from loadtests.plan import read_plan
from py_service.simulators.fleet import FleetOptions, running_fleet

CONNECT_SECONDS_MAX = 50.0


async def run(plan_file: Path, ready_file: Path) -> None:
    """Writes `ready_file` when every lock is connected. Raises TimeoutError that says which is not."""
    plan = read_plan(plan_file)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    options = FleetOptions(plan.api_url, plan.gateway_url, plan.cast.organization, Path(plan.fleet_moves_file))
    async with running_fleet([lock.identity() for lock in plan.fleet], options) as fleet:
        await fleet.all_ready(CONNECT_SECONDS_MAX)
        await asyncio.to_thread(ready_file.touch)
        await stopped.wait()


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
