"""A process that stands still, or hears nothing, at the worst moment: after the server has committed and before the process knows.

Two proxies see the bytes: one holds or loses the answers to commits, the other the answers to publishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from py_service.stores.mongo import Document
from tests.e2e.evidence import Journal, faults_in_the_books, projected, read_journal, unauthorized_moves
from tests.e2e.proxy import MongoProxy, RedisProxy
from tests.e2e.running import Service, metric, random_key, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR, OTHER_DOOR = "berlin-main-entrance", "new-york-main-entrance"
WORKERS = 3
BUS_TIMEOUT_MS = 10_000  # long enough for a test to act while a publish is held


class Line:
    """The running service with its two proxies."""

    def __init__(self, service: Service, mongo: MongoProxy, redis: RedisProxy) -> None:
        self.service, self.mongo, self.redis = service, mongo, redis

    def moves_of(self, command: str) -> int:
        return sum(move.command == command for move in self.service.moves())

    async def unlock(self, client: httpx.AsyncClient, person: str, door: str = DOOR, **more: str) -> httpx.Response:
        headers = self.service.headers(person) | {name.replace("_", "-"): value for name, value in more.items()}
        return await client.post(f"/v1/doors/{door}/unlock", headers=headers)

    async def opens(self, client: httpx.AsyncClient, door: str = DOOR) -> None:
        """The next unlock is as if nothing had been. The lock does one thing after the other: what was sent to it before is done, too."""
        answer = await self.unlock(client, self.service.demo.cast["owner"].id, door, Prefer="wait=3")
        assert answer.json()["state"] == "unlocked", answer.text
        assert self.moves_of(answer.json()["id"]) == 1

    async def quiet(self) -> None:
        """Nothing is on its way any more that a test did not ask for."""
        await until(self._nothing_waits)
        await projected(self.service)

    async def _nothing_waits(self) -> bool:
        assert self.service.fleet is not None
        return not any(len(lock.reports) for lock in self.service.fleet.locks)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    async with (
        MongoProxy() as mongo,
        RedisProxy() as redis,
        running_service(
            tmp_path_factory.mktemp("pause"),
            strangers=8,
            doors=6,
            absent=1,
            mongo_through=mongo,
            redis_through=redis,
            bus_timeout_ms=BUS_TIMEOUT_MS,
            api_workers=WORKERS,
        ) as service,
    ):
        yield Line(service, mongo, redis)


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def not_commanded(journal: Journal, attempt: str) -> list[Document]:
    return [event for event in journal.of_attempt(attempt) if event["kind"] == "not_commanded"]


async def owes_nothing(line: Line, attempt: str) -> None:
    """The journal says, once, that this grant led to no command."""

    async def said() -> bool:
        return len(not_commanded(await read_journal(line.service), attempt)) > 0

    await until(said)
    assert len(not_commanded(await read_journal(line.service), attempt)) == 1


@pytest.mark.parametrize("pause_seconds", [0.9, 2.6], ids=["late", "unknown"])
async def test_a_worker_that_pauses_between_commit_and_command_opens_nothing(line: Line, pause_seconds: float) -> None:
    """Committed, paused, revoked meanwhile: the answer is a 503, the bolt stays, and the journal says that nothing was commanded."""
    service, person, key = line.service, f"stranger-{int(pause_seconds)}", random_key()
    await line.quiet()
    async with service.clients_of_each_worker() as workers:
        (paused, (client, *_)), (_, (other, *_)), *_ = workers.items()
        given = await other.post("/v1/grants", json={"person": person, "door": DOOR}, headers=service.owner())
        assert given.status_code == 201, given.text
        async with line.mongo.holding("unlocks-") as held:
            asked = asyncio.create_task(line.unlock(client, person, Idempotency_Key=key))
            await asyncio.wait_for(held.caught.wait(), 5)
            with standing_still(paused):
                revoked = await other.delete(f"/v1/grants/{given.json()['id']}", headers=service.owner())
                assert revoked.status_code == 200, revoked.text
                await asyncio.sleep(pause_seconds)
                held.release()
        answer = await asked
        assert answer.status_code == 503 and answer.json()["code"] in ("stores_unavailable", "outcome_unknown"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        attempt = f"{held.documents[0]}:000"
        assert (await read_journal(service)).events[attempt]["kind"] == "authorized"
        await line.opens(client)  # the same process goes on
        await owes_nothing(line, attempt)
        await projected(service)
        # Whoever asks again with the same key hears how it ended, and commands nothing.
        repeat = await line.unlock(client, person, Idempotency_Key=key)
    assert (repeat.status_code, repeat.json()["id"]) == (200, attempt), repeat.text
    assert (repeat.json()["state"], repeat.json()["reason"]) == ("unlocked.failed", "stores_unavailable")
    assert line.moves_of(attempt) == 0


async def test_a_lost_answer_to_the_commit_is_asked_for_again(line: Line) -> None:
    """The connection breaks after the server has committed: the commit is sent again, and the door opens once."""
    service = line.service
    await line.quiet()
    async with service.clients_of_each_worker() as workers:
        client = next(iter(workers.values()))[0]
        async with line.mongo.holding("unlocks-") as held:
            asked = asyncio.create_task(line.unlock(client, service.demo.cast["owner"].id, Prefer="wait=3"))
            await asyncio.wait_for(held.caught.wait(), 5)
            held.lose(1)
        answer = await asked
        assert (answer.status_code, answer.json()["state"]) == (200, "unlocked"), answer.text
        attempt = f"{held.documents[0]}:000"
        assert (answer.json()["id"], line.moves_of(attempt)) == (attempt, 1)
        await line.opens(client)
    await projected(service)
    assert await faults_in_the_books(service) == []


async def test_commits_that_stay_unknown_open_nothing_and_are_accounted_for_once(line: Line) -> None:
    """Every answer to a commit is lost for some seconds. What was asked meanwhile gets a 503; afterwards the log goes on where it stood."""
    service = line.service
    await line.quiet()
    before = set((await read_journal(service)).events)
    async with service.clients_of_each_worker(each=3) as workers:
        clients = next(iter(workers.values()))[:3]
        owner = service.demo.cast["owner"].id
        async with line.mongo.holding("unlocks-") as held:
            held.lose()
            began = time.monotonic()
            answers: list[httpx.Response] = []
            while time.monotonic() - began < 7:
                answers += await asyncio.gather(*(line.unlock(client, owner, OTHER_DOOR) for client in clients))
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["code"] for answer in answers} <= {"outcome_unknown", "stores_unavailable"}
        assert "outcome_unknown" in {answer.json()["code"] for answer in answers}
        assert max(answer.elapsed.total_seconds() for answer in answers) < 6
        await line.opens(clients[0])

        async def accounted_for() -> bool:
            journal = await read_journal(service)
            granted = [name for name, event in journal.events.items() if name not in before and event["kind"] == "authorized"]
            silent = [name for name in granted if journal.events[name]["door"] == OTHER_DOOR]
            return bool(silent) and all(len(not_commanded(journal, name)) == 1 for name in silent)

        await until(accounted_for, 5)
    journal = await read_journal(service)
    late = [event["attempt"] for event in journal.events.values() if event["kind"] == "not_commanded"]
    assert len(late) == len(set(late))
    for attempt in late:
        event = journal.events[attempt]
        said = not_commanded(journal, attempt)[0]
        assert (event["kind"], event["door"], event["person"]) == ("authorized", said["door"], said["person"])
        assert line.moves_of(attempt) == 0
    await projected(service)
    assert await faults_in_the_books(service) == []


async def test_a_command_is_not_signed_when_the_process_paused_before_it(line: Line) -> None:
    """Committed in time, then two seconds of standing still: the process stays silent, although the command would still be valid."""
    service, owner = line.service, line.service.demo.cast["owner"].id
    await line.quiet()
    absent = service.demo.locks[-1].door
    async with service.clients_of_each_worker(each=3) as workers:
        paused, (first, second, third, *_) = next(iter(workers.items()))

        async def knows(attempts: int) -> bool:
            return await metric(third, "nexkey_attempts_waiting") == attempts

        await until(lambda: knows(0))  # one of an earlier test would be forgotten meanwhile
        line.redis.hold_publishes()
        try:
            busy = asyncio.create_task(line.unlock(first, owner, absent))
            await until(lambda: knows(1))
            await asyncio.wait_for(line.redis.held.wait(), 5)
            async with line.mongo.holding("unlocks-") as held:
                asked = asyncio.create_task(line.unlock(second, owner, OTHER_DOOR))
                await asyncio.wait_for(held.caught.wait(), 5)
            await until(lambda: knows(2))  # it is committed; the process's one publisher still waits for Redis
            with standing_still(paused):
                await asyncio.sleep(2.2)
        finally:
            line.redis.release_publishes()
        answer = await asked
        await busy
        body = answer.json()
        assert (answer.status_code, body["state"], body["reason"]) == (200, "unlocked.failed", "command_expired"), body
        assert body["id"] == f"{held.documents[0]}:000"
        await line.opens(second, OTHER_DOOR)
    assert line.moves_of(body["id"]) == 0
    await projected(service)
    assert (await read_journal(service)).kinds_of(body["id"]) == ["authorized", "unlocked.failed"]


async def test_workers_that_were_declared_dead_leave_and_are_replaced(line: Line) -> None:
    """Two stand still until their logs are closed, one of them inside a transaction. Each finds its log taken, and ends itself."""
    service, owner = line.service, line.service.demo.cast["owner"].id
    worker = service.supervisor.pid("worker")
    await line.quiet()
    async with service.clients_of_each_worker() as workers:
        (idle, (first, *_)), (busy, (second, *_)), (_, (third, *_)) = workers.items()
        logs = {log["_id"]: log for log in await service.database["logs"].find({"state": "open"}).to_list()}
        idles = {name for name, log in logs.items() if log["process"].startswith(f"api-{idle}-")}
        dead = idles | {name for name, log in logs.items() if log["process"].startswith(f"api-{busy}-") and log["lane"] != "unlocks"}
        assert len(dead) == 5  # of three lanes each, but the one that is inside its transaction
        second.timeout = 60
        async with line.mongo.holding("unlocks-", before=True) as held:
            asked = asyncio.create_task(line.unlock(second, owner, OTHER_DOOR))
            await asyncio.wait_for(held.caught.wait(), 5)
            with standing_still(idle), standing_still(busy):
                line.mongo.hold_no_more()  # what is held stays held
                await until(lambda: closed(service, dead), 30)
                await line.opens(third)  # nobody else is disturbed
                await projected(service)
                # The log inside the transaction is tried again and again; the worker lives on all the same.
                seen_at = time.time_ns() // 1_000_000
                await until(lambda: beats_of(service, worker, seen_at + 4_000), 30)
        answer = await asked
        assert answer.status_code == 503, answer.text
        for client, pid, path in ((first, idle, f"/v1/doors/{DOOR}/unlock"), (second, busy, f"/v1/doors/{DOOR}/release")):
            with contextlib.suppress(httpx.HTTPError):  # it may be gone before it has answered
                answer = await client.post(path, headers=service.owner())
                while answer.status_code == 503 and answer.json()["code"] == "stores_unavailable":  # it stood still: its reads timed out
                    answer = await client.post(path, headers=service.owner())
                if answer.status_code == 200:  # gone already: the client's new connection is another process's
                    assert pid not in service.worker_pids(), answer.text
                    continue
                assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown"), answer.text
        await until(lambda: not {idle, busy} & set(service.worker_pids()) and len(service.worker_pids()) == WORKERS, 20)
    journal = await read_journal(service)
    for log in dead:
        own_documents = sorted(name for name in journal.documents if name.startswith(f"{log}:"))
        assert [name for name in own_documents if journal.documents[name].get("closed")] == own_documents[-1:], log
        assert journal.documents[own_documents[-1]]["events"] == []
    assert line.moves_of(f"{held.documents[0]}:000") == 0
    assert service.supervisor.pid("worker") == worker
    async with service.clients_of_each_worker() as workers:
        for client, *_ in workers.values():
            await line.opens(client)


async def beats_of(service: Service, worker: int, after_ms: int) -> bool:
    """Whether the one open log of a worker is this process's, and said later than `after_ms` that it lives."""
    own = await service.database["logs"].find({"lane": "worker", "state": "open"}).to_list()
    assert [log["process"].split("-")[1] for log in own] == [str(worker)]
    return bool(own[0]["alive_at"] > after_ms)


async def closed(service: Service, logs: set[str]) -> bool:
    found = await service.database["logs"].find({"_id": {"$in": sorted(logs)}}).to_list()
    return all(log["state"] in ("closed", "finished") for log in found)


async def test_after_all_this_the_books_hold(line: Line) -> None:
    await line.quiet()
    assert await faults_in_the_books(line.service) == []
    assert await unauthorized_moves(line.service) == []
