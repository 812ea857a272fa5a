"""A store, the worker or the gateway is away, and comes back: what is answered meanwhile, what moves, and when the doors open again.

Faults are SIGSTOP (it takes connections and never answers) and SIGKILL (nobody listens; what the supervisor starts in its place is held
back until a test has seen enough). What doesn't live here: many faults at once (test_nothing_lost.py), lost answers (test_pause.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import httpx
import pytest
import pytest_asyncio

from py_service.journal.keeper import close_dead_logs
from py_service.stores.mongo import Mongo
from py_service.supervise.ready import workers_ready
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected, read_journal, read_projection, unauthorized_moves
from tests.e2e.running import Service, random_key, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR = "berlin-main-entrance"
ANSWERED_SECONDS_MAX = 6.0  # the unlock's own deadline is 5 s
RECOVERED_SECONDS_MAX = 10.0
PROJECTED_SECONDS_MAX = 25.0  # a dead worker's lease lasts 10 s, and everything is read after that
UNCERTAIN = {"stores_unavailable", "outcome_unknown"}
PREPARED_SECONDS_MAX = 20.0
ASKED = 4  # requests under way at a time
CONNECTIONS_TRIED_MAX = 40

Fault = Callable[[Service, str], AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def standing_still(service: Service, name: str) -> AsyncIterator[None]:
    """SIGSTOP as long as the block lasts."""
    pid = service.supervisor.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def killed(service: Service, name: str) -> AsyncIterator[None]:
    """SIGKILL; whoever is started in its place is stopped before it listens, and goes on after the block."""
    pid = service.supervisor.pid(name)
    os.kill(pid, signal.SIGKILL)
    holding = asyncio.create_task(_hold_successor(service, name, pid))
    try:
        yield
    finally:
        os.kill(await holding, signal.SIGCONT)


async def _hold_successor(service: Service, name: str, dead: int) -> int:
    while (pid := service.supervisor.pid(name)) == dead:  # noqa: ASYNC110  the supervisor has no event for it
        await asyncio.sleep(0.002)
    os.kill(pid, signal.SIGSTOP)
    return pid


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("faults"), strangers=4, doors=6) as running:
        running.hook = (await conformance_of(running)).hook
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def phone(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


async def unlock(client: httpx.AsyncClient, headers: dict[str, str], **more: str) -> httpx.Response:
    return await client.post(f"/v1/doors/{DOOR}/unlock", headers=headers | {name.replace("_", "-"): value for name, value in more.items()})


def moves_of(service: Service, command: str) -> int:
    return sum(move.command == command for move in service.moves())


async def opens(service: Service, phone: httpx.AsyncClient) -> bool:
    """Whether the owner gets in now."""
    answer = await unlock(phone, service.owner(), Prefer="wait=1")
    if answer.status_code != 200 or answer.json()["state"] != "unlocked":
        return False
    assert moves_of(service, answer.json()["id"]) == 1
    return True


async def works_again(service: Service, phone: httpx.AsyncClient) -> None:
    """Changes and doors, within the bound. Raises TimeoutError."""
    began = time.monotonic()
    await until(lambda: released(service, phone), RECOVERED_SECONDS_MAX)
    changed = time.monotonic() - began
    await until(lambda: opens(service, phone), RECOVERED_SECONDS_MAX - changed)
    print(f"\nchanges again after {changed:.1f} s, doors open after {time.monotonic() - began:.1f} s")


async def released(service: Service, phone: httpx.AsyncClient) -> bool:
    """Whether a change goes through now; the door is not locked down after it."""
    answer = await phone.post(f"/v1/doors/{DOOR}/release", headers=service.owner())
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200


@dataclass(slots=True)
class Stream:
    """Unlocks of the owner on several connections, each with a key of its own, and changes beside them: what each was told.

    `lost`: keys of the unlocks that nobody answered.
    """

    service: Service
    clients: Sequence[httpx.AsyncClient]
    told: dict[str, httpx.Response] = field(default_factory=dict)
    changes: list[httpx.Response] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def statuses(self) -> set[int]:
        return {answer.status_code for answer in self.told.values()}

    def refused(self) -> dict[str, httpx.Response]:
        """Answered with a 503."""
        return {key: answer for key, answer in self.told.items() if answer.status_code == 503}

    def decided(self) -> None:
        """Whatever was away, this doesn't need it. A busy machine may still be late with a commit, and says so."""
        assert self.statuses() <= {200, 202, 503}, self.statuses()
        assert len(self.refused()) <= len(self.told) // 10, f"{len(self.refused())} of {len(self.told)}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Whatever was asked is answered when the block is over."""
        over = asyncio.Event()
        asking = [asyncio.create_task(self._ask(over, self.clients[number % len(self.clients)])) for number in range(ASKED)]
        asking.append(asyncio.create_task(self._change(over)))
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*asking)

    async def _ask(self, over: asyncio.Event, client: httpx.AsyncClient) -> None:
        while not over.is_set():
            key = random_key()
            try:
                self.told[key] = await unlock(client, self.service.owner(), Idempotency_Key=key)
            except httpx.TransportError:
                self.lost.append(key)
                return

    async def _change(self, over: asyncio.Event) -> None:
        with contextlib.suppress(httpx.TransportError):
            while not over.is_set():
                body = {"person": "stranger-3", "door": DOOR}
                self.changes.append(await self.clients[-1].post("/v1/grants", json=body, headers=self.service.owner()))


def refused_for_now(answer: httpx.Response, codes: set[str] = UNCERTAIN) -> None:
    """503 with a stable code, in time, and it says when to come back."""
    assert answer.status_code == 503 and answer.json()["code"] in codes, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.elapsed.total_seconds() < ANSWERED_SECONDS_MAX


async def nothing_came_of(service: Service, keys: list[str]) -> None:
    """Attempts that were answered with a 503: no bolt moved; a decision that is recorded after all is recorded as not commanded."""

    async def recorded() -> dict[str, list[str]]:
        journal = await read_journal(service)
        return {name: journal.kinds_of(name) for name, event in journal.events.items() if event.get("key") in keys}

    async def accounted_for() -> bool:
        return all(len(kinds) > 1 for kinds in (await recorded()).values())

    await until(accounted_for)
    ended = await recorded()
    assert all(kinds == ["authorized", "not_commanded"] for kinds in ended.values()), ended
    assert not ended.keys() & {str(move.command) for move in service.moves()}


@pytest.mark.parametrize("fault", [standing_still, killed])
async def test_without_mongo_nothing_is_decided_and_no_bolt_moves(service: Service, phone: httpx.AsyncClient, fault: Fault) -> None:
    """Asked in the middle of it, and asked when it is long away: 503 in time, and afterwards everything works again."""
    before = await unlock(phone, service.owner(), Prefer="wait=3")
    assert before.json()["state"] == "unlocked", before.text
    stream = Stream(service, [phone])
    async with fault_in_the_middle(stream, fault, "mongo"):
        await until(lambda: 503 in stream.statuses() and stream.changes[-1].status_code == 503)
        drawn = len(service.moves())
        reads = ["/v1/me", "/v1/me/doors", "/v1/events", f"/v1/attempts/{before.json()['id']}", "/v1/grants/grant-1"]
        asked = [phone.get(path, headers=service.owner()) for path in (*reads, "/readyz")]
        changes = [("/v1/grants", {"person": "stranger-1", "door": DOOR}), (f"/v1/doors/{DOOR}/lockdown", None)]
        asked += [phone.post(path, json=body, headers=service.owner()) for path, body in changes]
        asked += [unlock(phone, service.headers(person), Prefer="wait=2") for person in (service.demo.cast["owner"].id, "stranger-0")]
        answers = await asyncio.gather(*asked)
        for answer in answers:
            refused_for_now(answer)
        assert (await phone.get("/healthz")).status_code == 200
        assert len(service.moves()) == drawn
    await works_again(service, phone)  # the lockdown, which was answered with a 503, may have happened
    assert stream.statuses() <= {200, 202, 503} and {202, 503} <= stream.statuses(), stream.statuses()
    for answer in stream.refused().values():
        refused_for_now(answer)
    await nothing_came_of(service, list(stream.refused()))
    await everything_told_is_recorded(service, stream)


@contextlib.asynccontextmanager
async def fault_in_the_middle(stream: Stream, fault: Fault, name: str) -> AsyncIterator[None]:
    """The process goes while requests are under way, and comes back while more are."""
    async with stream.running():
        await until(lambda: len(stream.told) > 3 * ASKED, PREPARED_SECONDS_MAX)
        async with fault(stream.service, name):
            yield


async def everything_told_is_recorded(service: Service, stream: Stream) -> None:
    journal = await read_journal(service)
    for key, answer in stream.told.items():
        if answer.status_code != 503:
            event = journal.events[answer.json()["id"]]
            assert (event["kind"], event["key"], event["door"]) == ("authorized", key, DOOR)


async def test_without_redis_decisions_stand_and_doors_open_again_when_it_is_back(service: Service, phone: httpx.AsyncClient) -> None:
    stream = Stream(service, [phone])
    async with fault_in_the_middle(stream, killed, "redis"):
        await until(lambda: any(answer.json().get("reason") == "door_unreachable" for answer in stream.told.values()))
        drawn = len(service.moves())
        for headers in ({}, {"Prefer": "wait=3"}):
            answer = await told_unreachable(phone, service.owner(), **headers)
            body = answer.json()
            assert (answer.status_code, body["state"], body["reason"]) == (200, "unlocked.failed", "door_unreachable"), body
            assert [(phase["phase"], phase["ok"]) for phase in body["phases"][-2:]] == [("committed", True), ("commanded", False)]
            assert answer.elapsed.total_seconds() < ANSWERED_SECONDS_MAX
            journal = await read_journal(service)
            assert journal.events[body["id"]]["kind"] == "authorized"
        await refused_on_every_worker(service, "stranger-0")
        given = await phone.post("/v1/grants", json={"person": "stranger-2", "door": DOOR}, headers=service.owner())
        assert given.status_code == 201, given.text
        granted = await asked_of_every_worker(service, "stranger-2")
        for answer in granted:  # no nudge tells the workers, of this or of its end: the fence does
            assert (answer.status_code, answer.json()["reason"]) == (200, "door_unreachable"), answer.text
        taken = await phone.delete(f"/v1/grants/{given.json()['id']}", headers=service.owner())
        assert taken.status_code == 200, taken.text
        await refused_on_every_worker(service, "stranger-2")
        for path in ("/v1/me", "/v1/me/doors", "/v1/events", "/readyz"):
            assert (await phone.get(path, headers=service.owner())).status_code == 200
        assert len(service.moves()) == drawn
    assert service.fleet is not None
    await works_again(service, phone)
    await service.fleet.all_ready(RECOVERED_SECONDS_MAX)
    await refused_on_every_worker(service, "stranger-2")
    stream.decided()
    await everything_told_is_recorded(service, stream)
    await projected(service)
    journal = await read_journal(service)
    assert all(journal.kinds_of(answer.json()["id"]) == ["authorized", "unlocked.failed"] for answer in granted)


async def told_unreachable(client: httpx.AsyncClient, headers: dict[str, str], **more: str) -> httpx.Response:
    """The first answer that isn't `unconfirmed`: what was written to a connection that Redis left a moment ago may have arrived.
    A worker has several connections, and each of them is such a surprise once.
    """
    for _ in range(CONNECTIONS_TRIED_MAX):
        answer = await unlock(client, headers, **more)
        if answer.json().get("state") != "unconfirmed":
            return answer
    raise AssertionError("nobody noticed that Redis is away")


async def asked_of_every_worker(service: Service, person: str) -> list[httpx.Response]:
    async with service.clients_of_each_worker() as workers:
        return list(await asyncio.gather(*(told_unreachable(own[0], service.headers(person)) for own in workers.values())))


async def refused_on_every_worker(service: Service, person: str) -> None:
    """Each worker says no, and its no is in the journal."""
    answers = await asked_of_every_worker(service, person)
    journal = await read_journal(service)
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (403, "no_grant"), answer.text
        event = journal.events[answer.json()["id"]]
        assert (event["kind"], event["reason"], event["person"]) == ("authorized.failed", "no_grant", person)


async def test_without_the_gateway_doors_are_unreachable_and_locks_come_back(service: Service, phone: httpx.AsyncClient) -> None:
    stream = Stream(service, [phone])
    async with fault_in_the_middle(stream, killed, "gateway"):
        assert service.fleet is not None
        fleet = service.fleet
        await until(lambda: fleet.connected == 0)
        answer = await unlock(phone, service.owner(), Prefer="wait=3")
        assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "unlocked.failed", "door_unreachable")
        await refused_on_every_worker(service, "stranger-0")
    await works_again(service, phone)
    await fleet.all_ready(RECOVERED_SECONDS_MAX)
    stream.decided()
    await everything_told_is_recorded(service, stream)


async def test_an_api_worker_that_starts_without_mongo_waits_for_it(service: Service) -> None:
    """It answers 503 until then, and the other one lives on: two failed starts in a row would make Granian end all of them."""
    elder, dying = service.worker_pids()
    answers: list[httpx.Response] = []

    async def asked_the_new_one() -> bool:
        async with service.client() as client:
            answers.append(await client.post(f"/v1/doors/{DOOR}/unlock", headers=service.owner()))
        return "waits for its stores" in answers[-1].json()["detail"]

    async with killed(service, "mongo"):
        os.kill(dying, signal.SIGKILL)
        await until(lambda: dying not in service.worker_pids() and len(service.worker_pids()) == 2, PREPARED_SECONDS_MAX)
        await until(asked_the_new_one, PREPARED_SECONDS_MAX)
    async with service.client() as anew:
        await works_again(service, anew)
    settings = service.stack.settings
    await until(workers_ready(settings.api_host, settings.api_port, "/readyz", settings.api_workers), RECOVERED_SECONDS_MAX)
    async with service.clients_of_each_worker() as workers:
        assert elder in workers and dying not in workers
        assert all([await opens(service, client) for client, *_ in workers.values()])
    for answer in answers:
        refused_for_now(answer)
    assert service.supervisor.restarts("api") == 0


async def test_a_killed_api_worker_holds_nobody_up(service: Service) -> None:
    """It dies in the middle of unlocks and changes. Whoever asked it asks the other one, with the same key; changes go on there at once."""
    async with service.clients_of_each_worker(each=ASKED + 1) as workers:
        # The elder: Granian ends everything when one that it has just started dies again.
        (dying, clients), (_, (other, *_)) = sorted(workers.items())
        stream = Stream(service, clients[: ASKED + 1])
        async with stream.running():
            await until(lambda: len(stream.told) > 3 * ASKED and len(stream.changes) > ASKED, PREPARED_SECONDS_MAX)
            told = len(stream.told)
            os.kill(dying, signal.SIGKILL)
            # Who wasn't waiting for an answer just then connects anew, to the other one.
            await until(lambda: len(stream.lost) + len(stream.told) - told >= ASKED)
        await works_again(service, other)
        repeated = {key: await decided(service, other, key) for key in stream.lost}
        await until(lambda: len(service.worker_pids()) == 2 and dying not in service.worker_pids(), RECOVERED_SECONDS_MAX)
    stream.decided()
    journal = await read_journal(service)
    for key, answer in (stream.told | repeated).items():
        if key in stream.refused():
            continue
        assert [name for name, event in journal.events.items() if event.get("key") == key] == [answer.json()["id"]]


async def decided(service: Service, client: httpx.AsyncClient, key: str) -> httpx.Response:
    """Until what the dead one had begun with this key is out of the way, nobody knows whether it counts."""
    answers: list[httpx.Response] = []

    async def known() -> bool:
        answers.append(await unlock(client, service.owner(), Idempotency_Key=key))
        return answers[-1].status_code in (200, 202)

    await until(known, RECOVERED_SECONDS_MAX)
    for answer in answers[:-1]:
        refused_for_now(answer)
    return answers[-1]


async def test_a_killed_worker_is_replaced_and_every_event_is_projected_once(service: Service, phone: httpx.AsyncClient) -> None:
    await projected(service, PROJECTED_SECONDS_MAX)
    stream = Stream(service, [phone])
    async with stream.running():
        have = len(await read_projection(service))
        await until(lambda: grown(service, have))  # in the middle of its work
        os.kill(service.supervisor.pid("worker"), signal.SIGKILL)
        await until(lambda: service.supervisor.restarts("worker") > 0)
        assert await opens(service, phone)  # nobody waits for it
    stream.decided()
    await projected(service, PROJECTED_SECONDS_MAX)
    assert await faults_in_the_books(service) == []


async def test_a_log_that_was_read_to_its_end_is_not_read_again(service: Service) -> None:
    """Whoever closes a dead log writes its end, and then that it is closed. The projection may read the end in between."""
    logs = service.database["logs"]
    await until(lambda: finished(service), PROJECTED_SECONDS_MAX)
    register = [log | {"state": "open"} for log in await logs.find({"state": "finished"}).to_list()]
    settings = service.stack.settings
    mongo = Mongo(settings.mongo_url or "", settings.mongo_database, settings.store_timeout_ms)
    try:
        await close_dead_logs(mongo, register)
    finally:
        await mongo.close()
    restarts = service.supervisor.restarts("worker")
    os.kill(service.supervisor.pid("worker"), signal.SIGKILL)  # the next one remembers nothing
    await until(lambda: service.supervisor.restarts("worker") > restarts)
    async with service.client() as client:
        await works_again(service, client)
    await projected(service, PROJECTED_SECONDS_MAX)
    assert await faults_in_the_books(service) == []


async def finished(service: Service) -> bool:
    """Whether a log of a dead process was read to its end."""
    return await service.database["logs"].count_documents({"state": "finished"}) > 0


async def grown(service: Service, have: int) -> bool:
    return await service.database["events"].count_documents({}) > have


async def test_after_all_this_the_books_hold(service: Service) -> None:
    assert service.fleet is not None
    locks = service.fleet.locks
    await until(lambda: not any(len(lock.reports) for lock in locks), PROJECTED_SECONDS_MAX)
    await projected(service, PROJECTED_SECONDS_MAX)
    assert await faults_in_the_books(service) == []
    assert await unauthorized_moves(service) == []
