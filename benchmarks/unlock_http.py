"""Unlocks over HTTP through every process: how many are committed a second, how long one takes, the lag behind.

    saturation  wrk, 256 connections, every answer's state checked; what counts is what stands in MongoDB's journal afterwards
    latency     an open-loop client at 750/s, half of the rate that is asked for; the clock starts when a request was due
    beyond      the same at half of the rate that was reached, when that is more: printed, not judged
    peer        bare RSGI on the same Granian, a fixed JSON answer: the ceiling

40 doors, each with a connected lock. A tenth of the unlocks goes to 8 doors whose locks (`py_service.simulators`) verify, move and answer;
the rest to 32 doors whose locks take the command and stay silent (`silent_locks.py` says why). Every command is signed and published.
In the latency runs the tenth waits until its lock has opened (`Prefer: wait=2`), the others are answered when the command is out.
Everything runs on the same cores: stores, two api workers, gateway, worker, locks and the load.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import uvloop

from benchmarks import journal_count
from benchmarks.open_loop import Answered
from benchmarks.silent_locks import Counts
from benchmarks.unlock_children import Asked, LatencyOrder, bare_spec, choose, latency_run, run_child, silent_spec
from benchmarks.wrk import Wrk, run_wrk
from loadtests import answers, processor_time
from loadtests.gate import figures
from loadtests.plan import Plan, write_plan
from loadtests.projection import Lag, wait_until_projected, watch_lag
from loadtests.stack import RunningStack, fleet_spec, running_stack
from loadtests.tokens import TokenMint
from py_service.supervise.ports import free_port
from py_service.supervise.supervisor import Supervisor

CHILDREN = ("mongo", "redis", "api", "gateway", "worker", "locks", "silent")
ANSWERING_DOORS = 8
PREPARED = 2_000
RUNS, QUICK_RUNS = 3, 1
SECONDS, QUICK_SECONDS = 12, 5
EDGE_SECONDS = 1.0  # of a saturation run that don't count: connections open and close in them
PEER_SECONDS = 4
WARM_UP_SECONDS = 2.0
SPARE_SECONDS = 30.0
SAMPLE_PAUSE_SECONDS = 0.1
PER_SECOND_MIN = 1_500.0
LATENCY_RATE = PER_SECOND_MIN / 2
P99_MS_MAX = 31.0


@dataclass(slots=True)
class Saturation:
    """One run. `sampled` unlocks were looked up in the journal one by one, `missing` of them weren't there."""

    per_second: float
    answered: Wrk
    counted: journal_count.Counted
    sampled: int
    missing: int
    lag: Lag
    processor_ms: dict[str, float]


Sampled = tuple[str, Asked]


@dataclass(slots=True)
class Bench:
    """A running stack with its locks."""

    running: RunningStack
    plan: Plan
    plan_file: Path
    counts_file: Path
    mint: TokenMint
    asked: list[Asked]


async def measure(quick: bool) -> int:
    runs, seconds = (QUICK_RUNS, QUICK_SECONDS) if quick else (RUNS, SECONDS)
    async with running_stack() as running:
        bench = await _with_locks(running)
        saturations: list[Saturation] = []
        peers: list[float] = []
        for _ in range(runs):  # in turns, so that a busy moment of the machine meets both
            saturations.append(await _saturate(bench, seconds))
            peers.append(await _peer(bench, 2 if quick else PEER_SECONDS))
        latencies = [await _latency(bench, LATENCY_RATE, seconds, number) for number in range(runs)]
        reached = statistics.median(found.per_second for found in saturations)
        beyond = await _latency(bench, reached / 2, seconds, runs) if reached / 2 > LATENCY_RATE else None
        await running.supervisor.stop()
        counts = msgspec.json.decode(await asyncio.to_thread(bench.counts_file.read_bytes), type=Counts)
    faults = [*_print_saturation(saturations, peers), *_print_latency(latencies), *_commands(counts), *running.deaths]
    if beyond is not None:
        faults += _print_run(beyond, reached / 2)[1]
    for fault in faults:
        print(f"MISSED: {fault}")
    return 1 if faults else 0


async def _with_locks(running: RunningStack) -> Bench:
    plan_file, counts_file = running.folder / "plan.json", running.folder / "silent.counts"
    plan = Plan(
        api_url=running.stack.api_url,
        gateway_url=running.stack.gateway_url,
        cast=running.cast,
        keys=running.keys,
        fleet=running.locks[:ANSWERING_DOORS],
        swarm_locks=running.locks[ANSWERING_DOORS:],
        rate=0,
        users=0,
        warm_up_seconds=0,
        seconds=0,
        record_file="",
        fleet_moves_file=str(running.folder / "moves.jsonl"),
        swarm_moves_file="",
    )
    write_plan(plan_file, plan)
    await running.supervisor.start(fleet_spec(plan_file))
    await running.supervisor.start(silent_spec(plan_file, counts_file))
    mint = TokenMint(plan.keys, plan.cast.organization)
    return Bench(running, plan, plan_file, counts_file, mint, choose(plan, running.locks, PREPARED))


async def _saturate(bench: Bench, seconds: int) -> Saturation:
    """wrk for `seconds`; the journal is read before and after, and the seconds in between are counted by the journal's own clock."""
    mongo, lag, sample = bench.running.mongo, Lag(), list[Sampled]()
    requests = [(f"/v1/doors/{asked.door}/unlock", bench.mint.token(asked.person)) for asked in bench.asked]
    before, processor_before = await journal_count.heads(mongo), processor_time.milliseconds(bench.running.supervisor, CHILDREN)
    beside = [asyncio.create_task(watch_lag(mongo, lag)), asyncio.create_task(_sample(bench, sample))]
    began_ms = time.time_ns() // 1_000_000
    try:
        answered = await run_wrk(bench.plan.api_url, requests, (202, '"state":"commanded"'), seconds)
    finally:
        for task in beside:
            task.cancel()
    processor = processor_time.milliseconds(bench.running.supervisor, CHILDREN)
    await asyncio.wait(beside)
    await wait_until_projected(mongo, lag)
    counted = await journal_count.count_between(mongo, before, await journal_count.heads(mongo))
    begin_ms, end_ms = began_ms + int(EDGE_SECONDS * 1_000), began_ms + int((seconds - EDGE_SECONDS) * 1_000)
    per_second = counted.granted_between(begin_ms, end_ms) / ((end_ms - begin_ms) / 1_000)
    missing = [name for name, asked in sample if not await journal_count.stands(mongo, name, asked.door, asked.person)]
    used = {name: processor[name] - processor_before[name] for name in CHILDREN}
    return Saturation(per_second, answered, counted, len(sample), len(missing), lag, used)


async def _sample(bench: Bench, sample: list[Sampled]) -> None:
    """Some unlocks beside wrk, whose ids are kept, to be looked up in the journal. Until cancelled."""
    async with httpx.AsyncClient(base_url=bench.plan.api_url, timeout=10.0, trust_env=False) as http:
        for asked in bench.asked:
            headers = {"Authorization": f"Bearer {bench.mint.token(asked.person)}"}
            answer = await http.post(f"/v1/doors/{asked.door}/unlock", headers=headers)
            judged = answers.judge_unlock(answer.status_code, answer.content, answers.COMMANDED, asked.door, asked.person)
            if judged.fault is None:  # a wrong answer promises nothing; wrk counts those
                sample.append((judged.id, asked))
            await asyncio.sleep(SAMPLE_PAUSE_SECONDS)


async def _peer(bench: Bench, seconds: int) -> float:
    """Requests a second of the bare server, with the same requests, while the stack is idle beside it."""
    port = free_port("127.0.0.1", set())
    requests = [(f"/v1/doors/{asked.door}/unlock", bench.mint.token(asked.person)) for asked in bench.asked]
    async with Supervisor(bench.running.folder / "logs", lambda notice: None) as supervisor:
        await supervisor.start(bare_spec(port))
        found = await run_wrk(f"http://127.0.0.1:{port}", requests, (202, '"state":"commanded"'), seconds)
    return found.per_second


async def _latency(bench: Bench, rate: float, seconds: float, number: int) -> tuple[list[Answered], Lag]:
    lag, folder = Lag(), bench.running.folder
    order = LatencyOrder(str(bench.plan_file), bench.asked, rate, seconds, WARM_UP_SECONDS, str(folder / f"latency-{number}.result"))
    watching = asyncio.create_task(watch_lag(bench.running.mongo, lag))
    try:
        found = await latency_run(order, folder / f"latency-{number}.order", seconds + WARM_UP_SECONDS + SPARE_SECONDS)
    finally:
        watching.cancel()
    await wait_until_projected(bench.running.mongo, lag)
    return found, lag


def _print_saturation(runs: list[Saturation], peers: list[float]) -> list[str]:
    """Prints; what missed its target, or was wrong."""
    faults: list[str] = []
    for run in runs:
        told, kinds = run.answered, run.counted.kinds
        print(f"saturation: {run.per_second:,.0f} committed/s, wrk saw {told.per_second:,.0f}/s right; {_shares(run)}; {run.lag.text()}")
        cost = ", ".join(f"{name} {used * 1_000 / told.right:.0f}" for name, used in run.processor_ms.items())
        print(f"  processor microseconds for an unlock: {cost}")
        if told.wrong or told.broken:
            faults.append(f"{told.wrong} wrong answers and {told.broken} broken requests, first: {told.first_wrong}")
        if kinds["authorized"] < told.right + run.sampled:
            faults.append(f"{told.right + run.sampled} unlocks were answered as committed, {kinds['authorized']} stand in the journal")
        if run.missing:
            faults.append(f"{run.missing} of {run.sampled} sampled unlocks don't stand in the journal")
    per_second = statistics.median(run.per_second for run in runs)
    bare = statistics.median(peers)
    ratio = statistics.median(run.per_second / peer for run, peer in zip(runs, peers, strict=True))
    print(f"median of {len(runs)}: {per_second:,.0f} committed and commanded unlocks/s (at least {PER_SECOND_MIN:,.0f})")
    print(f"bare RSGI, a fixed JSON: {bare:,.0f} requests/s; an unlock through everything is {ratio:.3f} of it")
    if per_second < PER_SECOND_MIN:
        faults.append(f"{per_second:,.0f} committed unlocks/s, {PER_SECOND_MIN:,.0f} are wanted")
    return faults


def _shares(run: Saturation) -> str:
    """Every granted unlock of these runs was commanded to a connected lock, else its answer was counted as wrong."""
    kinds = run.counted.kinds
    granted = max(kinds["authorized"], 1)
    return (
        f"{kinds['authorized']} in the journal in {run.counted.documents} documents,"
        f" {run.answered.right + run.sampled} answered as commanded, {kinds['unlocked'] / granted:.1%} confirmed by their lock,"
        f" {kinds['unlocked.failed'] / granted:.1%} closed as unconfirmed so far"
    )


def _print_latency(runs: list[tuple[list[Answered], Lag]]) -> list[str]:
    """Prints; what missed its target, or was wrong."""
    printed = [_print_run(run, LATENCY_RATE) for run in runs]
    faults = [fault for _, found in printed for fault in found]
    p99 = statistics.median(p99 for p99, _ in printed)
    print(f"median of {len(runs)}: p99 {p99:.1f} ms at {LATENCY_RATE:,.0f}/s (at most {P99_MS_MAX:g} ms)")
    if p99 > P99_MS_MAX:
        faults.append(f"p99 {p99:.1f} ms at {LATENCY_RATE:,.0f}/s, {P99_MS_MAX:g} ms are wanted")
    return faults


def _print_run(run: tuple[list[Answered], Lag], rate: float) -> tuple[float, list[str]]:
    """Prints; the 99th percentile in ms, and what was answered wrongly."""
    found, lag = run
    whole = figures([answer.milliseconds for answer in found])
    parts = [f"latency at {rate:,.0f}/s: p50 {whole.median:.1f} ms, p99 {whole.p99:.1f} ms of {whole.count}"]
    for kind in ("commanded", "opened"):
        part = figures([answer.milliseconds for answer in found if answer.kind == kind])
        parts.append(f"{kind} p50 {part.median:.1f} p99 {part.p99:.1f}")
    print("; ".join([*parts, lag.text()]))
    wrong = Counter(f"{answer.kind}: {answer.fault}" for answer in found if answer.fault is not None)
    return whole.p99, [f"{count} x {text}" for text, count in wrong.most_common(3)]


def _commands(counts: Counts) -> list[str]:
    looked_at = counts.verified + counts.refused
    print(f"silent locks: {counts.commands} commands arrived; of the {looked_at} looked at, {counts.verified} were signed right")
    return [f"{counts.refused} commands were refused by the verifier"] if counts.refused or not counts.verified else []


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run_child(sys.argv[1], sys.argv[2:])
        sys.exit(0)
    parser = argparse.ArgumentParser(description="Unlocks over HTTP through every process.")
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    sys.exit(uvloop.run(measure(parser.parse_args().quick)))
