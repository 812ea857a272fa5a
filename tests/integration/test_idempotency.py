"""Repeats with an Idempotency-Key against a real store and a real lane of changes: what no client can bring about from outside.

A process that dies, stands still or loses its store is one `CarryOutOnce` of several here, each with a lane of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import pytest
import pytest_asyncio

from py_service._core_rs import KeyRing
from py_service.errors import Problem, stores_unavailable
from py_service.exchange import Handler, Request, Response, encoded
from py_service.idempotency.keyed import Keyed, digest_of, identifier_of, next_step
from py_service.idempotency.once import CarryOutOnce
from py_service.idempotency.store import ANSWER_BYTES_MAX, CLAIM_MS, COLLECTION, IdempotencyStore
from py_service.journal.log import Log
from py_service.permissions.change import Changed, Plan, View
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import ChangeLane
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import Document, Mongo, now_ms
from tests.integration.store_server import store_server
from tests.unit.edge_support import MadeClaims

if TYPE_CHECKING:
    from py_service._core_rs import Claims

pytestmark = pytest.mark.asyncio(loop_scope="module")
ACME = "acme"


@dataclass(frozen=True, slots=True)
class MakeGroup:
    """A change with an id of its own at each try; `result` in the place of the group, when it is given."""

    name: str
    result: Document | None = None
    takes_authority: ClassVar[bool] = False

    async def plan(self, view: View) -> Plan:
        document: Document = {"id": f"group_{secrets.token_hex(8)}", "name": self.name, "includes": [], "created_at": view.at_ms}
        plan = view.written("group", document, "group_created")
        plan.result = self.result or plan.result
        return plan


class Twin:
    """One process as far as this goes: its lane, and what it keeps of repeats."""

    def __init__(self, mongo: Mongo, lane: ChangeLane, process: str, clock_ms: Callable[[], int] = now_ms) -> None:
        self.lane = lane
        self.store = IdempotencyStore(mongo, KeyRing(bytes(32)), process, clock_ms)
        self.once = CarryOutOnce(self.store)

    async def ask(self, key: str, handler: Handler, body: bytes = b"{}") -> Response:
        claims = cast("Claims", MadeClaims(organization=ACME))
        return await self.once(key, Request("POST", "/v1/groups", {}, {}, {}, body, "request", 0, claims), handler)

    async def make(self, name: str, result: Document | None = None) -> Changed:
        return await self.lane.submit(ACME, None, MakeGroup(name, result))

    def making(self, *names: str, then: Callable[[], Awaitable[None]] | None = None) -> Handler:
        """Carries out a change per name and shows what they came to, and a mark of who made the answer; `then` runs after the first."""

        async def handler(request: Request) -> Response:
            shown: list[object] = []
            for name in names:
                changed = await self.make(name)
                shown.append([changed.revision, (changed.result or {})["id"]])
                if then is not None and len(shown) == 1:
                    await then()
            return encoded(201, {"made": shown, "mark": secrets.token_hex(4)}, {"Location": "/v1/groups"})

        return handler


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongo]:
    with store_server(tmp_path_factory.mktemp("idempotency-store")) as url:
        made = Mongo(url, "idempotency", 5_000)
        await make_indexes(made.database)
        await made.database["organizations"].insert_one({"_id": ACME, "org": ACME, "id": ACME, "name": "Acme", "active": True})
        await made.database["revisions"].insert_one({"_id": ACME, "revision": 1})
        yield made
        await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def twins(mongo: Mongo) -> AsyncIterator[tuple[Twin, Twin]]:
    made: list[Twin] = []
    tasks: list[asyncio.Task[None]] = []
    bus = Bus("redis://127.0.0.1:1", 50)  # it may be away
    for process in ("api-one", "api-other"):
        follower = PermissionFollower(mongo, bus)
        await follower.start()
        lane = ChangeLane(mongo, await Log.birth(mongo, "changes", process), follower, bus, lambda: None)
        tasks.append(asyncio.create_task(lane.run()))
        made.append(Twin(mongo, lane, process))
    yield made[0], made[1]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()


async def groups(mongo: Mongo, name: str) -> int:
    return await mongo.database["groups"].count_documents({"name": name})


async def records(mongo: Mongo) -> int:
    return await mongo.database[COLLECTION].count_documents({})


def key() -> str:
    return secrets.token_hex(8)


def is_replay(answer: Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


async def dies() -> None:
    raise ConnectionError("as if the process were gone")


async def test_a_request_of_two_changes_goes_on_after_the_one_that_took_effect(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    one, other = twins
    again = key()
    with pytest.raises(ConnectionError):
        await one.ask(again, one.making("first", "second", then=dies))
    assert (await groups(mongo, "first"), await groups(mongo, "second")) == (1, 0)
    answer = await other.ask(again, other.making("first", "second"))
    assert (await groups(mongo, "first"), await groups(mongo, "second")) == (1, 1)
    assert answer.status == 201 and is_replay(answer)
    repeats = [await twin.ask(again, twin.making("first", "second")) for twin in twins]
    assert [repeat.body for repeat in repeats] == [answer.body] * 2
    assert (await groups(mongo, "first"), await groups(mongo, "second")) == (1, 1)


async def test_one_that_stood_still_says_what_the_other_said_that_took_its_place(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    """Its claim is over, another carries the request out, and then it goes on: one change, one answer."""
    one, other = twins
    again, waits, goes = key(), asyncio.Event(), asyncio.Event()

    async def stands_still(request: Request) -> Response:
        waits.set()
        await goes.wait()
        return await one.making("still")(request)

    first = asyncio.create_task(one.ask(again, stands_still))
    await waits.wait()
    with pytest.raises(Problem) as early:
        await other.ask(again, other.making("still"))
    assert (early.value.status, early.value.code) == (409, "idempotency_key_in_flight")
    await mongo.database[COLLECTION].update_many({}, {"$set": {"until": now_ms() - 1}})
    second = await other.ask(again, other.making("still"))
    goes.set()
    assert (await first).body == second.body and not is_replay(second)
    assert await groups(mongo, "still") == 1


@pytest.mark.parametrize("gone", [True, False], ids=["on this machine", "elsewhere"])
async def test_the_claim_of_a_dead_process_is_taken_over_by_one(mongo: Mongo, twins: tuple[Twin, Twin], gone: bool) -> None:
    """At once where it is known to be gone, else when the claim is over; of those who try together one does."""
    one, other = twins
    again, name = key(), f"dead-{gone}"
    dead = IdempotencyStore(mongo, KeyRing(bytes(32)), "api-dead")
    assert dead._place is not None
    dead._place = dead._place | ({"began": 1} if gone else {"machine": "another"})
    request = Request("POST", "/v1/groups", {}, {}, {}, b"{}", "request", 0)
    keyed = Keyed(ACME, identifier_of(ACME, "ada", again), digest_of(request), dead)
    assert await dead.claim(keyed) is not None
    if not gone:
        with pytest.raises(Problem) as refused:
            await one.ask(again, one.making(name))
        assert (refused.value.status, refused.value.code) == (409, "idempotency_key_in_flight")
        found = await mongo.database[COLLECTION].find_one({"_id": keyed.identifier})
        assert found is not None and 0 < found["until"] - now_ms() <= CLAIM_MS
        await mongo.database[COLLECTION].update_one({"_id": keyed.identifier}, {"$set": {"until": now_ms() - 1}})
    with pytest.raises(Problem) as reused:
        await one.ask(again, one.making(name), body=b"[]")
    assert reused.value.code == "idempotency_key_reused"
    called: list[Twin] = []

    def counted(twin: Twin) -> Handler:
        async def handler(request: Request) -> Response:
            called.append(twin)
            return await twin.making(name)(request)

        return handler

    answers = await asyncio.gather(*(twin.ask(again, counted(twin)) for twin in (one, other)), return_exceptions=True)
    assert len(called) == 1 and await groups(mongo, name) == 1
    good = [answer for answer in answers if isinstance(answer, Response)]
    assert good and all(isinstance(answer, Response) or (isinstance(answer, Problem) and answer.status == 409) for answer in answers)
    assert (await other.ask(again, other.making(name))).body == good[0].body


async def test_a_claim_is_taken_over_once(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    """Also by one that saw it before another took it, and acts only now. And nobody forgets a claim that isn't theirs any more."""
    one, other = twins
    dead = IdempotencyStore(mongo, KeyRing(bytes(32)), "api-dead", lambda: now_ms() - CLAIM_MS)
    keyed = Keyed(ACME, identifier_of(ACME, "ada", key()), bytes(32), dead)
    token = await dead.claim(keyed)
    seen = (await other.store.find(keyed)).claim
    assert token is not None and seen is not None and seen.over
    assert await one.store.take_over(keyed, seen) is not None
    assert await other.store.take_over(keyed, seen) is None
    await dead.release(keyed, token)
    standing = (await other.store.find(keyed)).claim
    assert standing is not None and not standing.over


async def test_an_answer_that_the_store_did_not_take_is_given_and_made_again(
    mongo: Mongo, twins: tuple[Twin, Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = twins
    again = key()

    async def away(keyed: Keyed, answer: Response) -> Response:
        raise stores_unavailable()

    with monkeypatch.context() as patch:
        patch.setattr(one.store, "keep_answer", away)
        first = await one.ask(again, one.making("told"))
    assert first.status == 201 and not is_replay(first)
    repeat = await other.ask(again, other.making("told"))
    assert is_replay(repeat) and repeat.body.partition(b"mark")[0] == first.body.partition(b"mark")[0]
    assert (await one.ask(again, one.making("told"))).body == repeat.body
    assert await groups(mongo, "told") == 1


async def test_an_answer_of_any_length_is_given(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    one, other = twins
    again = key()

    async def long(request: Request) -> Response:
        made = await one.make("long")
        return Response(201, str(made.revision).encode().ljust(ANSWER_BYTES_MAX + 1))

    first = await one.ask(again, long)
    repeat = await other.ask(again, long)
    assert first.body == repeat.body and is_replay(repeat) and not is_replay(first)
    assert await groups(mongo, "long") == 1


async def test_a_refusal_never_hides_a_change_that_took_effect(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    """A handler that looks before it asks the lane, and so refuses its own repeat: it isn't believed."""
    one, other = twins
    again = key()

    async def looks_first(request: Request) -> Response:
        if await groups(mongo, "looked"):
            raise Problem(409, "id_taken", "There is one.")
        await one.make("looked")
        raise ConnectionError("as if the process were gone")

    with pytest.raises(ConnectionError):
        await one.ask(again, looks_first)
    for twin in (one, other):
        with pytest.raises(Problem) as refused:
            await twin.ask(again, looks_first)
        assert (refused.value.status, refused.value.code) == (409, "idempotent_answer_lost")
    assert await groups(mongo, "looked") == 1


async def test_a_result_that_cannot_be_told_again_changes_nothing(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    one, _ = twins
    before = await records(mongo)

    beside: list[asyncio.Task[Changed]] = []

    async def unkeepable(request: Request) -> Response:
        beside.append(asyncio.create_task(one.make("beside"), context=contextvars.Context()))  # somebody else's, in the same transaction
        await asyncio.sleep(0)
        return encoded(201, (await one.make("unkeepable", {"what": object()})).revision)

    with pytest.raises(Problem) as refused:
        await one.ask(key(), unkeepable)
    assert (refused.value.status, refused.value.code) == (500, "internal")
    assert (await beside[0]).revision > 0
    assert (await groups(mongo, "unkeepable"), await groups(mongo, "beside"), await records(mongo)) == (0, 1, before)


async def test_what_is_done_after_the_answer_belongs_to_no_key(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    one, _ = twins
    answered = asyncio.Event()
    later: list[asyncio.Task[Changed]] = []

    async def afterwards() -> Changed:
        await answered.wait()
        return await one.make("afterwards")

    async def handler(request: Request) -> Response:
        later.append(asyncio.create_task(afterwards()))
        return Response(204)

    assert (await one.ask(key(), handler)).status == 204
    before = await records(mongo)
    answered.set()
    await later[0]
    assert (await groups(mongo, "afterwards"), await records(mongo)) == (1, before)
    assert next_step() is None


async def test_a_record_opens_in_its_own_place_only(mongo: Mongo, twins: tuple[Twin, Twin]) -> None:
    """Who can write to the store can't put one answer in the place of another."""
    one, _ = twins
    mine, theirs = key(), key()
    await one.ask(mine, one.making("mine"))
    await one.ask(theirs, one.making("theirs"))
    places = [f"{identifier_of(ACME, 'ada', each)}:answer" for each in (mine, theirs)]
    moved = await mongo.database[COLLECTION].find_one({"_id": places[1]})
    assert moved is not None
    await mongo.database[COLLECTION].update_one({"_id": places[0]}, {"$set": {"sealed": moved["sealed"]}})
    with pytest.raises(Exception, match="key_sealed_wrongly"):
        await one.ask(mine, one.making("mine"))


async def test_what_a_key_stands_for() -> None:
    """Every part counts, and none can pass for another."""

    def request(method: str = "POST", path: str = "/v1/a", body: bytes = b"b", **query: str) -> Request:
        return Request(method, path, {}, query, {}, body, "request", 0)

    different = [
        request(), request("PUT"), request(path="/v1/ab", body=b""), request(path="/v1/a\ufffd"), request(body=b"b "),
        request(b="c"), request(b="", c=""), request(bc=""), request(body=b""),
    ]  # fmt: skip
    assert len({digest_of(each) for each in different}) == len(different)
    assert digest_of(request(x="1", y="2")) == digest_of(request(y="2", x="1"))
    named = [("acme", "ada", "key"), ("acme", "adak", "ey"), ("acme", "ad", "akey"), ("other", "ada", "key"), ("acme", "ada", "Key")]
    assert len({identifier_of(*each) for each in named}) == len(named)
    assert identifier_of("acme", "ada", "key").startswith("acme:")
