"""The commit group on the embedded store: how long one transaction of 1 to 256 events takes, beside what pymongo alone needs for the same.

The ceiling is the bare transaction: the fence's find, one insert of a document with as many events, the commit; same server, same run,
in turns. The group's own part is judging, hashing, naming the events and waking whoever waits. Afterwards the log is read back, verified.

What doesn't live here: HTTP, signing, publishing (`unlock_http.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from bson.int64 import Int64

from loadtests.stack import running_stores
from py_service.errors import Problem
from py_service.journal.event import Event, event_id, make_event
from py_service.journal.group import CommitGroup, GroupLimits
from py_service.journal.log import Log
from py_service.journal.verify import verify_log
from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import Document, Mongo, now_ms

ORGANIZATION = "benchmark"
REVISION = 7
SIZES = (1, 8, 32, 128, 256)
ROUNDS, QUICK_ROUNDS = 5, 3
TRANSACTIONS, QUICK_TRANSACTIONS = 40, 10  # of each size in each round
RATIO_MAX = 1.6  # of the bare transaction, at the worst size
STORE_TIMEOUT_MS = 5_000


class Current:
    """Permissions that are always at the store's revision."""

    def revision(self, organization: str) -> int:
        return REVISION

    def doubt(self, organizations: list[str]) -> None:
        raise AssertionError("memory is never ahead here")

    async def catch_up(self, targets: dict[str, int], seconds: float) -> set[str]:
        raise AssertionError("the fence found a revision that nobody wrote")


class Decision:
    """A granted unlock that has been decided: what an attempt is to its group, without a door behind it."""

    organization = ORGANIZATION
    fenced = True
    key_is_clients = False
    body_mark: str | None = None
    judged_revision = REVISION

    def __init__(self, number: int, done: asyncio.Future[str]) -> None:
        self.key: str | None = None
        self.judged_at_ms = now_ms()
        self.waiting_since = time.monotonic()
        self._number = number
        self._done = done

    @property
    def answered(self) -> bool:
        return self._done.done()

    def judge(self, now_ms: int) -> bool:
        self.judged_at_ms = now_ms
        return True

    def event(self, at_ms: int, identifier: str) -> Event:
        return unlock_event(self._number, at_ms, identifier)

    def committed(self, at_ms: int, identifier: str) -> None:
        self._done.set_result(identifier)

    def late(self, identifier: str) -> Event | None:
        self._done.set_exception(AssertionError("a commit took longer than the group allows"))
        return None

    def duplicate(self, journal_document: Document) -> None:
        self._done.set_exception(AssertionError("a key that nobody gave"))

    def failed(self, problem: Problem) -> None:
        self._done.set_exception(problem)


def unlock_event(number: int, at_ms: int, identifier: str) -> Event:
    """As large as a real one."""
    return make_event(
        "authorized", ORGANIZATION, at_ms, attempt=identifier, door=f"door-{number % 40:03d}", person=f"p-{number % 200:04d}",
        lock=f"lock-{number % 40:03d}", reason="granted", rule="g-0001", revision=REVISION, wait=2,
    )  # fmt: skip


class Bare:
    """The same transaction with pymongo alone: begin, fence, insert, commit."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._number = 0

    async def transaction(self, size: int) -> None:
        self._number += 1
        at_ms, identifier = now_ms(), f"bare:{self._number:012d}"
        events = [unlock_event(number, at_ms, event_id("bare", self._number, number)) for number in range(size)]
        document: Document = {"_id": identifier, "at": at_ms, "prev": bytes(32), "events": events, "hash": bytes(32)}
        database = self._mongo.database
        async with self._mongo.session() as session:
            await self._mongo.begin(session)
            await database["revisions"].find({"_id": {"$in": [ORGANIZATION]}}, session=session).to_list()
            await database["bare_journal"].insert_one(document, session=session)
            await session.commit_transaction()


class Grouped:
    """Through the commit group: everything that is submitted before its task runs is one transaction."""

    def __init__(self, group: CommitGroup) -> None:
        self._group = group
        self.events = 0

    async def transaction(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        groups_before = self._group.figures.groups
        futures: list[asyncio.Future[str]] = [loop.create_future() for _ in range(size)]
        for number, future in enumerate(futures):
            self._group.submit(Decision(number, future))
        identifiers = await asyncio.gather(*futures)
        # The answer is checked: one transaction, and as many names as there were events.
        assert self._group.figures.groups == groups_before + 1
        assert len(set(identifiers)) == size
        self.events += size


async def milliseconds(transaction: Callable[[int], Awaitable[None]], size: int, times: int) -> list[float]:
    found: list[float] = []
    for _ in range(times):
        began = time.perf_counter_ns()
        await transaction(size)
        found.append((time.perf_counter_ns() - began) / 1e6)
    return found


async def measure(quick: bool) -> int:
    rounds, times = (QUICK_ROUNDS, QUICK_TRANSACTIONS) if quick else (ROUNDS, TRANSACTIONS)
    async with running_stores([]) as (stack, _, _):
        assert stack.settings.mongo_url is not None
        mongo = Mongo(stack.settings.mongo_url, stack.settings.mongo_database, STORE_TIMEOUT_MS)
        try:
            return await _measure(mongo, rounds, times)
        finally:
            await mongo.close()


async def _measure(mongo: Mongo, rounds: int, times: int) -> int:
    await make_indexes(mongo.database)
    await mongo.database.create_collection("bare_journal")
    await mongo.database["revisions"].insert_one({"_id": ORGANIZATION, "revision": Int64(REVISION)})
    log = await Log.birth(mongo, "unlocks", "benchmark")
    group = CommitGroup(mongo, log, Current(), GroupLimits(), lambda: sys.exit("the log was taken"))
    committer = asyncio.create_task(group.run())
    bare, grouped = Bare(mongo), Grouped(group)
    for transaction in (bare.transaction, grouped.transaction):
        await milliseconds(transaction, 8, 5)  # connections, first pages
    medians: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    for _ in range(rounds):  # in turns, so that a busy moment of the machine meets both
        for size in SIZES:
            theirs = statistics.median(await milliseconds(bare.transaction, size, times))
            ours = statistics.median(await milliseconds(grouped.transaction, size, times))
            medians[size].append((ours, theirs))
    committer.cancel()
    return await _verified(mongo, log, grouped.events) or _print(medians)


async def _verified(mongo: Mongo, log: Log, events: int) -> int:
    """The whole log is read back: chained, unaltered, with every event that was answered. 1 when it isn't."""
    verified = await verify_log(mongo, log.id, log.head.seq)
    print(f"journal: {verified.documents} documents with {verified.events} events, chain {verified.fault or 'whole'}")
    if verified.fault is None and verified.events == events and verified.documents == log.head.seq:
        return 0
    print(f"WRONG: {events} events were answered as committed")
    return 1


def _print(medians: dict[int, list[tuple[float, float]]]) -> int:
    """Medians over the rounds. 1 when the group costs too much beside the bare transaction."""
    worst = 0.0
    for size, rounds in medians.items():
        ours = statistics.median(pair[0] for pair in rounds)
        theirs = statistics.median(pair[1] for pair in rounds)
        ratio = statistics.median(pair[0] / pair[1] for pair in rounds)
        worst = max(worst, ratio)
        print(
            f"{size:>4} events: {ours:>7.2f} ms a transaction, {size / ours * 1_000:>7,.0f} events/s;"
            f" bare pymongo {theirs:>7.2f} ms; {ratio:.2f} of it"
        )
    print(f"worst ratio {worst:.2f} (at most {RATIO_MAX})")
    return 1 if worst > RATIO_MAX else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    sys.exit(uvloop.run(measure(parser.parse_args().quick)))
