"""One unlock over HTTP in a small organization and in a large one: what the size costs, by turns in the same run.

Two whole services run at once; beside their demonstration organization's own persons the large one's has 100,000 more, with their
doors, groups and grants, the small one's 1,000. The same unlocks go to both, by turns. No lock is connected: measured is decision, commit
and command. `--persons 1000000` (`make bench-million`) takes minutes to seed. `--quick` makes the large one smaller.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import AsyncExitStack
from functools import partial

import httpx
import uvloop

from benchmarks.scale_organization import PERSONS_PER_DOOR, ScaleOrganization
from benchmarks.scale_store import seed
from loadtests.stack import RunningStack, running_stack
from loadtests.tokens import TokenMint

SMALL, LARGE, QUICK_LARGE = 1_000, 100_000, 20_000
UNLOCKS, QUICK_UNLOCKS = 1_000, 200
RATIO_MAX = 1.25
UNHEARD = (200, "unlocked.failed")  # granted, committed, commanded; and no lock was there to hear it


class Line:
    """One service and who asks it."""

    def __init__(self, running: RunningStack, http: httpx.AsyncClient) -> None:
        self.cast, self._http = running.cast, http
        self._mint = TokenMint(running.keys, running.cast.organization)
        self.milliseconds: list[float] = []
        self.answers: set[tuple[int, str]] = set()

    async def unlock(self, number: int) -> None:
        person, door = (some[number % len(some)] for some in (self.cast.residents, self.cast.doors))
        headers = {"Authorization": f"Bearer {self._mint.token(person)}"}
        began = time.perf_counter_ns()
        answer = await self._http.post(f"/v1/doors/{door}/unlock", headers=headers)
        self.milliseconds.append((time.perf_counter_ns() - began) / 1e6)
        body = answer.json()
        self.answers.add((answer.status_code, str(body.get("state") or body.get("code"))))


async def measure(quick: bool, large_persons: int) -> int:
    """0 when the large organization's unlocks cost no more."""
    sizes, count = (SMALL, QUICK_LARGE if quick else large_persons), QUICK_UNLOCKS if quick else UNLOCKS
    async with AsyncExitStack() as stack:
        lines: list[Line] = []
        for persons in sizes:
            made = ScaleOrganization(persons, persons // PERSONS_PER_DOOR)
            running = await stack.enter_async_context(running_stack(partial(seed, made=made)))
            http = httpx.AsyncClient(base_url=running.stack.api_url, timeout=10.0, trust_env=False)
            lines.append(Line(running, await stack.enter_async_context(http)))
        for number in range(count + 20):
            for line in lines:
                await line.unlock(number)
    for persons, line in zip(sizes, lines, strict=True):
        del line.milliseconds[:20]  # connections, first pages
        p99 = statistics.quantiles(line.milliseconds, n=100)[98]
        told = f"p50 {statistics.median(line.milliseconds):.2f} ms, p99 {p99:.1f} ms"
        print(f"{persons:>9,} persons more: {told}; answers {sorted(line.answers)}")
    small, large = (statistics.median(line.milliseconds) for line in lines)
    print(f"the large one takes {large / small:.2f} times as long (at most {RATIO_MAX})")
    right = all(line.answers == {UNHEARD} for line in lines)
    return 0 if right and large / small <= RATIO_MAX else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An unlock in a small and in a large organization.")
    parser.add_argument("--quick", action="store_true", help="a smaller large one")
    parser.add_argument("--persons", type=int, default=LARGE, help=f"how many the large one has ({LARGE:,})")
    asked = parser.parse_args()
    sys.exit(uvloop.run(measure(asked.quick, asked.persons)))
