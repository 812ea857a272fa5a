"""Nothing acknowledged is lost: processes are killed about once a second under load, and then everything that was told is in the books.

`CAMPAIGN_KILLS` (12) is how many; `CAMPAIGN_SEED` repeats the choices of one campaign, though not its timing.
What doesn't live here: one fault at a time (test_store_faults.py), revokes in their thousands (test_revoke_races.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from py_service.supervise import supervisor
from py_service.supervise.ready import workers_ready
from tests.e2e.evidence import (
    Journal,
    faults_in_the_books,
    faults_in_the_changes,
    faults_of_outcomes,
    projected,
    read_journal,
    unauthorized_moves,
)
from tests.e2e.running import Service, children_of, random_key, running_service, until

KILLS = int(os.environ.get("CAMPAIGN_KILLS", "12"))
SEED = int(os.environ.get("CAMPAIGN_SEED") or random.randrange(2**32))
TARGETS = ("api worker", "gateway", "worker", "mongo", "redis")
KILL_EVERY_SECONDS = (0.6, 1.4)
UNLOCKERS, CHANGERS, DOORS = 6, 3, 12
REPEAT_SECONDS = 0.2
# A lock knocks again after 10 s, a command lives 5 s and is closed 2 s after that.
QUIET_SECONDS_MAX = 45.0

pytestmark = pytest.mark.timeout(120 + 4 * KILLS)


@dataclass(frozen=True, slots=True)
class ToldAttempt:
    """An unlock that was answered with its id."""

    id: str
    kind: str
    person: str
    door: str


@dataclass(frozen=True, slots=True)
class ToldChange:
    """A change that was answered with 200 or 201."""

    kind: str
    subject: str
    revision: int


@dataclass(slots=True)
class Told:
    """All that clients were told. `stale`: granted to somebody whose grant had been taken before they asked."""

    attempts: list[ToldAttempt] = field(default_factory=list)
    changes: list[ToldChange] = field(default_factory=list)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


class Clients:
    """Persons at doors, and a manager who gives and takes: each goes on until `over`, whatever they are answered."""

    def __init__(self, service: Service, told: Told) -> None:
        self._service = service
        self._told = told
        self._strangers = itertools.count()
        self.over = asyncio.Event()

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], **more: object
    ) -> httpx.Response | None:
        """None when nobody answered."""
        try:
            answer = await client.request(method, path, headers=headers, **more)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            self._told.answers[type(error).__name__] += 1
            return None
        code = answer.json().get("code", "") if answer.status_code >= 400 else ""
        self._told.answers[f"{answer.status_code} {code}".strip()] += 1
        return answer

    async def _unlock(self, client: httpx.AsyncClient, person: str, door: str, **more: str) -> ToldAttempt | None:
        headers = self._service.headers(person) | {name.replace("_", "-"): value for name, value in more.items()}
        answer = await self._ask(client, "POST", f"/v1/doors/{door}/unlock", headers)
        if answer is None or answer.status_code not in (200, 202, 403):
            return None
        kind = "authorized.failed" if answer.status_code == 403 else "authorized"
        attempt = ToldAttempt(answer.json()["id"], kind, person, door)
        self._told.attempts.append(attempt)
        return attempt

    async def walk(self, chance: random.Random) -> None:
        """Asks for one door after the other; now and then with a key, and with that until there is an answer."""
        persons = [self._service.demo.cast["owner"].id, self._service.demo.cast["facility"].id]
        async with self._service.client(connections=2) as client:
            while not self.over.is_set():
                person, door = chance.choice(persons), chance.choice(self._service.demo.doors())
                more = {"Prefer": "wait=1"} if chance.random() < 0.3 else {}
                if chance.random() < 0.5:
                    await self._unlock(client, person, door, **more)
                else:
                    await self._unlock_once(client, person, door, more)
                await asyncio.sleep(chance.uniform(0, 0.03))

    async def _unlock_once(self, client: httpx.AsyncClient, person: str, door: str, more: dict[str, str]) -> None:
        key = random_key()
        while not self.over.is_set():
            attempt = await self._unlock(client, person, door, Idempotency_Key=key, **more)
            if attempt is not None:
                self._told.keys[person, key] = attempt.id
                return
            await asyncio.sleep(REPEAT_SECONDS)

    async def manage(self, door: str, chance: random.Random) -> None:
        """Gives a stranger a grant, and takes it: from then on nothing is granted on it. The door is this manager's to lock down."""
        async with self._service.client(connections=2) as client:
            person = f"stranger-{next(self._strangers)}"
            while not self.over.is_set():
                given = await self._change(client, "POST", "/v1/grants", "grant_given", json={"person": person, "door": door})
                if given is None:
                    person = f"stranger-{next(self._strangers)}"  # they may have a grant that nobody can name
                    await asyncio.sleep(REPEAT_SECONDS)
                    continue
                await self._unlock(client, person, door)
                taken = await self._until_done(client, "DELETE", f"/v1/grants/{given.subject}", "grant_taken")
                attempt = await self._unlock(client, person, door) if taken else None
                if attempt is not None and attempt.kind == "authorized":
                    self._told.stale.append(attempt.id)
                if chance.random() < 0.3 and await self._until_done(client, "POST", f"/v1/doors/{door}/lockdown", "door_locked_down"):
                    await self._until_done(client, "POST", f"/v1/doors/{door}/release", "door_released")
                await asyncio.sleep(chance.uniform(0, 0.1))

    async def _change(self, client: httpx.AsyncClient, method: str, path: str, what: str, **more: object) -> ToldChange | None:
        answer = await self._ask(client, method, path, self._service.owner(), **more)
        if answer is None or answer.status_code not in (200, 201):
            return None
        change = ToldChange(f"management.{what}", answer.json()["id"], answer.json()["revision"])
        self._told.changes.append(change)
        return change

    async def _until_done(self, client: httpx.AsyncClient, method: str, path: str, what: str) -> bool:
        """A 503 on a change means unknown: it is repeated. What had happened already is then told without an event of its own."""
        for number in itertools.count():
            change = await self._change(client, method, path, what)
            if change is not None:
                if number > 0:
                    self._told.changes.remove(change)
                return True
            if self.over.is_set():
                return False
            await asyncio.sleep(REPEAT_SECONDS)
        raise AssertionError


class Killer:
    """SIGKILL, about once a second, to one of each kind before the same kind's turn comes again."""

    def __init__(self, service: Service, chance: random.Random) -> None:
        self._service = service
        self._chance = chance
        self.killed: Counter[str] = Counter()

    def _turns(self) -> Iterator[str]:
        while True:
            yield from self._chance.sample(TARGETS, len(TARGETS))

    async def run(self) -> None:
        for target in itertools.islice(self._turns(), KILLS):
            await asyncio.sleep(self._chance.uniform(*KILL_EVERY_SECONDS))
            pids = self._living(target)
            if pids:
                os.kill(self._chance.choice(pids), signal.SIGKILL)
                self.killed[target] += 1

    def _living(self, target: str) -> list[int]:
        """Nothing is killed that isn't a child of ours, or a child's: a number may have gone to somebody else."""
        ours = children_of(os.getpid())
        pid = self._service.supervisor.pid("api" if target == "api worker" else target)
        if pid not in ours:
            return []
        if target != "api worker":
            return [pid]
        with contextlib.suppress(OSError):
            return children_of(pid)
        return []


async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_LAST_SECONDS", 0.5)  # else a long campaign finds most of them away most of the time
    print(f"\nCAMPAIGN_SEED={SEED}")
    chance = random.Random(SEED)
    told = Told()
    async with running_service(tmp_path, doors=DOORS, strangers=CHANGERS * (8 * KILLS + 20)) as service:
        clients, killer = Clients(service, told), Killer(service, chance)
        jobs = [clients.walk(random.Random(chance.random())) for _ in range(UNLOCKERS)]
        jobs += [clients.manage(door, random.Random(chance.random())) for door in service.demo.doors()[-CHANGERS:]]
        asking = [asyncio.create_task(job) for job in jobs]
        try:
            await killer.run()
        finally:
            clients.over.set()
            await asyncio.gather(*asking)
        print(f"killed {dict(killer.killed)}; answers {dict(told.answers)}; {len(service.moves())} moves")
        await quiet(service)
        journal = await read_journal(service)
        assert await faults_in_the_books(service) == []
        assert await unauthorized_moves(service) == []
        assert await faults_in_the_changes(service) == []
        assert faults_of_outcomes(service, journal) == []
        assert faults_of_the_told(told, journal) == []
        assert told.stale == []
        assert set(killer.killed) == set(TARGETS)
        # It is only worth something when most of it was answered, and some of it was not.
        assert told.answers["202"] + told.answers["200"] > 10 * KILLS and told.answers["201"] > KILLS
        assert not [answer for answer in told.answers if answer.startswith(("401", "404", "5")) and not answer.startswith("503")]


async def quiet(service: Service) -> None:
    """Everything is back, every lock is rid of its reports, every attempt has ended, and the journal is read to its end."""
    assert service.fleet is not None
    fleet = service.fleet
    settings = service.stack.settings
    await until(workers_ready(settings.api_host, settings.api_port, "/readyz", settings.api_workers), QUIET_SECONDS_MAX)
    await fleet.all_ready(QUIET_SECONDS_MAX)
    await until(lambda: not any(len(lock.reports) for lock in fleet.locks), QUIET_SECONDS_MAX)

    async def nothing_open() -> bool:
        await projected(service, QUIET_SECONDS_MAX)
        return await service.database["open_attempts"].count_documents({}) == 0

    await until(nothing_open, QUIET_SECONDS_MAX)


def faults_of_the_told(told: Told, journal: Journal) -> list[str]:
    """What clients were told and the journal doesn't say."""
    faults: list[str] = []
    for attempt in told.attempts:
        event = journal.events.get(attempt.id)
        if event is None or (event["kind"], event["person"], event["door"]) != (attempt.kind, attempt.person, attempt.door):
            faults.append(f"{attempt} is {event}")
    recorded: dict[tuple[str, str], list[str]] = {}
    for name, event in journal.events.items():
        if "key" in event:
            recorded.setdefault((event["person"], event["key"]), []).append(name)
    faults += [f"{key} was decided as {names}" for key, names in recorded.items() if len(names) > 1]
    faults += [f"{key} was told as {name}" for key, name in told.keys.items() if recorded.get(key) != [name]]
    managed = {(event["kind"], event["subject"], int(event["revision"])) for event in journal.events.values() if "subject" in event}
    faults += [
        f"{change} is not in the journal" for change in told.changes if (change.kind, change.subject, change.revision) not in managed
    ]
    return faults
