"""Who carries out imports, against a real store: two at once, answers that are never heard, what is all or nothing and comes to nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from py_service.directory import end
from py_service.directory.kinds import BY_NAME
from py_service.directory.roles import SetRoles
from py_service.errors import Problem, stores_unavailable
from py_service.identity.end_sessions import check_goes_on
from py_service.identity.sessions import Session
from py_service.imports import collect
from py_service.imports.apply import ApplyBatch
from py_service.imports.collect import Begin, PutPart
from py_service.imports.conclude import GoLive, SayRead
from py_service.imports.run import ImportRunner
from py_service.imports.undo import UndoBatch
from py_service.journal.log import Log
from py_service.permissions import departure
from py_service.permissions.change import Actor, Change, Changed, Plan, View
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.image import Image
from py_service.permissions.lane import ChangeLane
from py_service.permissions.listing import stored_object
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import Document, Mongo, now_ms
from py_service.worker import IMPORTED
from tests.integration.store_server import store_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACME, MAKER = "acme", "p-maker"
GROUP: Document = {"id": "zz-shown", "includes": []}
SITE: Document = {"id": "here", "name": "Here", "time_zone": "Europe/Berlin", "locked_down": False}
OWNER: Document = {"role": "owner", "sites": None}
NO_MORE: Document = {"email": None, "kind": "employee", "valid_from": None, "valid_until": None}


class SilentBus(Bus):
    """Nobody hears anything: processes find out by themselves."""

    def __init__(self) -> None:
        super().__init__("redis://127.0.0.1:1", 50)

    async def nudge(self, organization: str, revision: int) -> None:
        """Lost."""


@dataclass
class Unheard:
    """A lane whose answers to changes of this `kind` are lost: `after` they took effect, or before they began, the first `times`."""

    lane: ChangeLane
    times: int
    after: bool
    kind: type = ApplyBatch
    batches: int = 0

    async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed:
        if not isinstance(change, self.kind):
            return await self.lane.submit(organization, actor, change)
        self.batches += 1
        if self.batches <= self.times:
            if self.after:
                await self.lane.submit(organization, actor, change)
            raise stores_unavailable()
        return await self.lane.submit(organization, actor, change)


@dataclass(frozen=True, slots=True)
class Puts:
    """A change that writes this image."""

    written: Image
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        return Plan([view.image(self.written["kind"], self.written["document"] or {})])


@dataclass(frozen=True, slots=True)
class Names:
    """A change that names these groups, and writes nothing."""

    groups: list[str]
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        await view.get_many("group", self.groups)
        return Plan()


@dataclass(frozen=True, slots=True)
class TwoWorkers:
    """Two processes on one store."""

    mongo: Mongo
    lanes: tuple[ChangeLane, ChangeLane]

    async def begun(
        self, rows: int, *, all_or_nothing: bool = False, prefix: str, actor: Actor | None = None, refused: bool = False
    ) -> str:
        """Groups, all of them good, or the last one `refused`; started. Its id."""
        text = "id,name\n" + "".join(f"{prefix}-{number},Group {number}\n" for number in range(rows))
        text += f"{prefix}-0,The same again\n" if refused else ""
        asked: Document = {"kind": "groups", "format": "csv", "all_or_nothing": all_or_nothing}
        changed = await self.lanes[0].submit(ACME, actor, Begin(None, asked, text, MAKER))
        assert changed.result is not None
        return str(changed.result["id"])

    async def found(self, identifier: str) -> dict[str, Any]:
        document = await self.mongo.database["imports"].find_one({"_id": f"{ACME}:{identifier}"})
        assert document is not None
        return document

    async def outcomes(self, identifier: str) -> list[tuple[int, str]]:
        """By row, in the order of their batches."""
        stored = await self.mongo.database["import_results"].find({}).to_list()
        own = sorted(
            (results for results in stored if results["_id"].startswith(f"{ACME}:{identifier}:")), key=lambda each: str(each["_id"])
        )
        return [(row["row"], row["outcome"]) for results in own for row in results["rows"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoWorkers]:
    with store_server(tmp_path_factory.mktemp("imports-store")) as url:
        mongo, bus = Mongo(url, "imports", 5_000), SilentBus()
        await make_indexes(mongo.database)
        await mongo.database["organizations"].insert_one({"_id": ACME, "org": ACME, "id": ACME, "name": "Acme", "active": True})
        maker = {"id": MAKER, "name": "Maker", "state": "active", "tokens_valid_after": 0, "groups": [], "roles": [OWNER], **NO_MORE}
        await mongo.database["persons"].insert_one(stored_object(ACME, "person", maker))
        await mongo.database["revisions"].insert_one({"_id": ACME, "revision": 1})
        lanes: list[ChangeLane] = []
        for process in ("one", "two"):
            follower = PermissionFollower(mongo, bus)
            await follower.start()
            lanes.append(ChangeLane(mongo, await Log.birth(mongo, "changes", process), follower, bus, lambda: None))
        tasks = [asyncio.create_task(lane.run()) for lane in lanes]
        yield TwoWorkers(mongo, (lanes[0], lanes[1]))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()
        await mongo.close()


async def work(runner: ImportRunner) -> Counter[str]:
    """Until there is nothing to do; what went wrong on the way, by code."""
    wrong: Counter[str] = Counter()
    while True:
        try:
            if not await runner.step():
                return wrong
        except Problem as problem:
            wrong[problem.code] += 1


async def test_two_at_once_apply_no_row_twice(workers: TwoWorkers) -> None:
    """A worker that lost its lease and doesn't know: each batch is one of them's."""
    identifier = await workers.begun(900, prefix="two")
    await asyncio.gather(*(work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on)) for lane in workers.lanes))
    found = await workers.found(identifier)
    assert (found["state"], found["rows_applied"], found["rows_refused"]) == ("ended", 900, 0)
    assert await workers.outcomes(identifier) == [(number, "created") for number in range(1, 901)]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("all_or_nothing", [True, False])
async def test_an_answer_that_was_not_heard_changes_nothing(workers: TwoWorkers, after: bool, all_or_nothing: bool) -> None:
    """Whether a batch took effect or not, the import goes on from where the store says that it stands."""
    identifier = await workers.begun(300, all_or_nothing=all_or_nothing, prefix=f"unheard-{after}-{all_or_nothing}".lower())
    lane = Unheard(workers.lanes[0], 1, after)
    assert await work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on)) == {"stores_unavailable": 1}
    found = await workers.found(identifier)
    assert (found["state"], found["rows_applied"], found["rows_refused"]) == ("ended", 300, 0)
    assert await workers.outcomes(identifier) == [(number, "created") for number in range(1, 301)]


async def nothing_is_left(workers: TwoWorkers, identifier: str, prefix: str, rows: int) -> None:
    """Of an import that was refused for its last row: neither in the store, nor in the memory of a process that loads it now."""
    found = await workers.found(identifier)
    assert (found["state"], found["rows_applied"], found["rows_refused"]) == ("refused", 0, 1)
    expected = [(number, "left_out") for number in range(1, rows + 1)] + [(rows + 1, "refused")]
    assert await workers.outcomes(identifier) == expected
    assert await workers.mongo.database["groups"].count_documents({"id": {"$regex": f"^{prefix}-"}}) == 0
    records = await workers.mongo.database["changes"].find({}).to_list()
    last = {image["id"]: image["document"] for record in sorted(records, key=lambda each: each["revision"]) for image in record["images"]}
    assert [last[f"{prefix}-{number}"] for number in range(rows)] == [None] * rows


@pytest.mark.parametrize("kind", [ApplyBatch, GoLive, UndoBatch])
@pytest.mark.parametrize("after", [True, False])
async def test_of_all_or_nothing_no_answer_has_to_be_heard(workers: TwoWorkers, kind: type, after: bool) -> None:
    """Its last row is refused, so that it is staged, found wanting, and undone; at each step an answer is lost."""
    prefix = f"undone-{kind.__name__}-{after}".lower()
    identifier = await workers.begun(300, all_or_nothing=True, prefix=prefix, refused=True)
    lane = Unheard(workers.lanes[0], 1, after, kind)
    assert await work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on)) == {"stores_unavailable": 1}
    await nothing_is_left(workers, identifier, prefix, 300)


async def test_what_comes_out_of_turn_is_a_conflict(workers: TwoWorkers) -> None:
    """As from a worker that lost its lease and doesn't know: a second stage, going live too early, undoing what was undone."""
    one, other = [await workers.begun(20, all_or_nothing=True, prefix=prefix) for prefix in ("turn-one", "turn-other")]
    lane = workers.lanes[0]
    await lane.submit(ACME, None, SayRead(one, 20, 20))

    async def out_of_turn(change: Change) -> bool:
        with pytest.raises(Problem) as refused:
            await lane.submit(ACME, None, change)
        return refused.value.code == "conflict"

    assert await out_of_turn(SayRead(other, 20, 20))
    assert await out_of_turn(GoLive(one, check_goes_on))
    assert await out_of_turn(UndoBatch(one, "group", 0))
    await work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on))
    assert [(await workers.found(identifier))["state"] for identifier in (one, other)] == ["ended", "ended"]
    assert await out_of_turn(GoLive(one, check_goes_on))
    undone = await workers.begun(20, all_or_nothing=True, prefix="turn-undone", refused=True)
    await work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on))
    assert await out_of_turn(UndoBatch(undone, "group", 1))


async def test_who_made_it_has_to_stand_when_it_goes_live(workers: TwoWorkers) -> None:
    """Every row was staged with their right; that isn't enough."""
    identifier = await workers.begun(20, all_or_nothing=True, prefix="late-stop")
    asked: list[int] = []

    async def stands_once(view: View) -> None:
        asked.append(view.revision)
        if len(asked) > 1:
            raise Problem(403, "person_suspended", "Not any more.")

    await work(ImportRunner(workers.mongo, workers.lanes[0], IMPORTED, lambda: True, stands_once))
    found = await workers.found(identifier)
    assert (found["state"], found["problem"]["code"], found["rows_applied"]) == ("stopped", "person_suspended", 0)
    assert await workers.mongo.database["groups"].count_documents({"id": {"$regex": "^late-stop-"}}) == 0


async def test_the_role_has_to_hold_when_it_goes_live(workers: TwoWorkers) -> None:
    """Taken after the last row was staged, and nobody but the owner of the building could have seen what was to come."""

    class TakesTheRole(Unheard):
        async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed:
            if isinstance(change, GoLive):
                await self.lane.submit(ACME, None, SetRoles("p-second", [], None))
            return await self.lane.submit(organization, actor, change)

    async def stands(_: View) -> None:
        """A role that is taken ends no session."""

    second = {"id": "p-second", "name": "Second", "state": "active", "tokens_valid_after": 0, "groups": [], **NO_MORE}
    roles = [{"role": "admin", "sites": None}]
    await workers.lanes[0].submit(ACME, None, Puts({"kind": "person", "id": "p-second", "document": {**second, "roles": roles}}))
    identifier = await workers.begun(20, all_or_nothing=True, prefix="no-role", actor=Actor(ACME, "p-second", now_ms(), "any"))
    await work(ImportRunner(workers.mongo, TakesTheRole(workers.lanes[0], 0, False), IMPORTED, lambda: True, stands))
    found = await workers.found(identifier)
    assert (found["state"], found["problem"]["code"], found["rows_applied"]) == ("stopped", "role_missing", 0)
    assert await workers.mongo.database["groups"].count_documents({"id": {"$regex": "^no-role-"}}) == 0


@pytest.mark.parametrize("applied", [False, True])
async def test_what_a_version_before_stages_had_begun_is_finished(workers: TwoWorkers, applied: bool) -> None:
    """It had read the file, and was about to apply all of it at once; or it had, and didn't come to say so."""
    prefix = f"before-stages-{applied}".lower()
    identifier = await workers.begun(20, all_or_nothing=True, prefix=prefix)
    left = {"state": "applying", "rows_read": 20, "rows_valid": 20} | ({"position": 20, "rows_applied": 20} if applied else {})
    await workers.mongo.database["imports"].update_one({"_id": f"{ACME}:{identifier}"}, {"$set": left})
    await work(ImportRunner(workers.mongo, workers.lanes[0], IMPORTED, lambda: True, check_goes_on))
    found = await workers.found(identifier)
    assert (found["state"], found["problem"], found["rows_applied"]) == ("ended", None, 20)
    made = await workers.mongo.database["groups"].find({"id": {"$regex": f"^{prefix}-"}}).to_list()
    assert [bool(group["staged"]) for group in made] == ([] if applied else [True] * 20)


async def test_other_imports_do_not_name_what_is_staged(workers: TwoWorkers) -> None:
    """Neither by its name nor by its id; and it doesn't hide what shows under the same name."""
    await workers.lanes[0].submit(ACME, None, Puts({"kind": "group", "id": "zz-shown", "document": {**GROUP, "name": "Twin 7"}}))
    hidden = "id,name\n" + "".join(f"aa-hidden-{number},Twin {number}\n" for number in range(150))
    groups: Document = {"kind": "groups", "format": "csv", "all_or_nothing": True}
    await workers.lanes[0].submit(ACME, None, Begin(None, groups, hidden, MAKER))
    lane = Unheard(workers.lanes[0], 99, False, GoLive)
    runner = ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on)
    while lane.batches == 0:
        with contextlib.suppress(Problem):
            await runner.step()
    for names in (["zz-shown"], ["zz-shown", "aa-hidden-8"]):
        with contextlib.nullcontext() if len(names) == 1 else pytest.raises(Problem, match="group"):
            await workers.lanes[0].submit(ACME, None, Names(names))
    rows = "name,groups,group_names\nBy name,,Twin 7\nBy a hidden name,,Twin 8\nBy id,aa-hidden-8,\n"
    asked: Document = {"kind": "persons", "format": "csv", "all_or_nothing": False}
    begun = await workers.lanes[0].submit(ACME, None, Begin(None, asked, rows, MAKER))
    assert begun.result is not None
    identifier = str(begun.result["id"])
    while (await workers.found(identifier))["state"] != "ended":
        with contextlib.suppress(Problem):
            await runner.step()
    assert [outcome for _, outcome in await workers.outcomes(identifier)] == ["created", "refused", "refused"]
    made = await workers.mongo.database["persons"].find_one({"org": ACME, "name": "By name"})
    assert made is not None and made["groups"] == ["zz-shown"]
    await work(ImportRunner(workers.mongo, workers.lanes[0], IMPORTED, lambda: True, check_goes_on))


@pytest.mark.parametrize("comes_to", ["live", "undone"])
async def test_who_is_named_by_what_is_staged_can_be_deleted_and_nothing_of_it_is_left(
    workers: TwoWorkers, monkeypatch: pytest.MonkeyPatch, comes_to: str
) -> None:
    """More grants than end together with their person, of an import that is under way: before it goes live, and before it is undone."""
    for name, ended_max in (("TAKEN_ALONG_MAX", 3), ("ENDED_AT_ONCE_MAX", 2)):
        monkeypatch.setattr(departure, name, ended_max)
    monkeypatch.setattr(end, "TAKEN_ALONG_MAX", 3)
    name, mongo, lane = f"p-named-{comes_to}", workers.mongo, workers.lanes[0]
    person = {"id": name, "name": "Named", "state": "active", "tokens_valid_after": 0, "groups": [], "roles": [], **NO_MORE}
    for kind, document in (("person", person), ("site", SITE)):
        await lane.submit(ACME, None, Puts({"kind": kind, "id": str(document["id"]), "document": document}))
    rows = "person,site\n" + f"{name},here\n" * 8 + ("nobody,here\n" if comes_to == "undone" else "")
    grants: Document = {"kind": "grants", "format": "csv", "all_or_nothing": True}
    begun = await lane.submit(ACME, None, Begin(None, grants, rows, MAKER))
    assert begun.result is not None
    first = UndoBatch if comes_to == "undone" else GoLive
    unheard = Unheard(lane, 99, False, first)
    runner = ImportRunner(mongo, unheard, IMPORTED, lambda: True, check_goes_on)
    while unheard.batches == 0:
        with contextlib.suppress(Problem):
            await runner.step()

    async def left() -> int:
        return await mongo.database["grants"].count_documents({"listed": f"{ACME}:person={name}"})

    assert await left() == 8
    await lane.submit(ACME, None, end.End(BY_NAME["person"], name, None))
    assert await left() == 5
    if comes_to == "live":
        await work(ImportRunner(mongo, lane, IMPORTED, lambda: True, check_goes_on))
    counts = [await left()]
    while await departure.end_departed(mongo, workers.lanes[1], now_ms() + 1_000):
        counts.append(await left())
    assert counts == [5, 3, 1, 0]
    await work(ImportRunner(mongo, lane, IMPORTED, lambda: True, check_goes_on))
    found = await workers.found(str(begun.result["id"]))
    assert (found["state"], found["rows_applied"]) == (("ended", 8) if comes_to == "live" else ("refused", 0))
    stored = await mongo.database["grants"].find({"person": name}).to_list()
    assert [bool(grant["ended_at"]) for grant in stored] == ([True] * 8 if comes_to == "live" else [])
    assert await mongo.database["departures"].count_documents({}) == 0


async def test_who_is_there_loses_nothing_by_a_departure(workers: TwoWorkers) -> None:
    """Whatever stands in `departures`: only of who is gone anything is ended."""
    mongo, lane = workers.mongo, workers.lanes[0]
    person = {"id": "p-here", "name": "Here", "state": "active", "tokens_valid_after": 0, "groups": [], "roles": [], **NO_MORE}
    await lane.submit(ACME, None, Puts({"kind": "person", "id": "p-here", "document": person}))
    grant = {"id": "g-here", "effect": "allow", "person": "p-here", "site": "here"}
    await mongo.database["grants"].insert_one(stored_object(ACME, "grant", grant))
    await mongo.database["departures"].insert_one(departure.departure_write(ACME, "p-here", 1).document or {})
    while await departure.end_departed(mongo, lane, now_ms()):
        pass
    found = await mongo.database["grants"].find_one({"_id": f"{ACME}:g-here"})
    assert found is not None and "ended_at" not in found
    assert await mongo.database["departures"].count_documents({}) == 0


async def test_a_number_is_never_given_again(workers: TwoWorkers) -> None:
    """Not even that of a stage that was undone: whatever were left of it stays hidden."""
    seen: list[int] = []

    class Sees(Unheard):
        async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed:
            changed = await self.lane.submit(organization, actor, change)
            if isinstance(change, SayRead) and changed.result is not None:
                seen.append(changed.result["stage"])
            return changed

    for prefix, refused in (("once", True), ("again", True), ("at-last", False)):
        await workers.begun(20, all_or_nothing=True, prefix=prefix, refused=refused)
        await work(ImportRunner(workers.mongo, Sees(workers.lanes[0], 0, False), IMPORTED, lambda: True, check_goes_on))
    assert len(seen) == 3 and seen == sorted(set(seen))


async def test_two_at_once_undo_no_row_twice(workers: TwoWorkers) -> None:
    identifier = await workers.begun(900, all_or_nothing=True, prefix="undone-by-two", refused=True)
    await asyncio.gather(*(work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on)) for lane in workers.lanes))
    await nothing_is_left(workers, identifier, "undone-by-two", 900)


async def test_what_is_all_or_nothing_takes_turns(workers: TwoWorkers) -> None:
    """Two at once would have one number, and the first to end would show the other's half: so one stages, and the other waits."""

    async def live() -> int:
        organization = await workers.mongo.database["organizations"].find_one({"_id": ACME})
        assert organization is not None
        return int(organization.get("stages_live", 0))

    before = await live()
    begun = [await workers.begun(250, all_or_nothing=True, prefix=f"turn-{number}", refused=number == 1) for number in range(3)]
    await asyncio.gather(*(work(ImportRunner(workers.mongo, lane, IMPORTED, lambda: True, check_goes_on)) for lane in workers.lanes))
    assert [(await workers.found(identifier))["state"] for identifier in begun] == ["ended", "refused", "ended"]
    stages = [
        {document["staged"] for document in await workers.mongo.database["groups"].find({"id": {"$regex": f"^turn-{number}-"}}).to_list()}
        for number in (0, 2)
    ]
    assert [len(staged) for staged in stages] == [1, 1]
    one, other = (min(staged) for staged in stages)
    assert before < min(one, other) < max(one, other) == await live()


async def test_who_does_not_lead_does_nothing(workers: TwoWorkers) -> None:
    identifier = await workers.begun(5, prefix="idle")
    assert not await ImportRunner(workers.mongo, workers.lanes[0], IMPORTED, lambda: False, check_goes_on).step()
    assert (await workers.found(identifier))["state"] == "waiting"
    await work(ImportRunner(workers.mongo, workers.lanes[0], IMPORTED, lambda: True, check_goes_on))


async def test_a_file_has_a_largest_size(workers: TwoWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all parts together; one that is put again counts once."""
    monkeypatch.setattr(collect, "CHARACTERS_MAX", 10)
    asked: Document = {"kind": "groups", "format": "csv", "all_or_nothing": False}
    await workers.lanes[0].submit(ACME, None, Begin("small", asked, None, MAKER))
    for part, text in ((1, "123456"), (2, "1234"), (1, "12345")):
        await workers.lanes[0].submit(ACME, None, PutPart("small", part, text, MAKER))
    with pytest.raises(Problem) as refused:
        await workers.lanes[0].submit(ACME, None, PutPart("small", 3, "12", MAKER))
    assert refused.value.code == "import_too_large"


@pytest.mark.parametrize("ended", [True, False])
async def test_an_import_ends_with_the_session_that_started_it_however_long_it_waited(workers: TwoWorkers, ended: bool) -> None:
    """Which sessions have ended is forgotten when no token of theirs lives any more; an import may wait for longer."""
    session, earlier_ms = f"session-{ended}", now_ms() - 6 * 60_000
    if not ended:
        goes_on = Session(session, ACME, MAKER, earlier_ms, earlier_ms, now_ms() + 1_000_000, "")
        await workers.mongo.database["session_families"].insert_one(goes_on.document())
    identifier = await workers.begun(3, prefix=f"late-{ended}".lower(), actor=Actor(ACME, MAKER, earlier_ms, session))
    await work(ImportRunner(workers.mongo, workers.lanes[0], IMPORTED, lambda: True, check_goes_on))
    found = await workers.found(identifier)
    code = None if found.get("problem") is None else found["problem"]["code"]
    assert (found["state"], found["rows_applied"], code) == (("stopped", 0, "token_revoked") if ended else ("ended", 3, None))
