"""A simulated lock's line to the service over faults: gateway and Redis die, the lock itself restarts. And the commands that simulate."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from py_service.demo.seed import DemoAccount
from py_service.simulators.fleet import Fleet, FleetOptions, running_fleet
from py_service.simulators.lock import monotonic_ms
from py_service.simulators.moves import read_moves
from py_service.simulators.phone import Phone, PhoneError, UnlockAnswer
from tests.e2e.running import Service, running_service, until
from tests.e2e.up_process import nexkey

DOOR = "berlin-main-entrance"
RECOVERY_SECONDS = 40.0


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path, locks=False, doors=6) as running:
        yield running


def account(service: Service) -> DemoAccount:
    return service.made.account("owner")


async def opened(phone: Phone) -> UnlockAnswer:
    """The answer once the door opens again; until then 503, `door_unreachable` and lost connections are what a phone gets."""
    answers: list[str] = []

    async def attempt() -> bool:
        try:
            answers.append((answer := await phone.unlock(DOOR, 1)).state)
        except (PhoneError, httpx.HTTPError) as error:
            answers.append(str(error))
            return False
        last[:] = [answer]
        return answer.state == "unlocked"

    last: list[UnlockAnswer] = []
    try:
        await until(attempt, RECOVERY_SECONDS)
    except TimeoutError:
        raise AssertionError(f"never opened again: {answers[-10:]}") from None
    return last[0]


def options(service: Service, state_folder: Path | None = None) -> FleetOptions:
    return FleetOptions(service.url, service.stack.gateway_url, service.demo.id, service.moves_file, state_folder)


async def stored(fleet: Fleet) -> None:
    """Until the service has every report for good."""
    await until(lambda: all(len(lock.reports) == 0 for lock in fleet.locks), 20)


async def test_locks_come_back_after_the_gateway_and_after_redis_were_killed(service: Service) -> None:
    async with running_fleet(service.demo.locks, options(service)) as fleet, service.client() as http:
        await fleet.all_ready(20)
        phone = Phone(http, account(service).email, account(service).password)
        assert (await phone.unlock(DOOR)).state == "unlocked"
        for name in ("gateway", "redis"):
            os.kill(service.supervisor.pid(name), signal.SIGKILL)
            await until(lambda name=name: service.supervisor.restarts(name) == 1)
            answer = await opened(phone)
            assert answer.id in {line.command for line in read_moves(service.moves_file)}
        await stored(fleet)


async def test_a_lock_that_restarts_goes_on_numbering_and_delivers_what_it_owed(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    chosen = [lock for lock in service.demo.locks if lock.door == DOOR]
    async with running_fleet(chosen, options(service, folder)) as fleet:
        await fleet.all_ready(20)
        lock = fleet.locks[0]
        os.kill(service.supervisor.pid("worker"), signal.SIGSTOP)  # who stores reports that nobody waits for
        lock.door.opened(monotonic_ms())
        lock.touch()
        await until(lambda: len(lock.reports) == 1)
        owed = [item.number for item in lock.reports.due(10**15)]
    async with running_fleet(chosen, options(service, folder)) as fleet:
        reports = fleet.locks[0].reports
        assert [item.number for item in reports.due(10**15)] == owed
        assert reports.take_number() > max(owed)
        await fleet.all_ready(20)
        os.kill(service.supervisor.pid("worker"), signal.SIGCONT)
        await stored(fleet)
    await until(lambda: forced_open_events(service), 20)


async def forced_open_events(service: Service) -> bool:
    """Exactly one event tells of the forced door, however often the report was sent."""
    events = await service.database["events"].find({"org": service.demo.id}).to_list()
    told = [event for event in events if event["kind"] == "door.state"]
    assert len(told) <= 1
    return len(told) == 1 and told[0]["detail"]["state"] == "FORCED_OPEN"


async def test_the_commands_that_simulate_open_a_door(service: Service, tmp_path: Path) -> None:
    demo_file = str(service.stack.settings.data_folder / "demo.json")
    moves = tmp_path / "one.jsonl"
    where = ("--demo", demo_file, "--api", service.url)
    gateway = ("--gateway", service.stack.gateway_url, "--moves", str(moves))
    with nexkey("simulate", "lock", *where, *gateway, "--lock", f"lock-{DOOR}") as lock:
        await asyncio.to_thread(lock.line, "1 of 1 locks connected")
        with nexkey("simulate", "phone", *where, DOOR) as phone:
            assert await asyncio.to_thread(phone.wait) == 0, phone.text
            assert f"{DOOR}: unlocked in " in phone.lines[-1]
            assert "committed " in phone.lines[-1]
        assert [line.what for line in read_moves(moves) if line.command is not None] == ["unlocked"]
        with nexkey("simulate", "phone", *where, "--as", "guest", DOOR) as phone:
            assert await asyncio.to_thread(phone.wait) == 1
            assert "authorized.failed (no_grant)" in phone.lines[-1]
        with nexkey("simulate", "phone", *where, "berlin-side-entrance") as phone:
            assert await asyncio.to_thread(phone.wait) == 1
            assert "unlocked.failed (door_unreachable)" in phone.lines[-1]
        assert await asyncio.to_thread(lock.stop, signal.SIGTERM) == 0
        assert sum(line.command is not None for line in read_moves(moves)) == 1
