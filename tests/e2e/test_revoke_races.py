"""Revoke means revoked: thousands of revokes against unlocks over two api workers, with Redis killed and workers paused meanwhile.

Budget: 3 minutes for 2,000 pairs. `RACE_PAIRS` raises the number (`make races`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.e2e.race_history import History, Moved, Revoke, Unlock, Verdict, judge
from tests.e2e.running import Service, running_service

PAIRS = int(os.environ.get("RACE_PAIRS", "2000"))
LANES = 16
UNLOCKS_AFTER = 2

pytestmark = [pytest.mark.races, pytest.mark.timeout(max(300, PAIRS // 5))]


async def test_no_unlock_is_granted_after_its_revoke_has_returned(tmp_path: Path) -> None:
    async with running_service(tmp_path, strangers=LANES, doors=LANES) as service:
        faults = asyncio.create_task(make_faults(service))
        history = await race(service, PAIRS)
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
    assert verdict.judged >= PAIRS
    refused = sum(unlock.outcome == "refused" for unlock in history.unlocks)
    granted = sum(unlock.outcome == "granted" for unlock in history.unlocks)
    assert refused >= PAIRS
    assert granted >= PAIRS // 2
    assert len(moved(service)) >= granted // 4


async def test_without_the_fence_the_same_races_find_stale_grants(tmp_path: Path) -> None:
    """The test of the test: what the fence prevents does happen without it."""
    async with running_service(tmp_path, strangers=LANES, doors=LANES, locks=False, fence=False) as service:
        os.kill(service.supervisor.pid("redis"), signal.SIGSTOP)  # no nudges: memory stays as it was
        try:
            history = await race(service, 64)
        finally:
            os.kill(service.supervisor.pid("redis"), signal.SIGCONT)
    verdict = judge(history, [])
    assert verdict.stale, f"{verdict.judged} unlocks after a revoke, and none was stale: the races prove nothing"


async def race(service: Service, pairs: int) -> History:
    """Each lane has a person and a door of its own, and gives, unlocks, revokes, unlocks again, over and over."""
    history = History()
    numbers = iter(range(pairs))
    doors = service.demo.doors()
    async with service.client() as owner, service.client() as first, service.client() as second:
        lanes = [
            asyncio.create_task(run_lane(service, history, numbers, owner, (first, second), f"stranger-{lane}", doors[lane]))
            for lane in range(min(LANES, len(doors)))
        ]
        await asyncio.gather(*lanes)
    return history


async def run_lane(
    service: Service,
    history: History,
    numbers: object,
    owner: httpx.AsyncClient,
    clients: tuple[httpx.AsyncClient, ...],
    person: str,
    door: str,
) -> None:
    for pair in numbers:  # type: ignore[attr-defined]
        grant = await give(service, owner, person, door)
        if grant is None:
            continue
        before = [asyncio.create_task(unlock(service, history, clients[n % 2], pair, person, door)) for n in range(2)]
        await asyncio.sleep(random.uniform(0, 0.01))
        await take(service, history, owner, pair, grant, door)
        after = [asyncio.create_task(unlock(service, history, clients[n % 2], pair, person, door)) for n in range(UNLOCKS_AFTER)]
        await asyncio.gather(*before, *after)


async def give(service: Service, owner: httpx.AsyncClient, person: str, door: str) -> str | None:
    try:
        answer = await owner.post("/v1/grants", json={"person": person, "door": door}, headers=service.owner())
    except httpx.HTTPError:
        return None
    return str(answer.json()["id"]) if answer.status_code == 201 else None


async def take(service: Service, history: History, owner: httpx.AsyncClient, pair: int, grant: str, door: str) -> None:
    """Repeated until it succeeds: only then does the promise begin."""
    for _ in range(40):
        try:
            answer = await owner.delete(f"/v1/grants/{grant}", headers=service.owner())
        except httpx.HTTPError:
            continue
        if answer.status_code == 200:
            effective_by = datetime.fromisoformat(answer.json()["effective_by"])
            history.revokes.append(Revoke(pair, door, time.time_ns(), int(effective_by.timestamp() * 1000)))
            return
        await asyncio.sleep(0.1)
    history.revokes.append(Revoke(pair, door, None, 0))


async def unlock(service: Service, history: History, client: httpx.AsyncClient, pair: int, person: str, door: str) -> None:
    invoked_ns = time.time_ns()
    outcome, command = "unknown", None
    try:
        answer = await client.post(f"/v1/doors/{door}/unlock", headers=service.headers(person))
        body = answer.json()
        if answer.status_code in (200, 202):
            outcome, command = "granted", body["id"]
        elif answer.status_code == 403:
            assert body["code"] == "no_grant", body
            outcome, command = "refused", body["id"]
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
