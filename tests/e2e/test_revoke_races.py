"""Revoke means revoked: access is given and taken in 55 ways, against unlocks, while processes die; and the history is judged.

Those are the ways in which the API and the operator take access; tests/boundary/test_revoke_ways.py holds the table against the operations,
and says of the few that are left where they are tried.

16 organizations, two api workers, 24 lanes, eight at once, six asks for each take. `REVOKES` is the number of takes; four unlocks and more
are asked for each of them (some ways take what isn't a door's: a role, a session, a key).
Budget: 1 minute for 400 (part of `make test`), 8 minutes for 5,000 (`make histories`, in CI), 4 hours for 200,000.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from py_service.simulators.fleet import FleetOptions, running_fleet
from py_service.simulators.lock import LockIdentity
from tests.e2e.evidence import Journal, read_journal
from tests.e2e.history import Moved, Operation, way_of
from tests.e2e.history_checker import Verdict, judge
from tests.e2e.nemesis import Fault, faults, hold_commits, kill_api_worker, kill_redis, lose_commits, pause_api_worker, pause_gateway
from tests.e2e.proxy import MongoProxy
from tests.e2e.revoke_ways import ROLES, UNLOCK, WAYS, Way
from tests.e2e.revoke_workload import ASKS_AFTER, ASKS_BEFORE, PROMISE_MS, Races
from tests.e2e.revoke_world import LANES, ORGANIZATIONS, lanes, write
from tests.e2e.running import Service, running_service

REVOKES = int(os.environ.get("REVOKES", "400"))
REVOKES_OF_A_SERVICE = 5_000  # then a fresh one: its history is judged in memory
SERVICES = [min(REVOKES_OF_A_SERVICE, REVOKES - before) for before in range(0, REVOKES, REVOKES_OF_A_SERVICE)]
UNLOCKS_OF_A_REVOKE = 4
HELD_REVOKES = min(1_000, max(120, REVOKES // 5))  # each of them may wait for what stands still
REVOKES_OF_A_FAULT = 1_000  # one of each kind at least
ROUNDS_WITHOUT_FENCE, ROUNDS_MORE_MAX = 3, 32  # of each way, on average
CLOCKS_MS = 100  # by which the two clocks of this machine may part during a run
LAST_COMMANDS_SECONDS = 2
OPERATOR = "hafenblick"  # of the demonstration: nobody races in it

pytestmark = [pytest.mark.histories, pytest.mark.timeout(900)]


@pytest.mark.parametrize("revokes", SERVICES)
async def test_no_ask_is_granted_after_access_was_taken_in_any_way(tmp_path: Path, revokes: int) -> None:
    async with racing(tmp_path) as service:
        kinds: dict[str, Fault] = {
            "redis killed": kill_redis,
            "worker killed": kill_api_worker,
            "worker paused": pause_api_worker,
            "gateway paused": pause_gateway(),
        }
        races, verdict, operations, moves, journal = await raced(service, revokes, kinds, tmp_path)
    assert verdict.holds, summary(verdict)
    # The history is only worth something when the races took place, were decided by more than one process, and moved bolts.
    assert sum(races.takes.values()) >= revokes
    assert_every_way_was_raced(races, revokes)
    takes = [one for one in operations if one.kind == "take" and one.completed_ns is not None]
    # What it promises is as near as decision 0004 says.
    assert all((one.effective_by_ns or 0) - (one.completed_ns or 0) <= (PROMISE_MS + CLOCKS_MS) * 1_000_000 for one in takes)
    if revokes >= REVOKES_OF_A_SERVICE:
        assert {name: len(found) for name, found in races.taken_in.items()} == {way.name: min(lanes_of(way), ORGANIZATIONS) for way in WAYS}
    assert len([operation for operation in operations if operation.kind == "ask"]) >= revokes * (ASKS_BEFORE + ASKS_AFTER)
    opening = {way.name for way in WAYS if way.opens}
    unlocks = [one for one in operations if one.kind == "ask" and one.outcome != "unknown" and way_of(one.cell) in opening]
    assert len(unlocks) >= revokes * UNLOCKS_OF_A_REVOKE
    assert verdict.bound["refused"] >= revokes and verdict.bound["granted"] >= revokes // 10, verdict.bound
    assert len(moves) >= revokes // 4
    # In turn, and not one after the other's death: a process has two logs, and one that was killed is followed by another.
    decided = sorted((journal.events[one.command]["at"], journal.process_of(one.command)) for one in operations if one.command is not None)
    assert (turns := sum(one != other for (_, one), (_, other) in pairwise(decided))) >= revokes // 10, turns
    # A service that promised that no lock moves any more when the take has returned, instead of some seconds later, would be found out.
    early = [msgspec.structs.replace(one, effective_by_ns=one.completed_ns) if one.kind == "take" else one for one in operations]
    assert judge(early, moves).late


async def test_nobody_is_let_in_when_processes_do_not_hear_what_was_committed(tmp_path: Path) -> None:
    """Paused between commit and publish; and changes and decisions whose outcome nobody is told."""
    async with MongoProxy() as mongo, racing(tmp_path, mongo_through=mongo) as service:
        kinds = {
            "unlocks held": hold_commits(mongo, "unlocks-"),
            "settled held": hold_commits(mongo, "settled-"),
            "changes held": hold_commits(mongo, "changes-"),
            "unlocks lost": lose_commits(mongo, "unlocks-"),
            "changes lost": lose_commits(mongo, "changes-"),
        }
        races, verdict, operations, *_ = await raced(service, HELD_REVOKES, kinds, tmp_path)
    assert verdict.holds, summary(verdict)
    assert sum(races.takes.values()) >= HELD_REVOKES
    assert_every_way_was_raced(races, HELD_REVOKES)
    assert verdict.bound["refused"] >= HELD_REVOKES
    unknown = Counter(operation.kind for operation in operations if operation.outcome == "unknown")
    assert unknown["ask"] > 0 and unknown["give"] + unknown["take"] > 0, unknown


def assert_every_way_was_raced(races: Races, revokes: int) -> None:
    assert all(races.takes[way.name] >= max(1, revokes * lanes_of(way) // LANES // len(WAYS) // 4) for way in WAYS), races.takes


def lanes_of(way: Way) -> int:
    """In how many it takes place: what takes a whole organization, in the eight where nobody else races."""
    return sum(lane.alone or not way.alone for lane in lanes())


LEFT_OUT = {
    # The commit group's is the only one before a door.
    "fence": [way for way in WAYS if way.opens],
    # Before what else is asked for: for tokens, roles, API keys, devices. What somebody changes goes through a third, of the lane of
    # changes; without that one no record could follow on another.
    "edge_fence": [way for way in WAYS if not way.opens and way.name != "role-to-change"],
}


TOLD_BY = {"fence": ROLES, "edge_fence": UNLOCK}  # what is held back by the fence that is left


@pytest.mark.parametrize("guard", LEFT_OUT)
async def test_without_a_fence_the_same_races_find_stale_grants_in_every_way(tmp_path: Path, guard: str) -> None:
    """The test of the test: what it prevents does happen without it, when nobody hears of a take."""
    ways = LEFT_OUT[guard]
    left = {way.name for way in ways}
    async with racing(tmp_path, left_out=guard) as service:
        redis = service.supervisor.pid("redis")
        os.kill(redis, signal.SIGSTOP)  # no nudges: memory stays as it was
        races = Races(service, TOLD_BY[guard])
        more = iter(range(len(ways) * ROUNDS_MORE_MAX))

        def missed() -> bool:
            """A race is a race: on a busy machine one way may be met by none of those that were asked for. To judge takes a while."""
            number = next(more, None)
            if number is not None and number % LANES == 0:
                left.difference_update(stale_ways(races))
            return number is not None and bool(left)

        try:
            await races.run(lanes(), ways, len(ways) * ROUNDS_WITHOUT_FENCE, missed)
        finally:
            os.kill(redis, signal.SIGCONT)
    assert not left - stale_ways(races), f"{left} of {races.takes}"


def stale_ways(races: Races) -> set[str]:
    """In which somebody was let in after access was taken."""
    return {way_of(operation.cell) for operation in judge(races.history.operations, []).stale}


@contextlib.asynccontextmanager
async def racing(folder: Path, *, mongo_through: MongoProxy | None = None, left_out: str | None = None) -> AsyncIterator[Service]:
    """The service with the organizations that are raced for, and with all their locks (none without a fence: Redis stands still)."""
    locks: dict[str, list[LockIdentity]] = {}
    for lane in lanes():
        locks.setdefault(lane.organization, []).append(lane.lock)
    async with contextlib.AsyncExitStack() as stack:
        running = running_service(
            folder,
            locks=False,
            persons=12,
            doors=2,
            prepare=write,
            mongo_through=mongo_through,
            sign_ins_per_minute_max=100_000,
            operator_organization=OPERATOR,
            fence=left_out != "fence",
            edge_fence=left_out != "edge_fence",
        )
        service = await stack.enter_async_context(running)
        for organization, identities in locks.items() if left_out is None else ():
            options = FleetOptions(service.stack.api_url, service.stack.gateway_url, organization, service.moves_file)
            fleet = await stack.enter_async_context(running_fleet(identities, options))
            await fleet.all_ready(30)
        yield service


async def raced(
    service: Service, revokes: int, kinds: dict[str, Fault], folder: Path
) -> tuple[Races, Verdict, list[Operation], list[Moved], Journal]:
    """Race, with those faults meanwhile, and judge. The history is kept in `folder` when it doesn't hold."""
    races = Races(service)
    each = max(1, revokes // REVOKES_OF_A_FAULT)
    async with faults(service, kinds, (2.0, 4.0)) as done:

        def goes_on() -> bool:
            """How many unlocks nobody gets an answer to depends on what is killed when: as many revokes more as it needs."""
            return races.unlocks < revokes * UNLOCKS_OF_A_REVOKE or any(done[kind] < each for kind in kinds)

        await races.run(lanes(), WAYS, revokes, goes_on)
    await asyncio.sleep(LAST_COMMANDS_SECONDS)
    journal = await read_journal(service)
    # What holds a door open lets in nobody by name: tests/e2e/test_hold.py judges those.
    held = {(name, event["lock"]) for name, event in journal.events.items() if event["kind"] == "hold.authorized"}
    drawn = [move for move in service.moves() if (str(move.command), move.lock) not in held]
    moves = [Moved(str(move.command), races.history.moment_of(move.at_ms)) for move in drawn]
    operations = races.history.with_journal(journal.events, moves, {way.name: way.refusals for way in WAYS})
    verdict = judge(operations, moves, journal.commanded())
    outcomes = Counter(f"{operation.kind} {operation.decision or operation.outcome}" for operation in operations)
    untold = Counter(f"{operation.kind} {operation.reason}" for operation in operations if operation.outcome == "unknown")
    print(f"\n{dict(races.takes)}\n{dict(outcomes)}, {verdict.bound} could only be so; {len(moves)} moves\n{dict(done)}; {dict(untold)}")
    if not verdict.holds or races.faults:
        races.history.write(folder / "history.jsonl", moves)
        print(f"the history: {folder / 'history.jsonl'}")
    assert not races.faults, f"{len(races.faults)} answers that nothing explains: {races.faults[:3]}"
    return races, verdict, operations, moves, journal


def summary(verdict: Verdict) -> str:
    """Of each breach how many there are, and the first."""
    asks = {"stale": verdict.stale, "withheld": verdict.withheld}
    moves = {"late": verdict.late, "unexplained": verdict.unexplained, "repeated": verdict.repeated}
    found = [f"{len(breaches)} {name}, as {breaches[0]}" for name, breaches in asks.items() if breaches]
    return "; ".join(found + [f"{len(breaches)} {name}, as {breaches[0]}" for name, breaches in moves.items() if breaches])
