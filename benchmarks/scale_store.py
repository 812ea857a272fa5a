"""The generated organization in a real store: how long it takes to hand the documents over, apart from what is made of them."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from benchmarks.scale_organization import KINDS, NOW_MS, ORGANIZATION, PERSONS_PER_DOOR, ScaleOrganization, named
from loadtests.stack import running_stores, store_of
from py_service.permissions import store
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.listing import stored_object
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Mongo

INSERTED_AT_ONCE = 1_000
CHECKED_PAIRS = 5_000
BUS_TIMEOUT_MS = 100


@dataclass(frozen=True, slots=True)
class Handed:
    """`hand_over_seconds` is the store's part: cursor, wire, driver."""

    persons: int
    documents: int
    megabytes: float
    hand_over_seconds: float
    follower_seconds: float


async def hand_over(persons: int) -> Handed:
    """Raises ChildFailed, pymongo errors, AssertionError when what was loaded answers wrongly."""
    made = ScaleOrganization(persons, persons // PERSONS_PER_DOOR)
    async with running_stores([]) as (stack, _, _):
        mongo = store_of(stack)
        try:
            documents = await found(mongo, made)
            began, content = time.perf_counter(), 0
            for kind in KINDS:
                async for batch in store.read_batches(mongo, ORGANIZATION, kind):
                    content += len(batch)
            hand_over_seconds = time.perf_counter() - began
            follower = PermissionFollower(mongo, Bus("redis://none", BUS_TIMEOUT_MS))
            began = time.perf_counter()
            await follower.start()
            follower_seconds = time.perf_counter() - began
            for person, door in made.pairs(CHECKED_PAIRS, seed=3):
                decision = follower.index.check(ORGANIZATION, named("person", person), named("door", door), NOW_MS)
                assert decision.allowed == made.may_pass(person, door), (person, door)
        finally:
            await mongo.close()
    return Handed(persons, documents, content / 1e6, hand_over_seconds, follower_seconds)


async def seed(mongo: Mongo, organization: str, made: ScaleOrganization) -> int:
    """Every object but the organization itself, into a store with its indexes; how many documents were written."""
    await make_indexes(mongo.database)  # before: to build them over what is there takes the embedded store many times as long
    count = 0
    for kind in KINDS:
        bodies = iter(()) if kind == "organization" else made.documents(kind)
        while some := [stored_object(organization, kind, body) for body in itertools.islice(bodies, INSERTED_AT_ONCE)]:
            await mongo.database[OBJECT_COLLECTIONS[kind]].insert_many(some, ordered=False)
            count += len(some)
    return count


async def found(mongo: Mongo, made: ScaleOrganization) -> int:
    """An organization of these objects in an empty store; how many documents were written."""
    count = await seed(mongo, ORGANIZATION, made)
    (own,) = made.documents("organization")
    await mongo.database[OBJECT_COLLECTIONS["organization"]].insert_one(stored_object(ORGANIZATION, "organization", own))
    await mongo.database["revisions"].insert_one({"_id": ORGANIZATION, "revision": 0})
    return count + 1
