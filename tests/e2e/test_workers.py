"""Several workers: one works, the others wait for its lease. The one that works stands still, then another is killed, under load.

The worker that `nexkey up` would restart is the one that stands still; those that are killed are started here and stay dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx

from py_service.stores.lease import LEASE_MS
from py_service.stores.mongo import Document, now_ms
from py_service.supervise.child import Child, start_child
from py_service.supervise.stack import service_specs
from tests.e2e.evidence import faults_in_the_books, projected, read_journal, read_projection, unauthorized_moves
from tests.e2e.running import Service, running_service, until

TAKE_OVER_SECONDS_MAX = LEASE_MS / 1_000 + 5  # the lease's end, the next look at it, and a machine that is busy
PHONES = 4


async def test_a_waiting_worker_takes_over_and_every_event_is_projected_once(tmp_path: Path) -> None:
    async with running_service(tmp_path, doors=8) as service, more_workers(service, 2) as waiting, phones(service) as answered:
        first = service.supervisor.pid("worker")
        assert await leader(service) == first
        await projects(service, answered)
        assert not any(said(worker, "worker_leads") for worker in waiting), "they wait"

        os.kill(first, signal.SIGSTOP)
        second = await taken_over(service, first)
        assert second in {worker.pid for worker in waiting}
        await projects(service, answered)

        os.kill(second, signal.SIGKILL)
        third = await taken_over(service, second, gone=True)
        assert {second, third} == {worker.pid for worker in waiting}
        await projects(service, answered)

        os.kill(first, signal.SIGCONT)  # it believes that it leads, and can't write any more
        await goes_on(service, first)
        await projects(service, answered)
        assert await leader(service) == third

        answered.stopped.set()
        await projected(service, 30)
        journal, projection = await read_journal(service), await read_projection(service)
        assert len(answered.attempts) > 50
        assert answered.attempts <= journal.events.keys()
        assert answered.attempts <= {str(event["id"]) for event in projection}
        assert await faults_in_the_books(service) == []
        assert await unauthorized_moves(service) == []


class Answered:
    """What the phones were told was decided, by id."""

    def __init__(self) -> None:
        self.attempts: set[str] = set()
        self.stopped = asyncio.Event()


@contextlib.asynccontextmanager
async def phones(service: Service) -> AsyncIterator[Answered]:
    """A few phones that ask one door after the other until they are stopped."""
    answered = Answered()

    async def ask(client: httpx.AsyncClient, chance: random.Random) -> None:
        owner = service.demo.cast["owner"].id
        while not answered.stopped.is_set():
            answer = await client.post(f"/v1/doors/{chance.choice(service.demo.doors())}/unlock", headers=service.headers(owner))
            assert answer.status_code in (200, 202, 503), answer.text
            if answer.status_code != 503:
                answered.attempts.add(answer.json()["id"])
            await asyncio.sleep(0.2)

    async with service.client() as client:
        asking = [asyncio.create_task(ask(client, random.Random(number))) for number in range(PHONES)]
        try:
            yield answered
        finally:
            answered.stopped.set()
            await asyncio.gather(*asking)


@contextlib.asynccontextmanager
async def more_workers(service: Service, count: int) -> AsyncIterator[list[Child]]:
    """Started once and not watched: one that is killed stays dead."""
    *_, spec = service_specs(service.stack.settings)
    logs = service.stack.settings.data_folder / "logs"
    started = [await start_child(replace(spec, name=f"worker-{number}"), logs) for number in range(2, count + 2)]
    try:
        for worker in started:
            await until(partial(said, worker, "worker_started"), 20)
        yield started
    finally:
        for worker in started:
            await worker.stop()


def said(worker: Child, what: str) -> bool:
    return what in "\n".join(worker.last_lines())


async def lease(service: Service) -> Document:
    found = await service.database["leases"].find_one({"_id": "worker"})
    assert found is not None
    return found


async def leader(service: Service) -> int:
    """The process that holds the lease."""
    return int(str((await lease(service))["holder"]).split("-")[1])


async def taken_over(service: Service, before: int, *, gone: bool = False) -> int:
    """The process that holds the lease after `before`. From one that isn't `gone` it is taken only when it has ended."""
    last = await lease(service)

    async def another() -> bool:
        nonlocal last
        found = await lease(service)
        if int(str(found["holder"]).split("-")[1]) != before:
            assert found["token"] == last["token"] + 1
            assert gone or found["until"] - LEASE_MS >= last["until"], "it was taken before it had ended"
            return True
        last = found
        return False

    await until(another, TAKE_OVER_SECONDS_MAX)
    return await leader(service)


async def projects(service: Service, answered: Answered) -> None:
    """Whoever leads projects what is decided from now on."""
    before = set(answered.attempts)

    async def some() -> bool:
        fresh = answered.attempts - before
        return len(fresh) >= 5 and fresh <= {str(event["id"]) for event in await read_projection(service)}

    await until(some, 20)


async def goes_on(service: Service, pid: int) -> None:
    """A worker that stood still has looked at the lease again, and says that it lives."""
    thawed_ms = now_ms()

    async def alive() -> bool:
        logs = await service.database["logs"].find({"lane": "worker"}).to_list()
        return any(log["process"].startswith(f"worker-{pid}-") and log["alive_at"] > thawed_ms + 1_500 for log in logs)

    await until(alive, 15)
