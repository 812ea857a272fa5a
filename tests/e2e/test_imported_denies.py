"""What an import denies is denied in every process, to whoever asks after anybody was told that the import is over."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio

from tests.e2e.evidence import faults_in_the_books, projected, unauthorized_moves
from tests.e2e.manager import DOOR, Manager, stranger, unlocks
from tests.e2e.running import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

DENIED_AT_ONCE, ROUNDS = 4, 6
ASKS_AFTER = 8


class Asked(NamedTuple):
    began: float
    told: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("denies"), doors=2, strangers=DENIED_AT_ONCE * ROUNDS) as running:
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []
        assert await unauthorized_moves(running) == []


async def keep_asking(service: Service, clients: list[httpx.AsyncClient], person: str, over: asyncio.Event) -> list[Asked]:
    """At one worker after the other, until it has been refused so often since the import was said to be over."""
    asked: list[Asked] = []
    after = 0
    for client in itertools.cycle(clients):
        after += over.is_set()
        began = time.monotonic()
        asked.append(Asked(began, await unlocks(service, client, person)))
        if after >= ASKS_AFTER:
            break
    return asked


async def told_over(service: Service, client: httpx.AsyncClient, path: str, over: asyncio.Event) -> float:
    """When this worker had said so."""
    while True:
        found = (await client.get(path, headers=service.owner())).json()
        if found["ended_at"] is not None:
            assert (found["state"], found["rows_applied"]) == ("ended", DENIED_AT_ONCE), found
            told = time.monotonic()
            over.set()
            return told


async def begun(owner: Manager, denies: str, *, by_parts: bool) -> str:
    """Its path. Part by part it is all or nothing as well."""
    wanted: dict[str, object] = {"kind": "grants", "format": "ndjson", "all_or_nothing": by_parts}
    path = f"/v1/imports/{(await owner('POST', '/v1/imports', 201, wanted if by_parts else wanted | {'text': denies}))['id']}"
    if by_parts:
        await owner("PUT", f"{path}/parts/1", 200, {"text": denies})
        await owner("POST", f"{path}/start", 200)
    return path


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_nobody_is_let_in_on_what_an_import_denies_once_it_is_over(service: Service, number: int) -> None:
    persons = [stranger(number * DENIED_AT_ONCE + place) for place in range(DENIED_AT_ONCE)]
    denies = "".join(json.dumps({"person": person, "door": DOOR, "effect": "deny"}) + "\n" for person in persons)
    async with service.clients_of_each_worker(DENIED_AT_ONCE + 1) as found:
        one, other = [*found.values()][:: (1, -1)[number // 2 % 2]]
        owner = Manager(service, one[-1], service.demo.cast["owner"].id)
        for person in persons:
            await owner("POST", "/v1/grants", 201, {"person": person, "door": DOOR})
        over = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            asking = [
                tasks.create_task(keep_asking(service, [one[place], other[place]], person, over)) for place, person in enumerate(persons)
            ]
            path = await begun(owner, denies, by_parts=number % 2 == 1)
            # The other worker is asked about doors alone, and hears of nothing by that.
            told = await told_over(service, one[-1], path, over)
        asked = [each for task in asking for each in task.result()]
    after = [each.told for each in asked if each.began > told]
    assert set(after) == {"denied_by_rule"} and len(after) >= DENIED_AT_ONCE * (ASKS_AFTER - 1)
    assert {each.told for each in asked} == {"granted", "denied_by_rule"}
