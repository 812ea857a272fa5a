"""The lane of changes against a real store: what goes into one group, and which connections are cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from pymongo.errors import AutoReconnect

from py_service.access.occupancy import ResetOccupancy
from py_service.directory import end
from py_service.directory.end import End
from py_service.directory.kinds import BY_NAME
from py_service.directory.organization import AppointOwner
from py_service.errors import Problem
from py_service.journal.event import cut_of
from py_service.journal.log import Log
from py_service.passes.accept import AcceptPass
from py_service.passes.link import Link
from py_service.permissions import store
from py_service.permissions.change import Changed, Plan, View, Write
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import EVENTS_AT_ONCE_MAX, ChangeLane
from py_service.permissions.listing import stored_object
from py_service.permissions.match import check_match
from py_service.permissions.states import record_of, state_document
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Mongo, now_ms
from tests.integration.store_server import store_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACME = "acme"


@dataclass(frozen=True, slots=True)
class MakeGroups:
    """As many groups in one change."""

    name: str
    count: int
    takes_authority: ClassVar[bool] = False

    async def plan(self, view: View) -> Plan:
        plan = Plan()
        for number in range(self.count):
            document = {"id": f"{self.name}-{number}", "name": self.name, "includes": [], "created_at": view.at_ms}
            plan.join(view.written("group", document, "group_created"))
        return plan.cut(f"{self.name}-0")


@dataclass(frozen=True, slots=True)
class Rename:
    """Of a group. `if_match`: the revision that was seen; None: any."""

    group: str
    name: str
    if_match: int | None = None
    takes_authority: ClassVar[bool] = False

    async def plan(self, view: View) -> Plan:
        before = await view.get("group", self.group)
        check_match(before, self.if_match)
        return view.written("group", {**before, "name": self.name}, "group_changed")


class ToldBus(Bus):
    """Remembers what it was to say."""

    def __init__(self) -> None:
        super().__init__("redis://127.0.0.1:1", 50)
        self.said: list[tuple[str, str | None, int]] = []

    async def nudge(self, organization: str, revision: int) -> None:
        pass

    async def cut(self, organization: str, subject: str | None, revision: int) -> None:
        self.said.append((organization, subject, revision))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Mongo, ChangeLane, ToldBus]]:
    with store_server(tmp_path_factory.mktemp("lane-store")) as url:
        mongo, bus = Mongo(url, "lane", 5_000), ToldBus()
        await make_indexes(mongo.database)
        await mongo.database["organizations"].insert_one({"_id": ACME, "org": ACME, "id": ACME, "name": "Acme", "active": True})
        await mongo.database["revisions"].insert_one({"_id": ACME, "revision": 1})
        follower = PermissionFollower(mongo, bus)
        await follower.start()
        lane = ChangeLane(mongo, await Log.birth(mongo, "changes", "api"), follower, bus, lambda: None)
        task = asyncio.create_task(lane.run())
        yield mongo, lane, bus
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()
        await mongo.close()


async def test_what_a_journal_document_does_not_take_comes_with_the_next(stage: tuple[Mongo, ChangeLane, ToldBus]) -> None:
    """Seven changes that wait at once, of 400 events each: an event's place in its document has three digits."""
    mongo, lane, _ = stage
    changed = await asyncio.gather(*(lane.submit(ACME, None, MakeGroups(f"many-{number}", 400)) for number in range(7)))
    documents: list[dict[str, Any]] = await mongo.database["journal"].find({}).to_list()
    sizes = [len(document["events"]) for document in documents]
    assert sum(sizes) == 2_800
    assert max(sizes) <= EVENTS_AT_ONCE_MAX <= 1_000
    assert len({change.revision for change in changed}) == len(documents) > 1
    assert await mongo.database["groups"].count_documents({}) == 2_800


async def test_a_change_that_no_document_takes_is_refused_whole(stage: tuple[Mongo, ChangeLane, ToldBus]) -> None:
    mongo, lane, _ = stage
    with pytest.raises(Problem) as refused:
        await lane.submit(ACME, None, MakeGroups("huge", EVENTS_AT_ONCE_MAX + 1))
    assert (refused.value.status, refused.value.code) == (409, "change_too_large")
    assert await mongo.database["groups"].count_documents({"name": "huge"}) == 0


async def test_no_two_states_of_an_object_have_one_etag(stage: tuple[Mongo, ChangeLane, ToldBus]) -> None:
    """Changes of one object that wait at once, among changes of others: each answer's revision is of what it says, and of nothing else."""
    mongo, lane, _ = stage
    await asyncio.gather(*(lane.submit(ACME, None, MakeGroups(name, 1)) for name in ("shared", "apart")))
    documents = await mongo.database["journal"].count_documents({})
    names = [f"name {number}" for number in range(6)]
    renames = [Rename("shared-0", name) for name in names]
    changed = await asyncio.gather(
        *(lane.submit(ACME, None, change) for change in (*renames[:3], Rename("apart-0", "beside"), *renames[3:]))
    )
    of_shared = [one for one in changed if (one.result or {})["id"] == "shared-0"]
    told = {one.revision: (one.result or {})["name"] for one in of_shared}
    assert list(told.values()) == names
    assert sorted(told) == list(told)
    assert changed[0].revision == changed[3].revision, "what has nothing to do with it goes along"
    assert await mongo.database["journal"].count_documents({}) == documents + len(names)
    stored = await mongo.database["groups"].find_one({"_id": f"{ACME}:shared-0"}) or {}
    assert (stored["name"], stored["revision"]) == (names[-1], max(told))
    with pytest.raises(Problem) as refused:
        await lane.submit(ACME, None, Rename("shared-0", "unseen", if_match=of_shared[-2].revision))
    assert refused.value.code == "changed_meanwhile"


async def test_what_was_read_counts_although_the_next_read_fails(
    stage: tuple[Mongo, ChangeLane, ToldBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is far behind catches up with a store that is slow: each try brings it further."""
    mongo, lane, bus = stage
    behind = PermissionFollower(mongo, bus)
    await behind.start()
    began = behind.revision(ACME)
    target = began
    for number in range(2 * store.RECORDS_AT_ONCE_MAX + 3):
        target = (await lane.submit(ACME, None, MakeGroups(f"late-{number}", 1))).revision
    await lane.told()  # its own process has them all
    read, reads = store.read_records, 0

    async def fails_every_other_time(mongo: Mongo, organization: str, first: int, last: int) -> list[dict[str, Any]]:
        nonlocal reads
        reads += 1
        if reads % 2 == 0:
            raise AutoReconnect("too slow")
        assert last - first < store.RECORDS_AT_ONCE_MAX
        return await read(mongo, organization, first, last)

    monkeypatch.setattr(store, "read_records", fails_every_other_time)
    stands = [began]
    while not await behind.catch_up({ACME: target}, 5.0):
        assert behind.revision(ACME) > stands[-1]
        stands.append(behind.revision(ACME))
    assert (behind.revision(ACME), len(stands)) == (target, 3)


async def test_what_was_decided_before_the_change_is_cut_and_nothing_after_it(stage: tuple[Mongo, ChangeLane, ToldBus]) -> None:
    """The gateways cut tokens of an earlier revision than they are told."""
    mongo, lane, bus = stage
    changed: Changed = await lane.submit(ACME, None, MakeGroups("cut", 2))
    await lane.told()
    cut = (ACME, "cut-0", changed.revision)
    assert [said for said in bus.said if said[2] == changed.revision] == [cut]
    # The worker reads it there, for a process that died before it said so.
    document = await mongo.database["journal"].find_one({"events.revision": changed.revision}) or {}
    assert [cut_of(event) for event in document["events"]] == [cut, None]


ADA: dict[str, Any] = {
    "id": "ada", "name": "Ada", "email": "ada@acme.example", "kind": "employee", "state": "active", "valid_from": None, "valid_until": None,
    "groups": [], "roles": [], "tokens_valid_after": 0, "created_at": 1,
}  # fmt: skip


@pytest.mark.parametrize("by", ["deletion", "reset"])
async def test_who_has_just_left_is_not_put_back_after_they_were_taken_out(stage: tuple[Mongo, ChangeLane, ToldBus], by: str) -> None:
    """A give-back puts back whose record says when they left: it says so no more."""
    mongo, lane, _ = stage
    person, area = f"leaves-by-{by}", f"hall-{by}"
    for kind, document in (("area", {"id": area, "site": "s", "name": area, "locked_down": False}), ("person", {**ADA, "id": person})):
        await mongo.database[OBJECT_COLLECTIONS[kind]].insert_one(stored_object(ACME, kind, document))
    key = f"inside.{area}.{person}"
    await mongo.database["states"].insert_one(state_document(ACME, key, {"left_at": 7}))
    change = End(BY_NAME["person"], person, None) if by == "deletion" else ResetOccupancy(area, person)
    await lane.submit(ACME, None, change)
    record = await mongo.database["states"].find_one({"_id": f"{ACME}:{key}"})
    assert record is not None and record_of(record) == {}


async def test_nobody_is_appointed_whom_an_import_under_way_makes(stage: tuple[Mongo, ChangeLane, ToldBus]) -> None:
    """They show to nobody yet, and may never have been: neither are they an owner beside whom the last one may go."""
    mongo, lane, _ = stage
    owner = {"role": "owner", "sites": None}
    for name, more in (("staged", {"staged": 3, "roles": [owner]}), ("only-owner", {"roles": [owner]})):
        document = {**ADA, "id": name, "email": f"{name}@acme.example", **more}
        await mongo.database["persons"].insert_one(stored_object(ACME, "person", document))

    async def open_account(view: View, person: str, email: str) -> list[Write]:
        return []

    for change, code in (
        (AppointOwner("Ada", "staged@acme.example", open_account), "email_taken"),
        (End(BY_NAME["person"], "only-owner", None), "last_owner"),
    ):
        with pytest.raises(Problem) as refused:
            await lane.submit(ACME, None, change)
        assert refused.value.code == code
    await lane.submit(ACME, None, AppointOwner("Ada", "fresh@acme.example", open_account))
    await lane.submit(ACME, None, End(BY_NAME["person"], "only-owner", None))


async def test_a_link_of_somebody_who_is_gone_makes_no_guest(stage: tuple[Mongo, ChangeLane, ToldBus]) -> None:
    """It may be left over for a while: more ended with them than one change takes."""
    mongo, lane, _ = stage
    await mongo.database["passes"].insert_one(stored_object(ACME, "pass", shared_pass("left-over")))
    persons = await mongo.database["persons"].count_documents({})
    with pytest.raises(Problem) as refused:
        await lane.submit(ACME, None, AcceptPass(Link(ACME, "left-over", 1), "Guest"))
    assert (refused.value.status, refused.value.code) == (410, "pass_revoked")
    assert await mongo.database["persons"].count_documents({}) == persons


async def test_of_what_a_deleted_person_leaves_links_end_first(
    stage: tuple[Mongo, ChangeLane, ToldBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened one meanwhile would be a guest for good; what was accepted opens nothing any more."""
    mongo, lane, _ = stage
    monkeypatch.setattr(end, "TAKEN_ALONG_MAX", 3)
    await mongo.database["persons"].insert_one(stored_object(ACME, "person", {**ADA, "id": "giver", "email": None}))
    for name, accepted_by, passes_on in (("accepted", "ada", 1), ("link", None, 0)):
        document = shared_pass(name) | {
            "doors": ["d1", "d2"], "given_by": "giver", "accepted_by": accepted_by, "concerns": ["giver"], "passes_on_max": passes_on,
        }  # fmt: skip
        await mongo.database["passes"].insert_one(stored_object(ACME, "pass", document))
    await lane.submit(ACME, None, End(BY_NAME["person"], "giver", None))
    stored = await mongo.database["passes"].find({"given_by": "giver", "ended_at": None}).to_list()
    assert [one["id"] for one in stored] == ["accepted"]
    assert await mongo.database["departures"].count_documents({"person": "giver"}) == 1


def shared_pass(identifier: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("valid_from", "schedule", "uses", "parent", "accepted_by", "accepted_at", "accepted_key"))
    empty: dict[str, Any] = {name: [] for name in ("doors", "at_sites", "above", "counts_above", "concerns")}
    return {
        **nothing, **empty, "id": identifier, "name": "P", "valid_until": now_ms() + 3_600_000, "passes_on_max": 0,
        "receiver": {"link": True}, "given_by": "nobody-any-more", "link": 1, "created_at": 1,
    }  # fmt: skip
