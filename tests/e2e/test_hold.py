"""A door whose mode is `unlocked` is held open by its lock, on leases; whatever ends that shuts it before `effective_by`.

The judge is the log of bolts: when each was drawn and when it went out, by this machine's clock. Real locks over a real gateway, two api
processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service._core_rs import DeviceKey
from py_service.journal.event import Event
from py_service.simulators.device_api import DeviceApi
from py_service.simulators.door import Door
from py_service.simulators.moves import read_moves
from tests.e2e.evidence import faults_in_the_books, projected, read_journal, unauthorized_moves
from tests.e2e.manager import Manager, unlocks
from tests.e2e.revoke_ways import HOLIDAYS
from tests.e2e.running import Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR, DEMO = "hafenblick", "nordlicht"
ALWAYS = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
OPENS_MS = 8_000
TOLD_MS = 1_000  # after the change returned: the lock was told to ask
RENEWED_MS = 3_500  # a lease is renewed after 2 s, and the question may wait for the one before it
LEASE_MS = 5_000
ROUNDS = min(40, max(1, int(os.environ.get("REVOKES", "400")) // 1_000))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("hold"), doors=16, operator_organization=OPERATOR) as running:
        yield running
        await settled(running)
        assert await faults_in_the_books(running) == []
        assert await unauthorized_moves(running) == []
        journal = await read_journal(running)
        assert [event for event in journal.events.values() if event["kind"] == "report.unmatched"] == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


@pytest.fixture
def owner(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.demo.cast["owner"].id)


@pytest.fixture
def operator(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.neighbour.cast["owner"].id, OPERATOR)


@dataclass
class Bolt:
    """One door and the log of its bolt."""

    service: Service
    door: str

    @property
    def lock(self) -> str:
        return next(lock.lock for lock in self.service.demo.locks if lock.door == self.door)

    def moves(self) -> list[tuple[str, int]]:
        return [(line.what, line.at_ms) for line in read_moves(self.service.moves_file) if line.lock == self.lock]

    @property
    def is_back(self) -> bool:
        moves = self.moves()
        return bool(moves) and moves[-1][0] != "locked"

    def back_after(self, at_ms: float) -> bool:
        """Whether it was kept back, or drawn, at any time from then on."""
        moves = self.moves()
        before = [what for what, moved in moves if moved <= at_ms]
        return (bool(before) and before[-1] != "locked") or any(what != "locked" for what, moved in moves if moved > at_ms)


async def settled(service: Service) -> None:
    """What the locks said is in the journal, and projected."""
    assert service.fleet is not None
    locks = service.fleet.locks
    await until(lambda: all(len(lock.reports) == 0 for lock in locks), 20)
    await projected(service)


async def at_door(service: Service, door: str) -> list[Event]:
    return [event for _, event in sorted((await read_journal(service)).events.items()) if event.get("door") == door]


async def holds_of(service: Service, door: str) -> list[list[Event]]:
    """`hold.authorized`, `hold.begun` and `hold.failed` of this door."""
    events = await at_door(service, door)
    return [[event for event in events if event["kind"] == f"hold.{what}"] for what in ("authorized", "begun", "failed")]


async def states_of(service: Service, door: str) -> set[str]:
    return {event["detail"]["state"] for event in await at_door(service, door) if event["kind"] == "door.state"}


def ms_of(moment: object) -> float:
    return datetime.fromisoformat(str(moment)).timestamp() * 1_000


@dataclass(frozen=True)
class End:
    """A way to shut a door that stands open: the calls that make it stand open (beside its mode), that shut it, and that undo this."""

    name: str
    shut: tuple[str, str, dict[str, Any] | None]
    undo: tuple[str, str, dict[str, Any] | None]
    before: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    opens: dict[str, Any] = field(default_factory=lambda: {"mode": "unlocked"})


def patch(path: str, **fields: object) -> tuple[str, str, dict[str, Any]]:
    return "PATCH", f"/v1/{path}", fields


OF_DOOR = "doors/{door}"
BY_SCHEDULE = {"mode": "locked", "modes": [{"schedule": "{own}", "mode": "unlocked"}]}
SCHEDULE: tuple[tuple[str, str, dict[str, Any]], ...] = (("POST", "/v1/schedules", {"id": "{own}", "name": "{own}", "windows": ALWAYS}),)
CALENDAR: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/v1/calendars", {"id": "{own}", "name": "{own}", "dates": []}),
    ("POST", "/v1/schedules", {"id": "{own}", "name": "{own}", "windows": ALWAYS, "calendar": "{own}"}),
)
COUNTED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/v1/areas", {"id": "{own}", "name": "{own}", "site": "{site}"}),
    patch(OF_DOOR, enters="{own}"),
)
PLAN: tuple[tuple[str, str, dict[str, Any]], ...] = (("POST", "/v1/lockdown-plans", {"id": "{own}", "name": "{own}", "doors": ["{door}"]}),)
ENDS = [
    End("mode", patch(OF_DOOR, mode="locked"), patch(OF_DOOR, mode="unlocked")),
    End("mode_that_asks", patch(OF_DOOR, mode="card_and_pin"), patch(OF_DOOR, mode="unlocked")),
    End("mode_before_it", patch(OF_DOOR, modes=[{"schedule": "{own}", "mode": "locked"}]), patch(OF_DOOR, modes=[]), SCHEDULE),
    End("modes", patch(OF_DOOR, modes=[]), patch(OF_DOOR, modes=BY_SCHEDULE["modes"]), SCHEDULE, BY_SCHEDULE),
    End("windows", patch("schedules/{own}", windows=[]), patch("schedules/{own}", windows=ALWAYS), SCHEDULE, BY_SCHEDULE),
    End("exception", patch("schedules/{own}", exceptions=[{"date": day, "windows": []} for day in HOLIDAYS]),
        patch("schedules/{own}", exceptions=[]), SCHEDULE, BY_SCHEDULE),
    End("holiday", patch("calendars/{own}", dates=HOLIDAYS), patch("calendars/{own}", dates=[]), CALENDAR, BY_SCHEDULE),
    End("lockdown", ("POST", "/v1/doors/{door}/lockdown", None), ("POST", "/v1/doors/{door}/release", None)),
    End("plan", ("POST", "/v1/lockdown-plans/{own}/engage", None), ("POST", "/v1/lockdown-plans/{own}/release", None), PLAN),
    End("counted", patch("areas/{own}", occupancy_max=5), patch("areas/{own}", occupancy_max=None), COUNTED),
    End("behind", ("POST", "/v1/areas/{own}/lockdown", None), ("POST", "/v1/areas/{own}/release", None), COUNTED),
    End("device", patch("devices/{lock}", active=False), patch("devices/{lock}", active=True)),
    End("no_lock", patch("devices/{lock}", door=None), patch("devices/{lock}", door="{door}")),
]  # fmt: skip
OF_ALL = [
    End("area", ("POST", "/v1/areas/{area}/lockdown", None), ("POST", "/v1/areas/{area}/release", None)),
    End("site", ("POST", "/v1/sites/{site}/lockdown", None), ("POST", "/v1/sites/{site}/release", None)),
]


@dataclass
class Trial:
    """One door, and one way to shut it."""

    owner: Manager
    bolt: Bolt
    end: End
    placed: dict[str, str] = field(default_factory=dict)

    async def open(self) -> None:
        """The door stands open, and its bolt is back."""
        door = await self.owner("GET", f"/v1/doors/{self.bolt.door}", 200)
        self.placed = {
            "door": self.bolt.door, "lock": self.bolt.lock, "site": str(door["site"]), "area": str(door["area"]),
            "own": f"{self.end.name.replace('_', '-')}-{time.time_ns()}",
        }  # fmt: skip
        for call in self.end.before:
            await self.call(*call)
        await self.call(*patch(OF_DOOR, **self.end.opens))
        await until(lambda: self.bolt.is_back, OPENS_MS / 1_000)

    async def shut(self) -> tuple[float, float]:
        """When the call had returned, and its `effective_by`; both ms."""
        answer = await self.call(*self.end.shut)
        return time.time() * 1_000, ms_of(answer["effective_by"])

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        sent = None if body is None else _filled(body, self.placed)
        answer = await self.owner.http.request(method, path.format(**self.placed), json=sent, headers=self.owner.headers)
        assert answer.status_code in (200, 201), f"{method} {path}: {answer.text}"
        return dict(answer.json())

    async def undo(self) -> None:
        await self.call(*self.end.undo)

    async def settle(self) -> None:
        """As it was: locked, with its device, and shut."""
        await self.call(*patch(OF_DOOR, mode="locked", modes=[], enters=None))
        await until(lambda: not self.bolt.is_back, OPENS_MS / 1_000)


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, dict):
        return {name: _filled(inner, names) for name, inner in value.items()}
    return [_filled(inner, names) for inner in value] if isinstance(value, list) else value


def device_api(http: httpx.AsyncClient, bolt: Bolt) -> DeviceApi:
    """As the lock itself would ask."""
    seed = next(lock.seed for lock in bolt.service.demo.locks if lock.lock == bolt.lock)
    return DeviceApi(http, DEMO, bolt.lock, DeviceKey.from_seed(seed))


async def all_back(trials: list[Trial]) -> None:
    with contextlib.suppress(TimeoutError):
        await until(lambda: all(trial.bolt.is_back for trial in trials), OPENS_MS / 1_000)
    assert [trial.end.name for trial in trials if not trial.bolt.is_back] == []


def doors_of(service: Service, count: int) -> list[Bolt]:
    return [Bolt(service, lock.door) for lock in service.demo.locks[:count]]


async def test_an_unlocked_door_is_held_open_and_its_hold_is_in_the_books(
    service: Service, http: httpx.AsyncClient, owner: Manager
) -> None:
    """And beside it one whose bolt is jammed: that is told, and isn't tried all the time."""
    trial, jammed = (Trial(owner, bolt, ENDS[0]) for bolt in doors_of(service, 2))
    assert service.fleet is not None
    stuck = next(lock for lock in service.fleet.locks if lock.identity.door == jammed.bolt.door)
    with jammed_bolt(stuck.door):
        await owner("PATCH", f"/v1/doors/{jammed.bolt.door}", 200, {"mode": "unlocked"})
        await held_beside_a_jammed_one(service, http, owner, trial, jammed)
        await owner("PATCH", f"/v1/doors/{jammed.bolt.door}", 200, {"mode": "locked"})


@contextlib.contextmanager
def jammed_bolt(door: Door) -> Iterator[None]:
    door.jammed = True
    try:
        yield
    finally:
        door.jammed = False


async def held_beside_a_jammed_one(service: Service, http: httpx.AsyncClient, owner: Manager, trial: Trial, jammed: Trial) -> None:
    await trial.open()
    await asyncio.sleep(7)  # longer than a lease lives, and than the bolt stays back for one who asked
    assert [what for what, _ in trial.bolt.moves()] == ["unlocked"] and not jammed.bolt.is_back
    assert await unlocks(service, http, service.demo.cast["owner"].id, trial.bolt.door) == "granted"  # who asks is told as ever
    await trial.shut()
    await until(lambda: not trial.bolt.is_back, 8)
    await settled(service)
    authorized, begun, failed = await holds_of(service, trial.bolt.door)
    assert [len(authorized), len(begun), len(failed)] == [1, 1, 0]
    assert (authorized[0]["lock"], authorized[0]["rule"], authorized[0]["attempt"]) == (
        trial.bolt.lock,
        trial.bolt.door,
        begun[0]["attempt"],
    )
    assert await states_of(service, trial.bolt.door) == {"FREE_ACCESS", "NORMAL"}
    attempt = await http.get(f"/v1/unlocks/{authorized[0]['attempt']}", headers=owner.headers)
    assert attempt.status_code == 404  # nobody asked to pass
    authorized, begun, failed = await holds_of(service, jammed.bolt.door)
    # Once, and once more when it had asked by itself just before it was told to.
    assert len(authorized) in (1, 2) and not begun and 1 <= len(failed) <= len(authorized)
    assert {event["reason"] for event in failed} == {"lock_jammed"}


@pytest.mark.parametrize("told", [True, False], ids=["told", "not-told"])
async def test_whatever_ends_a_hold_shuts_the_door_in_time(service: Service, owner: Manager, told: bool) -> None:
    """All ways at once, each at a door of its own. Not told: the gateway stands still, and locks ask by themselves."""
    trials = [Trial(owner, bolt, end) for bolt, end in zip(doors_of(service, len(ENDS)), ENDS, strict=True)]
    await asyncio.gather(*(trial.open() for trial in trials))
    with paused([] if told else [service.supervisor.pid("gateway")]):
        ends = await asyncio.gather(*(trial.shut() for trial in trials))
        bound_ms = TOLD_MS if told else RENEWED_MS
        await asyncio.sleep(bound_ms / 1_000 + 0.5)
    for trial, (returned_ms, effective_by_ms) in zip(trials, ends, strict=True):
        assert not trial.bolt.back_after(returned_ms + bound_ms), trial.end.name
        assert returned_ms + bound_ms < effective_by_ms
    await asyncio.gather(*(trial.undo() for trial in trials))
    await all_back(trials)
    await asyncio.gather(*(trial.settle() for trial in trials))


@pytest.mark.parametrize("end", OF_ALL, ids=lambda end: end.name)
async def test_a_lockdown_of_an_area_or_a_site_shuts_all_its_doors(service: Service, owner: Manager, end: End) -> None:
    first, *others = [Trial(owner, bolt, end) for bolt in doors_of(service, 16)]
    await asyncio.gather(*(trial.open() for trial in (first, *others)))
    place = "area" if end.name == "area" else "site"
    within = [trial for trial in (first, *others) if trial.placed[place] == first.placed[place]]
    assert len(within) > 1
    returned_ms, _ = await first.shut()
    await asyncio.sleep(TOLD_MS / 1_000 + 0.5)
    assert [trial.bolt.door for trial in within if trial.bolt.back_after(returned_ms + TOLD_MS)] == []
    assert all(trial.bolt.is_back for trial in others if trial not in within)
    await first.undo()
    await all_back(within)
    await asyncio.gather(*(trial.settle() for trial in (first, *others)))


async def test_an_organization_that_is_suspended_holds_no_door(service: Service, owner: Manager, operator: Manager) -> None:
    trials = [Trial(owner, bolt, ENDS[0]) for bolt in doors_of(service, 4)]
    await asyncio.gather(*(trial.open() for trial in trials))
    answer = await operator("POST", f"/v1/operator/organizations/{DEMO}/suspend", 200)
    returned_ms = time.time() * 1_000
    await asyncio.sleep(RENEWED_MS / 1_000 + 0.5)
    assert returned_ms + RENEWED_MS < ms_of(answer["effective_by"])
    assert [trial.bolt.door for trial in trials if trial.bolt.back_after(returned_ms + RENEWED_MS)] == []
    await operator("POST", f"/v1/operator/organizations/{DEMO}/resume", 200)
    assert service.fleet is not None
    await service.fleet.all_ready(30)
    await asyncio.gather(*(trial.settle() for trial in trials))


async def test_a_lease_that_nobody_renews_ends_by_itself(service: Service, owner: Manager) -> None:
    """The api stands still: the lock shuts within the life of its last lease, and opens again when it is back, on another hold."""
    trial = Trial(owner, doors_of(service, 1)[0], ENDS[0])
    await trial.open()
    await asyncio.sleep(1)
    with paused(service.worker_pids()):
        began_ms = time.time() * 1_000
        await asyncio.sleep((LEASE_MS + 1_000) / 1_000)
    shut = [at_ms for what, at_ms in trial.bolt.moves() if what == "locked" and at_ms > began_ms]
    assert shut and shut[0] <= began_ms + LEASE_MS + 500
    await until(lambda: trial.bolt.is_back, 20)
    await trial.settle()


@pytest.mark.histories
async def test_changes_against_renewals_while_processes_stand_still(service: Service, owner: Manager) -> None:
    """Doors are shut by one api process while Redis (so that the other hears nothing), the other one or the gateway stands still.

    No process that answers then renews a lease; and from `effective_by` on no such bolt is back.
    """
    drawn = random.Random(20_261_129)
    trials = [Trial(owner, bolt, ENDS[0]) for bolt in doors_of(service, 8)]
    await asyncio.gather(*(trial.open() for trial in trials))
    shut = 0
    async with service.clients_of_each_worker() as clients:
        for number in range(ROUNDS):
            asked, other = drawn.sample(sorted(clients), 2)
            victim = (service.supervisor.pid("redis"), other, service.supervisor.pid("gateway"))[number % 3]
            manager = Manager(service, clients[asked][0], owner.person)
            chosen = [replace(trial, owner=manager) for trial in drawn.sample(trials, 5)]
            holds = [await device_api(clients[other][0], trial.bolt).hold(None) for trial in chosen]
            assert all(held.hold is not None for held in holds)
            asking = [clients[pid][0] for pid in (asked, other) if pid != victim]
            with paused([victim]):
                await asyncio.sleep(drawn.uniform(0, 1.5))
                ends = [await trial.shut() for trial in chosen]
                for trial, held in zip(chosen, holds, strict=True):
                    told = await asyncio.gather(*(device_api(client, trial.bolt).hold(held.hold) for client in asking))
                    assert [answer.message for answer in told] == [None] * len(asking), trial.bolt.door
                await asyncio.sleep(drawn.uniform(2.5, 4.0))  # a lease of old permissions would outlive `effective_by`
            for trial, (_, effective_by_ms) in zip(chosen, ends, strict=True):
                await asyncio.sleep(max(0.0, effective_by_ms / 1_000 - time.time()))
                assert not trial.bolt.back_after(effective_by_ms), trial.bolt.door
                shut += 1
            await asyncio.gather(*(again(trial) for trial in chosen))
    assert shut == ROUNDS * 5
    await asyncio.gather(*(trial.settle() for trial in trials))


async def again(trial: Trial) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(httpx.HTTPError, AssertionError):
                await trial.undo()
                break
            await asyncio.sleep(0.2)
        await until(lambda: trial.bolt.is_back, 15)


@contextlib.contextmanager
def paused(pids: list[int]) -> Any:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_door_stays_open_while_the_gateway_and_redis_start_anew(service: Service, owner: Manager) -> None:
    """A lease is asked of the api alone: no bolt moves."""
    trials = [Trial(owner, bolt, ENDS[0]) for bolt in doors_of(service, 6)]
    await asyncio.gather(*(trial.open() for trial in trials))
    before = [trial.bolt.moves() for trial in trials]
    for name in ("gateway", "redis"):
        restarts = service.supervisor.restarts(name)
        os.kill(service.supervisor.pid(name), signal.SIGKILL)
        await until(lambda name=name, restarts=restarts: service.supervisor.restarts(name) > restarts)
        await asyncio.sleep(3)
    assert [trial.bolt.moves() for trial in trials] == before
    await asyncio.gather(*(trial.settle() for trial in trials))


async def test_a_device_that_moves_to_another_open_door_begins_a_hold_there(service: Service, owner: Manager) -> None:
    first, second = (Trial(owner, bolt, ENDS[0]) for bolt in doors_of(service, 2))
    await asyncio.gather(first.open(), second.open())
    lock, spare = first.bolt.lock, second.bolt.lock
    await owner("PATCH", f"/v1/devices/{spare}", 200, {"door": None})
    await owner("PATCH", f"/v1/devices/{lock}", 200, {"door": second.bolt.door})
    held = f"hold.authorized {second.bolt.door} {lock}"

    async def begun() -> bool:
        events = (await read_journal(service)).events.values()
        return held in [f"{event['kind']} {event.get('door')} {event.get('lock')}" for event in events]

    await until(begun, OPENS_MS / 1_000)
    await owner("PATCH", f"/v1/devices/{lock}", 200, {"door": first.bolt.door})
    await owner("PATCH", f"/v1/devices/{spare}", 200, {"door": second.bolt.door})
    await asyncio.gather(first.settle(), second.settle())
