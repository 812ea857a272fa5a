"""Revoke means revoked: thousands of revokes against unlocks over two api workers, with Redis killed and workers paused meanwhile.

Access is taken in each of the ways there are: the end of a grant, and for a tenth of the pairs a suspension and a lockdown.
Budget: 3 minutes for 2,000 pairs. `RACE_PAIRS` raises the number (`make races`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.e2e.race_history import History, Moved, Revoke, Unlock, Verdict, judge
from tests.e2e.running import Service, running_service

PAIRS = int(os.environ.get("RACE_PAIRS", "2000"))
LANES = 16
UNLOCKS_AFTER = 2


@dataclass(frozen=True, slots=True)
class Way:
    """One way to take access, and to give it again: paths of the api with the lane's `{person}` and `{door}`.

    `codes`: what somebody hears who has no access because of it. A suspended person's token is refused before anything is decided.
    """

    take: str
    give: str
    codes: frozenset[str]


WAYS = {
    "grant": Way("", "/v1/grants", frozenset({"no_grant"})),  # what is taken is the grant that was given
    "suspend": Way("/v1/persons/{person}/suspend", "/v1/persons/{person}/resume", frozenset({"person_suspended", "token_revoked"})),
    "lockdown": Way("/v1/doors/{door}/lockdown", "/v1/doors/{door}/release", frozenset({"door_locked_down"})),
}

pytestmark = [pytest.mark.races, pytest.mark.timeout(max(300, PAIRS // 5))]


@pytest.mark.parametrize(("way", "pairs"), [("grant", PAIRS), ("suspend", PAIRS // 10), ("lockdown", PAIRS // 10)], ids=list(WAYS))
async def test_no_unlock_is_granted_after_its_revoke_has_returned(tmp_path: Path, way: str, pairs: int) -> None:
    async with running_service(tmp_path, strangers=LANES, doors=LANES) as service:
        await let_in(service, way)
        faults = asyncio.create_task(make_faults(service))
        history = await race(service, way, pairs)
        faults.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await faults
        await asyncio.sleep(7)  # everything that was signed has expired, plus the lock's clock
        verdict = judge(history, moved(service))
    describe(history, verdict, service)
    assert not verdict.stale
    assert not verdict.late_moves
    assert not verdict.unexplained_moves
    # The test is only worth something when the races took place and most of them were decided.
    assert verdict.judged >= pairs
    refused = sum(unlock.outcome == "refused" for unlock in history.unlocks)
    granted = sum(unlock.outcome == "granted" for unlock in history.unlocks)
    assert refused >= pairs
    assert granted >= pairs // 2
    assert len(moved(service)) >= granted // 4


@pytest.mark.parametrize("way", WAYS)
async def test_without_the_fence_the_same_races_find_stale_grants(tmp_path: Path, way: str) -> None:
    """The test of the test: what the fence prevents does happen without it."""
    async with running_service(tmp_path, strangers=LANES, doors=LANES, locks=False, fence=False) as service:
        await let_in(service, way)
        os.kill(service.supervisor.pid("redis"), signal.SIGSTOP)  # no nudges: memory stays as it was
        try:
            history = await race(service, way, 64)
        finally:
            os.kill(service.supervisor.pid("redis"), signal.SIGCONT)
    verdict = judge(history, [])
    assert verdict.stale, f"{verdict.judged} unlocks after a revoke, and none was stale: the races prove nothing"


async def let_in(service: Service, way: str) -> None:
    """Where it isn't the grant that is taken, everybody has one all the time."""
    if way == "grant":
        return
    async with service.client() as owner:
        for lane, door in enumerate(service.demo.doors()[:LANES]):
            assert await give(service, owner, "grant", f"stranger-{lane}", door) is not None


async def race(service: Service, way: str, pairs: int) -> History:
    """Each lane has a person and a door of its own, and gives, unlocks, takes, unlocks again, over and over."""
    history = History()
    numbers = iter(range(pairs))
    doors = service.demo.doors()
    async with service.client() as owner, service.client() as first, service.client() as second:
        lanes = [
            asyncio.create_task(run_lane(service, way, history, numbers, owner, (first, second), f"stranger-{lane}", doors[lane]))
            for lane in range(min(LANES, len(doors)))
        ]
        await asyncio.gather(*lanes)
    return history


async def run_lane(
    service: Service,
    way: str,
    history: History,
    numbers: object,
    owner: httpx.AsyncClient,
    clients: tuple[httpx.AsyncClient, ...],
    person: str,
    door: str,
) -> None:
    for pair in numbers:  # type: ignore[attr-defined]
        taking = await give(service, owner, way, person, door)
        if taking is None:
            continue

        def ask(number: int, pair: int = pair) -> asyncio.Task[None]:
            return asyncio.create_task(unlock(service, history, clients[number % 2], pair, person, door, WAYS[way].codes))

        before = [ask(number) for number in range(2)]
        await asyncio.sleep(random.uniform(0, 0.01))
        await take(service, history, owner, pair, taking, door)
        after = [ask(number) for number in range(UNLOCKS_AFTER)]
        await asyncio.gather(*before, *after)


async def give(service: Service, owner: httpx.AsyncClient, way: str, person: str, door: str) -> tuple[str, str] | None:
    """The method and path that take it away again; None when it isn't known that it was given."""
    body = {"person": person, "door": door} if way == "grant" else None
    try:
        answer = await owner.post(WAYS[way].give.format(person=person, door=door), json=body, headers=service.owner())
    except httpx.HTTPError:
        return None
    if way == "grant":
        return ("DELETE", f"/v1/grants/{answer.json()['id']}") if answer.status_code == 201 else None
    return ("POST", WAYS[way].take.format(person=person, door=door)) if answer.status_code == 200 else None


async def take(service: Service, history: History, owner: httpx.AsyncClient, pair: int, taking: tuple[str, str], door: str) -> None:
    """Repeated until it succeeds: only then does the promise begin."""
    for _ in range(40):
        try:
            answer = await owner.request(*taking, headers=service.owner())
        except httpx.HTTPError:
            continue
        if answer.status_code == 200:
            effective_by = datetime.fromisoformat(answer.json()["effective_by"])
            history.revokes.append(Revoke(pair, door, time.time_ns(), int(effective_by.timestamp() * 1000)))
            return
        await asyncio.sleep(0.1)
    history.revokes.append(Revoke(pair, door, None, 0))


async def unlock(
    service: Service, history: History, client: httpx.AsyncClient, pair: int, person: str, door: str, codes: frozenset[str]
) -> None:
    invoked_ns = time.time_ns()
    outcome, command = "unknown", None
    try:
        answer = await client.post(f"/v1/doors/{door}/unlock", headers=service.headers(person))
        body = answer.json()
        if answer.status_code in (200, 202):
            outcome, command = "granted", body["id"]
        elif answer.status_code in (401, 403):
            assert body["code"] in codes, body
            outcome, command = "refused", body.get("id")
    except httpx.HTTPError:
        pass
    history.unlocks.append(Unlock(pair, door, invoked_ns, outcome, command))


async def make_faults(service: Service) -> None:
    """Redis dies and comes back; an api worker stands still for a while, at any moment of its work, and goes on."""
    while True:
        await asyncio.sleep(random.uniform(2, 4))
        if random.random() < 0.4:
            with contextlib.suppress(ProcessLookupError):
                os.kill(service.supervisor.pid("redis"), signal.SIGKILL)
            continue
        pids = service.worker_pids()
        if not pids:
            continue
        pid = random.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(random.choice((0.3, 0.7, 2.5)))
            finally:
                os.kill(pid, signal.SIGCONT)


def moved(service: Service) -> list[Moved]:
    return [Moved(str(move.command), move.at_ms) for move in service.moves()]


def describe(history: History, verdict: Verdict, service: Service) -> None:
    counts = {name: sum(unlock.outcome == name for unlock in history.unlocks) for name in ("granted", "refused", "unknown")}
    print(f"\n{len(history.revokes)} revokes, unlocks {counts}, {verdict.judged} asked after a revoke, {len(moved(service))} moves")
