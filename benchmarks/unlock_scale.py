"""One unlock over HTTP in a small organization and in a large one: what the size costs, by turns in the same run.

Two whole services run at once; beside their demonstration organization's own persons the large one's has 100,000 more, with their
doors, groups and grants, the small one's 1,000. Those persons unlock, each of them once, drawn from all of them, each at a door drawn from
all that they may open at any hour: nothing of a person is near because they were asked for before. Unlocks go to both services by turns.
No lock is connected: measured is decision, commit and command. Judged are the medians and the 99th percentiles.
`--persons 1000000` (`make bench-million`) takes minutes to seed. `--quick` makes the large one smaller, and doesn't judge the percentile.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import httpx
import msgspec
import uvloop

from benchmarks.scale_organization import PERSONS_PER_DOOR, ScaleOrganization, named
from benchmarks.scale_store import seed
from loadtests.stack import RunningStack, running_stack
from loadtests.tokens import TokenMint

SMALL, LARGE, QUICK_LARGE = 1_000, 100_000, 20_000
SMALL_GROUPS = 211  # of 2,000 a thousand persons would have five each, and two in three could open nothing
UNLOCKS, QUICK_UNLOCKS, WARM_UP = 900, 200, 20
# Of two organizations of the same size one took 0.95 to 1.01 times as long at the median, 0.95 to 1.26 at p99 (the ninth slowest of 900),
# in three runs on a busy machine.
RATIO_MAX = {"median": 1.25, "p99": 1.5}
SEED = 11

Costs = dict[str, float]
"""The median and the 99th percentile."""


class Answer(msgspec.Struct):
    """An attempt, or the problem that refuses it."""

    person: str = ""
    door: str = ""
    state: str = ""
    code: str = ""


ANSWER = msgspec.json.Decoder(Answer)


class Line:
    """One service, and who unlocks there: `pairs` of a person and a door."""

    def __init__(self, running: RunningStack, http: httpx.AsyncClient, made: ScaleOrganization, count: int) -> None:
        self._http, self._mint = http, TokenMint(running.keys, running.cast.organization)
        self.persons = made.persons
        self.pairs = drawn(made, count)
        self.milliseconds: list[float] = []
        self.faults: list[str] = []

    async def unlock(self, number: int) -> None:
        """Granted, committed, commanded; and no lock was there to hear it."""
        person, door = (named(kind, drawn) for kind, drawn in zip(("person", "door"), self.pairs[number], strict=True))
        headers = {"Authorization": f"Bearer {self._mint.token(person)}"}
        began = time.perf_counter_ns()
        answer = await self._http.post(f"/v1/doors/{door}/unlock", headers=headers)
        self.milliseconds.append((time.perf_counter_ns() - began) / 1e6)
        told = ANSWER.decode(answer.content)
        if (answer.status_code, told.state, told.person, told.door) != (200, "unlocked.failed", person, door):
            self.faults.append(f"{self.persons:,} persons: {person} at {door}: {answer.status_code} {told.code or told.state}")


def made_of(persons: int) -> ScaleOrganization:
    made = ScaleOrganization(persons, persons // PERSONS_PER_DOOR)
    return replace(made, groups=SMALL_GROUPS) if persons == SMALL else made


def drawn(made: ScaleOrganization, count: int) -> list[tuple[int, int]]:
    """So many different persons out of all, each with a door that they may open at any hour."""
    persons = random.Random(SEED).sample(range(made.persons), made.persons)
    pairs = list(itertools.islice(made.allowed_pairs(persons, SEED, now_ms=None), count))
    assert len({person for person, _ in pairs}) == count, f"only {len(pairs)} of {made.persons} persons may open a door"
    return pairs


def told(line: Line) -> Costs:
    """Prints; in milliseconds."""
    measured, pairs = line.milliseconds[WARM_UP:], line.pairs[WARM_UP:]  # without connections and first pages
    median, p99 = statistics.median(measured), statistics.quantiles(measured, n=100)[98]
    whose = f"{len({person for person, _ in pairs}):,} of them unlocked at {len({door for _, door in pairs}):,} doors"
    print(f"{line.persons:>9,} persons more, {whose}: p50 {median:.2f} ms, p99 {p99:.1f} ms; {len(line.faults)} wrong answers")
    return {"median": median, "p99": p99}


def judged(small: Costs, large: Costs, names: Collection[str]) -> list[str]:
    """Prints; what of these costs too much more in the large one."""
    ratios = {name: large[name] / small[name] for name in RATIO_MAX}
    for name, ratio in ratios.items():
        print(f"{name}: the large one takes {ratio:.2f} times as long (at most {RATIO_MAX[name]})")
    return [
        f"{name} {ratios[name]:.2f} times as long, at most {RATIO_MAX[name]} is wanted" for name in names if ratios[name] > RATIO_MAX[name]
    ]


async def measure(quick: bool, large_persons: int) -> int:
    """0 when every answer was right and the large organization's unlocks cost no more."""
    sizes, count = (SMALL, QUICK_LARGE if quick else large_persons), QUICK_UNLOCKS if quick else UNLOCKS
    async with AsyncExitStack() as stack:
        lines: list[Line] = []
        for persons in sizes:
            made = made_of(persons)
            running = await stack.enter_async_context(running_stack(partial(seed, made=made)))
            http = httpx.AsyncClient(base_url=running.stack.api_url, timeout=10.0, trust_env=False)
            lines.append(Line(running, await stack.enter_async_context(http), made, count + WARM_UP))
        for number in range(count + WARM_UP):
            for line in lines if number % 2 else reversed(lines):
                await line.unlock(number)
    faults = [fault for line in lines for fault in line.faults]
    small, large = map(told, lines)
    faults += judged(small, large, ("median",) if quick else ("median", "p99"))
    for fault in faults[:5]:
        print(f"MISSED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An unlock in a small and in a large organization.")
    parser.add_argument("--quick", action="store_true", help="a smaller large one; its p99 is not judged")
    parser.add_argument("--persons", type=int, default=LARGE, help=f"how many the large one has ({LARGE:,})")
    asked = parser.parse_args()
    sys.exit(uvloop.run(measure(asked.quick, asked.persons)))
