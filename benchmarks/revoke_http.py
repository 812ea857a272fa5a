"""How long it takes to take access back over HTTP, beside what MongoDB alone needs to commit the same documents.

    revoke    DELETE of a grant, answered when nobody is let in on it any more; one after the other
    beside    the same while unlocks come in at a steady rate
    bare      pymongo alone: $inc and read of the revision, the grant ended, change record, journal document, commit; by turns with each

Afterwards every grant has ended in the store, and the person of each is refused at its door. Judged is the 99th percentile of the revoke
beyond that of the bare transaction, by turns in the same run: what of it isn't the commit. Everything runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvloop

from loadtests import answers
from loadtests.stack import RunningStack, running_stack
from loadtests.tokens import TokenMint
from py_service.stores.mongo import Document, Mongo, now_ms

BEYOND_MS_MAX = 20.0
REVOKES, QUICK_REVOKES = 400, 60
UNLOCKS_PER_SECOND = 100
GIVEN_AT_ONCE = 8


class Bare:
    """The same documents with pymongo alone, in collections of their own: as large, and as many."""

    def __init__(self, mongo: Mongo, organization: str) -> None:
        self._mongo = mongo
        self._organization = organization
        self._number = 0

    async def prepare(self, count: int) -> None:
        database = self._mongo.database
        await database["bare_revisions"].insert_one({"_id": self._organization, "revision": 0})
        grants = await database["grants"].find({"org": self._organization}).limit(1).to_list()
        await database["bare_grants"].insert_many([{**grants[0], "_id": f"bare:{number:06d}"} for number in range(1, count + 1)])
        for name in ("bare_changes", "bare_journal"):
            await database.create_collection(name)

    async def revoke(self) -> None:
        self._number += 1
        identifier, at_ms, database = f"bare:{self._number:06d}", now_ms(), self._mongo.database
        event = {"id": f"{identifier}:000", "kind": "management.grant_taken", "org": self._organization, "at": at_ms, "actor": "p-0001",
                 "subject": identifier, "person": "p-0002", "door": "berlin-main-entrance", "revision": self._number}  # fmt: skip
        record: Document = {"_id": identifier, "org": self._organization, "revision": self._number, "at": at_ms,
                            "images": [{"kind": "grant", "id": identifier, "document": None}]}  # fmt: skip
        journal: Document = {"_id": identifier, "at": at_ms, "prev": bytes(32), "events": [event], "hash": bytes(32)}
        ended = {"$set": {"ended_at": at_ms, "listed": []}, "$unset": {"by_name": ""}}
        async with self._mongo.session() as session:
            await self._mongo.begin(session)
            mine = {"_id": self._organization}
            await database["bare_revisions"].update_one(mine, {"$inc": {"revision": 1}}, session=session)
            await database["bare_revisions"].find_one(mine, session=session)
            await database["bare_grants"].find_one({"_id": identifier}, session=session)
            await database["bare_grants"].update_one({"_id": identifier}, ended, session=session)
            await database["bare_changes"].insert_one(record, session=session)
            await database["bare_journal"].insert_one(journal, session=session)
            await session.commit_transaction()


class Revokes:
    """Grants to take, each of a stranger at a door."""

    def __init__(self, running: RunningStack, http: httpx.AsyncClient, mint: TokenMint) -> None:
        self._cast, self._http, self._mint = running.cast, http, mint
        self._given: list[tuple[str, str, str]] = []
        self._taken: list[tuple[str, str, str]] = []

    def _headers(self, person: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._mint.token(person)}"}

    async def give(self, count: int) -> None:
        pairs = itertools.islice(itertools.cycle(zip(self._cast.strangers, itertools.cycle(self._cast.doors), strict=False)), count)
        for some in _in_parts(list(pairs), GIVEN_AT_ONCE):
            self._given += await asyncio.gather(*(self._give(person, door) for person, door in some))

    async def _give(self, person: str, door: str) -> tuple[str, str, str]:
        body = {"person": person, "door": door}
        answer = await self._http.post("/v1/grants", json=body, headers=self._headers(self._cast.manager))
        answer.raise_for_status()
        return str(answer.json()["id"]), person, door

    async def revoke(self) -> None:
        grant = self._given.pop()
        answer = await self._http.delete(f"/v1/grants/{grant[0]}", headers=self._headers(self._cast.manager))
        assert answer.status_code == 200, answer.text
        self._taken.append(grant)

    async def unlock(self, number: int) -> None:
        person, door = (some[number % len(some)] for some in (self._cast.residents, self._cast.doors))
        await self._http.post(f"/v1/doors/{door}/unlock", headers=self._headers(person))

    async def faults(self, mongo: Mongo) -> list[str]:
        """Grants that stand although they were taken, and who still gets in on one."""
        found: list[str] = []
        for grant, person, door in self._taken:
            document = await mongo.database["grants"].find_one({"_id": f"{self._cast.organization}:{grant}"})
            if document is None or document.get("ended_at") is None:
                found.append(f"{grant} stands")
            answer = await self._http.post(f"/v1/doors/{door}/unlock", headers=self._headers(person))
            judged = answers.judge_unlock(answer.status_code, answer.content, answers.refused("no_grant"), door, person)
            if judged.fault is not None:
                found.append(f"{person} at {door}: {judged.fault}")
        return found


def _in_parts(pairs: list[tuple[str, str]], size: int) -> list[list[tuple[str, str]]]:
    return [pairs[first : first + size] for first in range(0, len(pairs), size)]


@asynccontextmanager
async def unlocking(revokes: Revokes) -> AsyncIterator[None]:
    """Unlocks come in while the block runs, whether those before them were answered or not."""

    async def arrive() -> None:
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                group.create_task(revokes.unlock(number))
                await asyncio.sleep(1 / UNLOCKS_PER_SECOND)

    arriving = asyncio.create_task(arrive())
    try:
        yield
    finally:
        arriving.cancel()
        await asyncio.wait([arriving])


async def by_turns(revokes: Revokes, bare: Bare, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each revoke and of each bare transaction."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(count):
        for found, act in ((ours, revokes.revoke), (theirs, bare.revoke)):
            began = time.perf_counter_ns()
            await act()
            found.append((time.perf_counter_ns() - began) / 1e6)
    return ours, theirs


def told(name: str, ours: list[float], theirs: list[float]) -> float:
    """Prints; milliseconds of the 99th percentile beyond the bare one."""
    p99, bare_p99 = (statistics.quantiles(found, n=100)[98] for found in (ours, theirs))
    median, bare_median = statistics.median(ours), statistics.median(theirs)
    print(
        f"{name}: revoke p50 {median:.1f} ms, p99 {p99:.1f} ms; bare p50 {bare_median:.1f} ms, p99 {bare_p99:.1f} ms;"
        f" p99 beyond the bare p99 {p99 - bare_p99:.1f} ms, beyond the bare median {p99 - bare_median:.1f} ms"
    )
    return p99 - bare_p99


async def measure(quick: bool) -> int:
    """0 when the answers were right and came in time."""
    count = QUICK_REVOKES if quick else REVOKES
    async with running_stack() as running, httpx.AsyncClient(base_url=running.stack.api_url, timeout=10.0, trust_env=False) as http:
        mint = TokenMint(running.keys, running.cast.organization)
        revokes, bare = Revokes(running, http, mint), Bare(running.mongo, running.cast.organization)
        await revokes.give(2 * count + 10)
        await bare.prepare(2 * count + 10)
        await by_turns(revokes, bare, 10)  # connections, first pages
        beyond = told(f"alone, {count} each", *await by_turns(revokes, bare, count))
        async with unlocking(revokes):
            beside = await by_turns(revokes, bare, count)
        told(f"beside {UNLOCKS_PER_SECOND} unlocks/s", *beside)
        faults = [*await revokes.faults(running.mongo), *running.deaths]
    if beyond > BEYOND_MS_MAX:
        faults.append(f"p99 {beyond:.1f} ms beyond the commit, {BEYOND_MS_MAX:g} ms are wanted")
    if not faults:
        print(f"at most {BEYOND_MS_MAX:g} ms beyond the commit: met; every grant that was taken has ended, and nobody got in on one")
    for fault in faults[:5]:
        print(f"MISSED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Access taken back over HTTP, beside the bare commit.")
    parser.add_argument("--quick", action="store_true", help="fewer revokes")
    sys.exit(uvloop.run(measure(parser.parse_args().quick)))
