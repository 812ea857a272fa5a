"""Who carries out imports, against a real store: two at once, answers that are never heard, what is all or nothing and comes to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

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
from py_service.permissions.change import Actor, Change, Changed, View
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import ChangeLane
from py_service.permissions.listing import stored_object
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import Document, Mongo, now_ms
from py_service.worker import IMPORTED
from tests.integration.identity_support import store_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACME, MAKER = "acme", "p-maker"
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
class Stage:
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
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
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
        yield Stage(mongo, (lanes[0], lanes[1]))
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


async def test_two_at_once_apply_no_row_twice(stage: Stage) -> None:
    """A worker that lost its lease and doesn't know: each batch is one of them's."""
    identifier = await stage.begun(900, prefix="two")
    await asyncio.gather(*(work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on)) for lane in stage.lanes))
    found = await stage.found(identifier)
    assert (found["state"], found["rows_applied"], found["rows_refused"]) == ("ended", 900, 0)
    assert await stage.outcomes(identifier) == [(number, "created") for number in range(1, 901)]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("all_or_nothing", [True, False])
async def test_an_answer_that_was_not_heard_changes_nothing(stage: Stage, after: bool, all_or_nothing: bool) -> None:
    """Whether a batch took effect or not, the import goes on from where the store says that it stands."""
    identifier = await stage.begun(300, all_or_nothing=all_or_nothing, prefix=f"unheard-{after}-{all_or_nothing}".lower())
    lane = Unheard(stage.lanes[0], 1, after)
    assert await work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on)) == {"stores_unavailable": 1}
    found = await stage.found(identifier)
    assert (found["state"], found["rows_applied"], found["rows_refused"]) == ("ended", 300, 0)
    assert await stage.outcomes(identifier) == [(number, "created") for number in range(1, 301)]


async def nothing_is_left(stage: Stage, identifier: str, prefix: str, rows: int) -> None:
    """Of an import that was refused for its last row: neither in the store, nor in the memory of a process that loads it now."""
    found = await stage.found(identifier)
    assert (found["state"], found["rows_applied"], found["rows_refused"]) == ("refused", 0, 1)
    expected = [(number, "left_out") for number in range(1, rows + 1)] + [(rows + 1, "refused")]
    assert await stage.outcomes(identifier) == expected
    assert await stage.mongo.database["groups"].count_documents({"id": {"$regex": f"^{prefix}-"}}) == 0
    records = await stage.mongo.database["changes"].find({}).to_list()
    last = {image["id"]: image["document"] for record in sorted(records, key=lambda each: each["revision"]) for image in record["images"]}
    assert [last[f"{prefix}-{number}"] for number in range(rows)] == [None] * rows


@pytest.mark.parametrize("kind", [ApplyBatch, GoLive, UndoBatch])
@pytest.mark.parametrize("after", [True, False])
async def test_of_all_or_nothing_no_answer_has_to_be_heard(stage: Stage, kind: type, after: bool) -> None:
    """Its last row is refused, so that it is staged, found wanting, and undone; at each step an answer is lost."""
    prefix = f"undone-{kind.__name__}-{after}".lower()
    identifier = await stage.begun(300, all_or_nothing=True, prefix=prefix, refused=True)
    lane = Unheard(stage.lanes[0], 1, after, kind)
    assert await work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on)) == {"stores_unavailable": 1}
    await nothing_is_left(stage, identifier, prefix, 300)


async def test_what_comes_out_of_turn_is_a_conflict(stage: Stage) -> None:
    """As from a worker that lost its lease and doesn't know: a second stage, going live too early, undoing what was undone."""
    one, other = [await stage.begun(20, all_or_nothing=True, prefix=prefix) for prefix in ("turn-one", "turn-other")]
    lane = stage.lanes[0]
    await lane.submit(ACME, None, SayRead(one, 20, 20))

    async def out_of_turn(change: Change) -> bool:
        with pytest.raises(Problem) as refused:
            await lane.submit(ACME, None, change)
        return refused.value.code == "conflict"

    assert await out_of_turn(SayRead(other, 20, 20))
    assert await out_of_turn(GoLive(one, check_goes_on))
    assert await out_of_turn(UndoBatch(one, "group", 0))
    await work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on))
    assert [(await stage.found(identifier))["state"] for identifier in (one, other)] == ["ended", "ended"]
    assert await out_of_turn(GoLive(one, check_goes_on))
    undone = await stage.begun(20, all_or_nothing=True, prefix="turn-undone", refused=True)
    await work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on))
    assert await out_of_turn(UndoBatch(undone, "group", 1))


async def test_who_made_it_has_to_stand_when_it_goes_live(stage: Stage) -> None:
    """Every row was staged with their right; that isn't enough."""
    identifier = await stage.begun(20, all_or_nothing=True, prefix="late-stop")
    asked: list[int] = []

    async def stands_once(view: View) -> None:
        asked.append(view.revision)
        if len(asked) > 1:
            raise Problem(403, "person_suspended", "Not any more.")

    await work(ImportRunner(stage.mongo, stage.lanes[0], IMPORTED, lambda: True, stands_once))
    found = await stage.found(identifier)
    assert (found["state"], found["problem"]["code"], found["rows_applied"]) == ("stopped", "person_suspended", 0)
    assert await stage.mongo.database["groups"].count_documents({"id": {"$regex": "^late-stop-"}}) == 0


async def test_two_at_once_undo_no_row_twice(stage: Stage) -> None:
    identifier = await stage.begun(900, all_or_nothing=True, prefix="undone-by-two", refused=True)
    await asyncio.gather(*(work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on)) for lane in stage.lanes))
    await nothing_is_left(stage, identifier, "undone-by-two", 900)


async def test_what_is_all_or_nothing_takes_turns(stage: Stage) -> None:
    """Two at once would have one number, and the first to end would show the other's half: so one stages, and the other waits."""

    async def live() -> int:
        organization = await stage.mongo.database["organizations"].find_one({"_id": ACME})
        assert organization is not None
        return int(organization.get("stages_live", 0))

    before = await live()
    begun = [await stage.begun(250, all_or_nothing=True, prefix=f"turn-{number}", refused=number == 1) for number in range(3)]
    await asyncio.gather(*(work(ImportRunner(stage.mongo, lane, IMPORTED, lambda: True, check_goes_on)) for lane in stage.lanes))
    assert [(await stage.found(identifier))["state"] for identifier in begun] == ["ended", "refused", "ended"]
    assert await live() == before + 2
    stages = [
        {document["staged"] for document in await stage.mongo.database["groups"].find({"id": {"$regex": f"^turn-{number}-"}}).to_list()}
        for number in (0, 2)
    ]
    assert sorted(stages, key=min) == [{before + 1}, {before + 2}]


async def test_who_does_not_lead_does_nothing(stage: Stage) -> None:
    identifier = await stage.begun(5, prefix="idle")
    assert not await ImportRunner(stage.mongo, stage.lanes[0], IMPORTED, lambda: False, check_goes_on).step()
    assert (await stage.found(identifier))["state"] == "waiting"
    await work(ImportRunner(stage.mongo, stage.lanes[0], IMPORTED, lambda: True, check_goes_on))


async def test_a_file_has_a_largest_size(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all parts together; one that is put again counts once."""
    monkeypatch.setattr(collect, "CHARACTERS_MAX", 10)
    asked: Document = {"kind": "groups", "format": "csv", "all_or_nothing": False}
    await stage.lanes[0].submit(ACME, None, Begin("small", asked, None, MAKER))
    for part, text in ((1, "123456"), (2, "1234"), (1, "12345")):
        await stage.lanes[0].submit(ACME, None, PutPart("small", part, text, MAKER))
    with pytest.raises(Problem) as refused:
        await stage.lanes[0].submit(ACME, None, PutPart("small", 3, "12", MAKER))
    assert refused.value.code == "import_too_large"


@pytest.mark.parametrize("ended", [True, False])
async def test_an_import_ends_with_the_session_that_started_it_however_long_it_waited(stage: Stage, ended: bool) -> None:
    """Which sessions have ended is forgotten when no token of theirs lives any more; an import may wait for longer."""
    session, earlier_ms = f"session-{ended}", now_ms() - 6 * 60_000
    if not ended:
        goes_on = Session(session, ACME, MAKER, earlier_ms, earlier_ms, now_ms() + 1_000_000, "")
        await stage.mongo.database["session_families"].insert_one(goes_on.document())
    identifier = await stage.begun(3, prefix=f"late-{ended}".lower(), actor=Actor(ACME, MAKER, earlier_ms, session))
    await work(ImportRunner(stage.mongo, stage.lanes[0], IMPORTED, lambda: True, check_goes_on))
    found = await stage.found(identifier)
    code = None if found.get("problem") is None else found["problem"]["code"]
    assert (found["state"], found["rows_applied"], code) == (("stopped", 0, "token_revoked") if ended else ("ended", 3, None))
