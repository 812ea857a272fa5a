"""How long it takes to take access back over HTTP, beside what MongoDB alone needs to commit the same documents.

    revoke    DELETE of a grant, answered when nobody is let in on it any more; one after the other
    kinds     the same of what else takes access away: `revoke_kinds.py`
    beside    DELETE of a grant while unlocks come in at a steady rate
    bare      pymongo alone: $inc and read of the revision, the same objects read and written, change record, journal document, commit

Every revoke of the kinds is of somebody who got in just before, and who is refused for it right after its answer; of the grants this is
asked at the end, and that they have ended in the store. A revoke waits for no process to have applied it: the fence makes whoever asks
afterwards wait, so the time of the refusal right after it is printed too. Judged is, kind by kind, the 99th percentile of the revoke
beyond that of the bare transaction, by turns in the same run: what of it isn't the commit. Everything runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import httpx
import uvloop

from benchmarks import revoke_kinds
from benchmarks.revoke_bare import Bare
from benchmarks.revoke_kinds import KINDS, Cases, Kind
from loadtests import answers
from loadtests.stack import RunningStack, running_stack
from loadtests.tokens import TokenMint
from py_service.stores.mongo import Mongo

BEYOND_MS_MAX = 20.0
REVOKES, QUICK_REVOKES = 400, 60
# Of each of the other kinds. What writes 10,000 places takes so long, and access is given again before each, that it has fewer.
OF_A_KIND, QUICK_OF_A_KIND, WIDE, QUICK_WIDE, WARM_UP = 200, 30, 100, 10, 5
UNLOCKS_PER_SECOND = 100
GIVEN_AT_ONCE = 8


BESIDE_UNJUDGED = (
    "  (printed, not judged: revokes and bare commits wait behind the unlocks' own commits, on cores that all of them share, so that the\n"
    "  difference of two such percentiles tells more of the load than of the revoke)"
)


class Revokes:
    """Grants to take, each of a stranger at a door."""

    def __init__(self, running: RunningStack, http: httpx.AsyncClient, mint: TokenMint) -> None:
        self._cast, self._http, self._mint = running.cast, http, mint
        self._given: list[tuple[str, str, str]] = []
        self._taken: list[tuple[str, str, str]] = []

    def _headers(self, person: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._mint.token(person)}"}

    async def give(self, count: int) -> None:
        pairs = itertools.islice(itertools.cycle(zip(self._cast.strangers, itertools.cycle(self._cast.doors), strict=False)), count)
        for some in _in_parts(list(pairs), GIVEN_AT_ONCE):
            self._given += await asyncio.gather(*(self._give(person, door) for person, door in some))

    async def _give(self, person: str, door: str) -> tuple[str, str, str]:
        body = {"person": person, "door": door}
        answer = await self._http.post("/v1/grants", json=body, headers=self._headers(self._cast.manager))
        answer.raise_for_status()
        return str(answer.json()["id"]), person, door

    async def revoke(self) -> None:
        grant = self._given.pop()
        answer = await self._http.delete(f"/v1/grants/{grant[0]}", headers=self._headers(self._cast.manager))
        assert answer.status_code == 200, answer.text
        self._taken.append(grant)

    async def unlock(self, number: int) -> None:
        person, door = (some[number % len(some)] for some in (self._cast.residents, self._cast.doors))
        await self._http.post(f"/v1/doors/{door}/unlock", headers=self._headers(person))

    async def faults(self, mongo: Mongo) -> list[str]:
        """Grants that stand although they were taken, and who still gets in on one."""
        found: list[str] = []
        for grant, person, door in self._taken:
            document = await mongo.database["grants"].find_one({"_id": f"{self._cast.organization}:{grant}"})
            if document is None or document.get("ended_at") is None:
                found.append(f"{grant} stands")
            answer = await self._http.post(f"/v1/doors/{door}/unlock", headers=self._headers(person))
            judged = answers.judge_unlock(answer.status_code, answer.content, answers.refused("no_grant"), door, person)
            if judged.fault is not None:
                found.append(f"{person} at {door}: {judged.fault}")
        return found


def _in_parts(pairs: list[tuple[str, str]], size: int) -> list[list[tuple[str, str]]]:
    return [pairs[first : first + size] for first in range(0, len(pairs), size)]


@asynccontextmanager
async def unlocking(revokes: Revokes) -> AsyncIterator[None]:
    """Unlocks come in while the block runs, whether those before them were answered or not."""

    async def arrive() -> None:
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                group.create_task(revokes.unlock(number))
                await asyncio.sleep(1 / UNLOCKS_PER_SECOND)

    arriving = asyncio.create_task(arrive())
    try:
        yield
    finally:
        arriving.cancel()
        await asyncio.wait([arriving])


async def milliseconds(act: Awaitable[None]) -> float:
    began = time.perf_counter_ns()
    await act
    return (time.perf_counter_ns() - began) / 1e6


async def by_turns(revokes: Revokes, bare: Bare, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each revoke and of each bare transaction."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(count):
        ours.append(await milliseconds(revokes.revoke()))
        theirs.append(await milliseconds(bare.revoke()))
    return ours, theirs


async def of_a_kind(cases: Cases, running: RunningStack, count: int) -> float:
    """The same of another kind, and whether each revoke took effect. Prints; milliseconds of the 99th percentile beyond the bare one."""
    await cases.prepare(count + WARM_UP)
    bare = Bare(running.mongo, running.cast.organization, cases.kind.name, await cases.samples(), ends=cases.kind.ends)
    await bare.prepare(count + WARM_UP)
    ours: list[float] = []
    theirs: list[float] = []
    refusals: list[float] = []
    for number in range(count + WARM_UP):
        await cases.stands(number)
        ours.append(await milliseconds(cases.revoke(number)))
        refusals.append(await milliseconds(cases.is_out(number)))
        theirs.append(await milliseconds(bare.revoke()))
    beyond = told(f"{cases.kind.told}, {count} each", ours[WARM_UP:], theirs[WARM_UP:])
    print(f"  refused right after it: p50 {statistics.median(refusals[WARM_UP:]):.1f} ms (an unlock of its own; printed only)")
    return beyond


def told(name: str, ours: list[float], theirs: list[float]) -> float:
    """Prints; milliseconds of the 99th percentile beyond the bare one."""
    p99, bare_p99 = (statistics.quantiles(found, n=100)[98] for found in (ours, theirs))
    median, bare_median = statistics.median(ours), statistics.median(theirs)
    print(
        f"{name}: revoke p50 {median:.1f} ms, p99 {p99:.1f} ms; bare p50 {bare_median:.1f} ms, p99 {bare_p99:.1f} ms;"
        f" p99 beyond the bare p99 {p99 - bare_p99:.1f} ms, beyond the bare median {p99 - bare_median:.1f} ms"
    )
    return p99 - bare_p99


async def grants_alone_and_beside(revokes: Revokes, running: RunningStack, count: int) -> float:
    """Prints; milliseconds of the 99th percentile beyond the bare one, alone."""
    sample = await running.mongo.database["grants"].find_one({"org": running.cast.organization})
    assert sample is not None
    bare = Bare(running.mongo, running.cast.organization, "grant", [("grant", sample)], ends=True)
    await revokes.give(2 * count + 10)
    await bare.prepare(2 * count + 10)
    await by_turns(revokes, bare, 10)  # connections, first pages
    beyond = told(f"a grant, {count} each", *await by_turns(revokes, bare, count))
    async with unlocking(revokes):
        beside = await by_turns(revokes, bare, count)
    told(f"a grant, beside {UNLOCKS_PER_SECOND} unlocks/s", *beside)
    print(BESIDE_UNJUDGED)
    return beyond


async def measure(quick: bool) -> int:
    """0 when the answers were right and came in time."""
    beyond: dict[str, float] = {}
    more = revoke_kinds.seed
    async with running_stack(more) as running, httpx.AsyncClient(base_url=running.stack.api_url, timeout=10.0, trust_env=False) as http:
        mint = TokenMint(running.keys, running.cast.organization)
        revokes = Revokes(running, http, mint)
        beyond["a grant"] = await grants_alone_and_beside(revokes, running, QUICK_REVOKES if quick else REVOKES)
        faults = await revokes.faults(running.mongo)
        for kind in KINDS:
            cases, count = Cases(kind, running, http, mint), number_of(kind, quick)
            beyond[kind.told] = await of_a_kind(cases, running, count)
            faults += cases.faults
    faults += running.deaths
    faults += [f"{name}: p99 {late:.1f} ms beyond the commit, {BEYOND_MS_MAX:g} ms are wanted" for name, late in late_ones(beyond)]
    if not faults:
        print(f"at most {BEYOND_MS_MAX:g} ms beyond the commit: met by each of {len(beyond)} kinds; nobody got in on what was taken")
    for fault in faults[:5]:
        print(f"MISSED: {fault}")
    return 1 if faults else 0


def number_of(kind: Kind, quick: bool) -> int:
    few, many = (QUICK_WIDE, WIDE) if kind.again else (QUICK_OF_A_KIND, OF_A_KIND)
    return few if quick else many


def late_ones(beyond: dict[str, float]) -> list[tuple[str, float]]:
    """Kinds that took longer than is wanted."""
    return [(name, late) for name, late in beyond.items() if late > BEYOND_MS_MAX]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Access taken back over HTTP, beside the bare commit.")
    parser.add_argument("--quick", action="store_true", help="fewer revokes")
    sys.exit(uvloop.run(measure(parser.parse_args().quick)))
