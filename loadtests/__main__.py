"""The gate of design promise 3: `python -m loadtests` runs the whole stack under a mixed load and says whether it kept its limits.

    stores, api (2 workers), gateway, worker -> locks -> warm-up -> the measured window -> is everything true that was answered?

Exit status 0 when every limit was kept, 1 when one wasn't (it is named), 2 when nothing could be measured.
A run that missed nothing but time is measured again, RUNS_MAX runs in all, and each is printed: other work on the machine only adds time.
A wrong answer is never tried again.
What doesn't live here: the limits themselves (`gate.py`), the users (`phone_user.py`, `lock_user.py`), the processes (`stack.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

import msgspec

from loadtests import processor_time, report
from loadtests.gate import AVERAGE_MS_MAX, Limits, Record, misses, only_slow
from loadtests.plan import Plan, write_plan
from loadtests.projection import Lag, wait_until_projected, watch_lag
from loadtests.stack import RunningStack, fleet_spec, running_stack
from py_service._core_rs import __build_profile__
from py_service.errors import SettingsError
from py_service.simulators.moves import read_moves
from py_service.supervise.supervisor import ChildFailed

RATE = 300.0
SECONDS = 60.0
WARM_UP_SECONDS = 10.0
RUNS_MAX = 3
USER_INTERVAL_SECONDS = 0.5
SWARM_LOCKS = 4
CHILDREN = ("mongo", "redis", "api", "gateway", "worker", "locks")
SWARM_SPARE_SECONDS = 90.0
NOT_MEASURED = 2


class NotMeasured(Exception):
    """The swarm gave no record."""


async def measure(options: argparse.Namespace) -> tuple[Record, Lag]:
    """Raises NotMeasured, ChildFailed, SettingsError."""
    async with running_stack() as running:
        plan = _plan(running, options)
        plan_file = running.folder / "plan.json"
        write_plan(plan_file, plan)
        await running.supervisor.start(fleet_spec(plan_file))
        print(f"stack ready: {plan.api_url}, {len(running.locks)} locks; {plan.users} users at {plan.rate:g}/s", flush=True)
        lag = Lag()
        processor = await asyncio.to_thread(processor_time.milliseconds, running.supervisor, CHILDREN)
        watching = asyncio.create_task(watch_lag(running.mongo, lag))
        try:
            await _swarm(plan_file, options.warm_up_seconds + options.seconds + SWARM_SPARE_SECONDS)
        finally:
            watching.cancel()
        used = processor_time.since(processor, processor_time.milliseconds(running.supervisor, CHILDREN))
        record = msgspec.json.decode(await asyncio.to_thread(Path(plan.record_file).read_bytes), type=Record)
        await wait_until_projected(running.mongo, lag)
        record.faults += _unmoved(record, plan)
        await running.supervisor.stop()
    record.faults += running.deaths
    print(processor_time.text(used, options.warm_up_seconds + options.seconds))
    return record, lag


def _plan(running: RunningStack, options: argparse.Namespace) -> Plan:
    ordinary = [lock for lock in running.locks if lock.door not in running.cast.lockable]
    swarm_locks = ordinary[:SWARM_LOCKS]
    return Plan(
        api_url=running.stack.api_url,
        gateway_url=running.stack.gateway_url,
        cast=running.cast,
        keys=running.keys,
        fleet=[lock for lock in running.locks if lock not in swarm_locks],
        swarm_locks=swarm_locks,
        rate=options.rate,
        users=max(4, round(options.rate * USER_INTERVAL_SECONDS)),
        warm_up_seconds=options.warm_up_seconds,
        seconds=options.seconds,
        record_file=str(running.folder / "record.json"),
        fleet_moves_file=str(running.folder / "moves-fleet.jsonl"),
        swarm_moves_file=str(running.folder / "moves-swarm.jsonl"),
    )


async def _swarm(plan_file: Path, seconds_max: float) -> None:
    """Runs Locust in its own process: it patches the standard library. Raises NotMeasured."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.swarm", str(plan_file), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(seconds_max):
            status = await process.wait()
    except TimeoutError:
        raise NotMeasured("the swarm did not end in time") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if status != 0:
        raise NotMeasured(f"the swarm ended with exit status {status}")


def _unmoved(record: Record, plan: Plan) -> list[str]:
    """Attempts that were answered `unlocked` and whose bolt never moved: the answer is checked at the door."""
    moved = {line.command for name in (plan.fleet_moves_file, plan.swarm_moves_file) for line in read_moves(Path(name))}
    unmoved = [identifier for identifier in record.opened if identifier not in moved]
    return [f"{len(unmoved)} of {len(record.opened)} opened doors did not move their bolt, {unmoved[0]} first"] if unmoved else []


def read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description="The gate: a mixed load on the whole stack.")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="of the measured window")
    parser.add_argument("--rate", type=_positive, default=RATE, help="arrivals a second")
    parser.add_argument("--limit-ms", type=_positive, default=AVERAGE_MS_MAX, help="on the average of the whole mixed load")
    parser.add_argument("--warm-up-seconds", type=_positive, default=WARM_UP_SECONDS)
    parser.add_argument("--runs", type=int, choices=range(1, RUNS_MAX + 1), default=RUNS_MAX, help="at most, while only time is missed")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="folder for the figures as JSON")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 100_000:
        raise argparse.ArgumentTypeError("must be above 0 and below 100000")
    return value


def main(arguments: list[str]) -> int:
    options = read_options(arguments)
    if __build_profile__ != "release":
        print("the core is a debug build; figures would mean nothing: run `make build`", file=sys.stderr)
        return NOT_MEASURED
    facts = report.facts()
    report.print_header(facts)
    limits = Limits(rate=options.rate, average_ms_max=options.limit_ms)
    status = NOT_MEASURED
    for run in range(1, options.runs + 1):
        status, again = _run(options, limits, facts)
        if not again or run == options.runs:
            break
        print(f"\nrun {run} of {options.runs} at most missed nothing but time: measured again", flush=True)
    return status


def _run(options: argparse.Namespace, limits: Limits, facts: dict[str, dict[str, str]]) -> tuple[int, bool]:
    """One run, judged, printed and kept: its exit status, and whether it may be measured again."""
    try:
        record, lag = asyncio.run(measure(options))
    except (NotMeasured, SettingsError, ChildFailed) as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        for line in getattr(error, "last_lines", []):
            print(f"  | {line}", file=sys.stderr)
        return NOT_MEASURED, False
    found = misses(record, limits)
    report.print_record(record, limits, lag)
    print(f"kept in {report.keep(options.results, record, limits, lag, found, facts)}")
    for miss in found:
        print(f"GATE MISSED: {miss}")
    if not found:
        print(f"gate passed: average at most {limits.average_ms_max:g} ms, no failure, {limits.rate:g} requests/s")
    return (1 if found else 0), only_slow(record, limits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
