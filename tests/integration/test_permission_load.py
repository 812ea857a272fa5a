"""A process takes an organization into memory out of a real store: every batch of it, nothing that has ended, nothing of a neighbour."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pymongo.errors import AutoReconnect

from benchmarks.scale_organization import KINDS, NOW_MS, ORGANIZATION, ScaleOrganization, named
from py_service.permissions import follower as follower_module
from py_service.permissions import store
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.listing import stored_object
from py_service.settings import Settings
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.stack import plan_stack, start_stores
from py_service.supervise.supervisor import Supervisor
from tests.e2e.proxy import CHUNK_BYTES, Line, TcpProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

MADE = ScaleOrganization(persons=300, doors=60, groups=30, sites=3)
LARGE_BYTES, SLOW_SECONDS = 8_192, 0.4
PAIRS = list(itertools.product(range(0, 300, 7), range(60)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongo]:
    folder = DataFolder.open(tmp_path_factory.mktemp("load") / "data")
    stack = plan_stack(Settings(redis_url="redis://none", api_port=0, gateway_port=0), folder)
    async with Supervisor(folder.logs, lambda _: None) as supervisor:
        await start_stores(stack, supervisor)
        mongo = Mongo(stack.settings.mongo_url or "", "nexkey", 20_000)
        await make_indexes(mongo.database)
        await seed(mongo)
        yield mongo
        await mongo.close()
    folder.close()


async def seed(mongo: Mongo) -> None:
    """The organization; one of each kind that has ended; and a neighbour who holds the same names and lets everybody in."""
    for kind in KINDS:
        made = [stored_object(ORGANIZATION, kind, body) for body in MADE.documents(kind)]
        await mongo.database[OBJECT_COLLECTIONS[kind]].insert_many(made)
    everywhere = {"effect": "allow", "group": named("group", 0), "schedule": None, "valid_from": None, "valid_until": None}
    ended: Document = {"id": "ended", "site": named("site", 0), **everywhere, "ended_at": 5}
    standing: Document = {"id": "standing", "site": named("site", 0), **everywhere}
    await mongo.database["grants"].insert_many([stored_object(ORGANIZATION, "grant", ended), stored_object("neighbour", "grant", standing)])
    await mongo.database["persons"].insert_one(stored_object(ORGANIZATION, "person", MADE.person(1_000) | {"ended_at": 5}))
    await mongo.database["revisions"].insert_one({"_id": ORGANIZATION, "revision": 7})


@pytest_asyncio.fixture(loop_scope="module")
async def follower(mongo: Mongo) -> PermissionFollower:
    return PermissionFollower(mongo, Bus("redis://none", 100))


def stands(follower: PermissionFollower, revision: int) -> None:
    assert follower.revision(ORGANIZATION) == revision
    allowed = 0
    for person, door in PAIRS:
        decision = follower.index.check(ORGANIZATION, named("person", person), named("door", door), NOW_MS)
        assert decision.allowed == MADE.may_pass(person, door), (person, door, decision)
        allowed += decision.allowed
    assert 100 < allowed < len(PAIRS) - 100


async def test_the_whole_organization_comes_in_and_nothing_else(follower: PermissionFollower) -> None:
    """300 persons are several batches: the first of the store's answers holds 101 documents."""
    await follower.start()
    assert follower.organizations() == [ORGANIZATION]
    stands(follower, 7)
    assert follower.index.authenticate(ORGANIZATION, named("person", 1_000), 0, "s1") == "person_unknown"
    assert follower.index.revision("neighbour") == -1


async def test_large_batches_are_decoded_beside_the_loop(follower: PermissionFollower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "ADDED_AT_ONCE_BYTES_MAX", 0)
    await follower.start()
    stands(follower, 7)


class SlowBatches(TcpProxy):
    """A store that takes long over what is large."""

    async def answer(self, line: Line) -> None:
        while chunk := await line.server[0].read(CHUNK_BYTES):
            if len(chunk) > LARGE_BYTES:
                await asyncio.sleep(SLOW_SECONDS)
            line.client[1].write(chunk)
            await line.client[1].drain()


async def test_a_large_organization_is_loaded_from_a_store_that_takes_longer_for_a_batch_than_a_request_may(mongo: Mongo) -> None:
    """Else a process that starts beside others would never be ready: each try would begin anew."""
    address = await mongo.client.address
    assert address is not None
    async with SlowBatches() as proxy:
        url = proxy.aim(f"mongodb://{address[0]}:{address[1]}/?directConnection=true")
        slow = Mongo(url, "nexkey", int(SLOW_SECONDS * 500))
        try:
            follower = PermissionFollower(slow, Bus("redis://none", 100))
            await follower.start()
            stands(follower, 7)
        finally:
            await slow.close()


async def test_what_changes_while_it_is_read_is_put_right(
    mongo: Mongo, follower: PermissionFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The persons are read at revision 7; then one is suspended, and all the rest is read. A record says what the scan can't."""
    read, person = store.read_batches, MADE.person(0)
    suspended: Document = {"kind": "person", "id": person["id"], "document": person | {"state": "suspended"}}

    async def changed_between(mongo: Mongo, organization: str, kind: str) -> AsyncIterator[bytes]:
        async for batch in read(mongo, organization, kind):
            yield batch
        if kind == "person":
            await mongo.database["changes"].insert_one(
                {"_id": store.change_id(organization, 8), "org": organization, "revision": 8, "at": 1, "images": [suspended]}
            )
            await mongo.database["revisions"].update_one({"_id": organization}, {"$set": {"revision": 8}})

    monkeypatch.setattr(store, "read_batches", changed_between)
    try:
        await follower.start()
        assert follower.revision(ORGANIZATION) == 8
        assert follower.index.authenticate(ORGANIZATION, person["id"], 0, "s1") == "person_suspended"
    finally:
        await mongo.database["changes"].delete_one({"_id": store.change_id(ORGANIZATION, 8)})
        await mongo.database["revisions"].update_one({"_id": ORGANIZATION}, {"$set": {"revision": 7}})


async def test_a_document_that_is_not_as_the_protocol_says_leaves_the_organization_unloaded(
    mongo: Mongo, follower: PermissionFollower
) -> None:
    wrong = stored_object(ORGANIZATION, "person", MADE.person(1_001))
    del wrong["valid_until"]
    await mongo.database["persons"].insert_one(wrong)
    try:
        await follower.start()
        assert follower.revision(ORGANIZATION) == -1
        assert follower.index.check(ORGANIZATION, named("person", 0), named("door", 0), NOW_MS).reason == "stores_unavailable"
    finally:
        await mongo.database["persons"].delete_one({"_id": wrong["_id"]})


async def test_a_store_that_goes_away_half_way_leaves_nothing_half_loaded(
    follower: PermissionFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.read_batches

    async def breaks(mongo: Mongo, organization: str, kind: str) -> AsyncIterator[bytes]:
        async for batch in read(mongo, organization, kind):
            yield batch
            if kind == "person":
                raise AutoReconnect("the store went away")

    monkeypatch.setattr(follower_module, "ADDED_AT_ONCE_BYTES_MAX", 0)
    with monkeypatch.context() as broken:
        broken.setattr(store, "read_batches", breaks)
        with pytest.raises(AutoReconnect):
            await follower.start()
    assert follower.revision(ORGANIZATION) == -1
    assert ORGANIZATION in await follower.catch_up({ORGANIZATION: 7}, 10)
    stands(follower, 7)
