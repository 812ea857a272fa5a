"""A POST that is sent again with its Idempotency-Key: done once, answered as the first time, by whichever process, whoever died meanwhile.

A proxy before MongoDB holds or loses the answers to commits, so that a process can be killed exactly between commit and answer.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import bson
import httpx
import pytest
import pytest_asyncio

from py_service.idempotency.store import COLLECTION, EXPIRED_KEPT_MS, KEPT_MS, delete_expired
from py_service.stores.mongo import Document, now_ms
from tests.e2e.conformance import conformance_of
from tests.e2e.described import Asking, Described, kind_made_by, named_in_example, operations
from tests.e2e.evidence import faults_in_the_books, projected, standing
from tests.e2e.proxy import MongoProxy
from tests.e2e.route_table import route_table
from tests.e2e.running import Service, running_service, until
from tests.e2e.test_foreign_ids import SECRET_EXAMPLES

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR, STRANGER = "berlin-main-entrance", "stranger-0"
MANAGER = "stranger-1"
GRANT: Document = {"person": STRANGER, "door": DOOR}
PARALLEL = 16
BESIDE = {COLLECTION, "events"}
PASSED_ON = "POST /v1/passes/{pass}/pass-on"  # of a pass that was accepted: tests/e2e/test_passes.py repeats it
STEP = re.compile(r":[0-9]{1,3}\Z")  # the record of a change


@dataclass(slots=True)
class Line:
    """The running service behind its proxy, and three clients of each of its two workers. A client has one connection."""

    service: Service
    mongo: MongoProxy
    workers: dict[int, list[httpx.AsyncClient]] = field(default_factory=dict)

    @property
    def clients(self) -> list[httpx.AsyncClient]:
        """One of each worker."""
        return [clients[0] for clients in self.workers.values()]

    async def post(
        self, client: httpx.AsyncClient, path: str, key: str, json: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await client.post(path, json=json, headers={"Idempotency-Key": key} | (headers or self.service.owner()))

    async def grants(self) -> int:
        return await self.service.database["grants"].count_documents({"org": self.service.demo.id})

    async def revision(self, organization: str | None = None) -> int:
        found = await self.service.database["revisions"].find_one({"_id": organization or self.service.demo.id})
        assert found is not None
        return int(found["revision"])

    async def standing(self) -> dict[str, object]:
        """All that a request could change, without the keys themselves and what the worker makes of the journal when it comes to it."""
        return {name: found for name, found in (await standing(self.service)).items() if name not in BESIDE}

    async def imports_over(self) -> bool:
        """What was started goes on without whoever asked for it."""
        return await self.service.database["imports"].count_documents({"todo": True}) == 0

    async def records(self) -> list[Document]:
        return await self.service.database[COLLECTION].find({}).to_list()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    folder = tmp_path_factory.mktemp("repeats")
    async with (
        MongoProxy() as mongo,
        running_service(folder, locks=False, strangers=2, operator_organization="nordlicht", mongo_through=mongo) as service,
    ):
        service.hook = (await conformance_of(service)).hook
        async with service.client() as client:
            roles = {"roles": [{"role": "admin", "sites": None}]}
            made = await client.put(f"/v1/persons/{MANAGER}/roles", json=roles, headers=service.owner())
            assert made.status_code == 200, made.text
        yield Line(service, mongo)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def workers(line: Line) -> AsyncIterator[None]:
    async with line.service.clients_of_each_worker(3) as line.workers:
        yield


def key() -> str:
    return secrets.token_urlsafe(12)


def told(answer: httpx.Response) -> tuple[int, str, str | None, str | None, str]:
    """All of an answer that a repeat has to give again."""
    headers = answer.headers
    return answer.status_code, answer.text, headers.get("location"), headers.get("etag"), headers.get("content-type", "")


def is_replay(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("idempotent-replayed") == "true")


async def test_every_worker_gives_the_first_answer_again(line: Line) -> None:
    one, other = line.clients
    again = key()
    first = await line.post(one, "/v1/persons", again, {"name": "Ada Once"})
    assert first.status_code == 201 and first.headers["location"] and first.headers["etag"] and not is_replay(first)
    revision = await line.revision()
    for client in (one, other, one):
        repeat = await line.post(client, "/v1/persons", again, {"name": "Ada Once"})
        assert told(repeat) == told(first) and is_replay(repeat)
        assert repeat.headers["x-request-id"] != first.headers["x-request-id"]
    assert await line.revision() == revision
    assert await line.service.database["persons"].count_documents({"name": "Ada Once"}) == 1
    # What is stored tells nobody what was asked or answered, nor which key it was.
    stored = b"".join(bson.encode(document) for document in await line.records())
    assert stored and all(word.encode() not in stored for word in ("Ada Once", first.json()["id"], again))


async def test_sixteen_at_once_over_two_workers_are_one(line: Line) -> None:
    async with line.service.clients_of_each_worker(PARALLEL // 2) as each:
        clients = [client for found in each.values() for client in found[: PARALLEL // 2]]
        for _ in range(5):
            again, before, revision = key(), await line.grants(), await line.revision()
            answers = await asyncio.gather(*(line.post(client, "/v1/grants", again, GRANT) for client in clients))
            assert (await line.grants(), await line.revision()) == (before + 1, revision + 1)
            good = [answer for answer in answers if answer.status_code == 201]
            assert len({told(answer) for answer in good}) == 1 and sum(not is_replay(answer) for answer in good) == 1
            for answer in answers:
                if answer.status_code != 201:
                    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_flight"), answer.text
                    assert answer.headers["retry-after"] == "1"
            last = await asyncio.gather(*(line.post(client, "/v1/grants", again, GRANT) for client in clients))
            assert {told(answer) for answer in last} == {told(good[0])} and all(is_replay(answer) for answer in last)


async def test_while_the_first_is_under_way_every_worker_says_so(line: Line) -> None:
    (one, same, third, *_), (other, *_) = line.workers.values()
    again, before = key(), await line.grants()
    await line.service.database[COLLECTION].delete_many({})
    async with line.mongo.holding("changes-", before=True) as held:
        first = asyncio.create_task(line.post(one, "/v1/grants", again, GRANT))
        await asyncio.wait_for(held.caught.wait(), 5)
        for client in (same, other):
            early = await line.post(client, "/v1/grants", again, GRANT)
            assert (early.status_code, early.json()["code"]) == (409, "idempotency_key_in_flight"), early.text
            another = await line.post(client, "/v1/grants", again, GRANT | {"effect": "deny"})
            assert (another.status_code, another.json()["code"]) == (422, "idempotency_key_reused"), another.text
        beside = asyncio.create_task(third.post("/v1/grants", json=GRANT, headers=line.service.owner()))
        await asyncio.sleep(0.1)  # it waits for the same lane
        held.release()
    assert ((await first).status_code, (await beside).status_code) == (201, 201)
    assert told(await line.post(other, "/v1/grants", again, GRANT)) == told(await first)
    assert await line.grants() == before + 2
    assert len(await line.records()) == 3, "a claim, a change, an answer; what waited beside it without a key is no part of it"


async def test_another_request_under_the_same_key_is_refused(line: Line) -> None:
    one, other = line.clients
    again = key()
    first = await line.post(one, "/v1/groups", again, {"name": "Night"})
    assert first.status_code == 201
    before = await line.standing()
    asked: list[tuple[str, object]] = [
        ("/v1/groups", {"name": "Day"}),
        ("/v1/groups", {"name": "Night", "includes": []}),
        ("/v1/calendars", {"name": "Night"}),
        ("/v1/groups?a=b", {"name": "Night"}),
    ]
    for client in (one, other):
        for path, body in asked:
            answer = await line.post(client, path, again, body)
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), (path, answer.text)
    assert await line.standing() == before
    assert told(await line.post(other, "/v1/groups", again, {"name": "Night"})) == told(first)


async def test_a_key_is_its_callers_own(line: Line) -> None:
    """The same key of another person, and of another organization, is another key: nobody learns of somebody else's."""
    service, again = line.service, key()
    neighbour = service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
    body = {"name": "Whose"}
    answers = [
        await line.post(line.clients[0], "/v1/groups", again, body),
        await line.post(line.clients[1], "/v1/groups", again, body, service.headers(MANAGER)),
        await line.post(line.clients[0], "/v1/groups", again, body, neighbour),
    ]
    assert [(answer.status_code, is_replay(answer)) for answer in answers] == [(201, False)] * 3
    assert len({answer.json()["id"] for answer in answers}) == 3
    found = await service.database["groups"].find({"name": "Whose"}).to_list()
    assert sorted(group["org"] for group in found) == sorted([service.demo.id, service.demo.id, service.neighbour.id])
    again_each = [
        await line.post(line.clients[1], "/v1/groups", again, body, headers)
        for headers in (service.owner(), service.headers(MANAGER), neighbour)
    ]
    assert [told(answer) for answer in again_each] == [told(answer) for answer in answers]


async def test_what_was_refused_may_be_asked_again(line: Line) -> None:
    one, other = line.clients
    again, records = key(), len(await line.records())
    body = GRANT | {"schedule": "not-yet"}
    for client in (one, other):
        refused = await line.post(client, "/v1/grants", again, body)
        assert (refused.status_code, refused.json()["code"]) == (404, "schedule_unknown")
    malformed = await line.post(one, "/v1/grants", again, {"person": STRANGER})
    assert malformed.status_code == 400
    assert len(await line.records()) == records
    made = await one.post("/v1/schedules", json={"id": "not-yet", "name": "Soon", "windows": []}, headers=line.service.owner())
    assert made.status_code == 201
    taken = await line.post(other, "/v1/grants", again, body)
    assert taken.status_code == 201 and not is_replay(taken)
    assert told(await line.post(one, "/v1/grants", again, body)) == told(taken)


async def test_who_may_not_any_more_gets_no_old_answer(line: Line) -> None:
    service, again = line.service, key()
    manager = service.headers(MANAGER)
    first = await line.post(line.clients[0], "/v1/groups", again, {"name": "Until now"}, manager)
    assert first.status_code == 201
    for what, status in (("suspend", 403), ("resume", 401)):  # resumed, the tokens of before stay void
        done = await line.clients[0].post(f"/v1/persons/{MANAGER}/{what}", headers=service.owner())
        assert done.status_code == 200, done.text
        for client in line.clients:
            repeat = await line.post(client, "/v1/groups", again, {"name": "Until now"}, manager)
            assert repeat.status_code == status, repeat.text
    fresh = service.headers(MANAGER)
    assert told(await line.post(line.clients[1], "/v1/groups", again, {"name": "Until now"}, fresh)) == told(first)


async def test_a_worker_killed_between_commit_and_answer_leaves_its_answer_to_the_other(line: Line) -> None:
    (killed, (one, *_)), (_, (other, *_)) = line.workers.items()
    again, before, revision = key(), await line.grants(), await line.revision()
    async with line.mongo.holding("changes-") as held:
        asked = asyncio.create_task(line.post(one, "/v1/grants", again, GRANT))
        await asyncio.wait_for(held.caught.wait(), 5)
        assert await line.grants() == before + 1, "committed, and not answered"
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await asked
        line.mongo.hold_no_more()
        repeat = await line.post(other, "/v1/grants", again, GRANT)
    assert repeat.status_code == 201 and is_replay(repeat), repeat.text
    assert repeat.headers["location"] == f"/v1/grants/{repeat.json()['id']}"
    assert (await line.grants(), await line.revision(), repeat.json()["revision"]) == (before + 1, revision + 1, revision + 1)
    assert (await line.service.database["grants"].find_one({"_id": f"{line.service.demo.id}:{repeat.json()['id']}"})) is not None
    assert told(await line.post(other, "/v1/grants", again, GRANT)) == told(repeat)


async def test_a_worker_killed_before_its_commit_has_done_nothing(line: Line) -> None:
    (killed, (one, *_)), (_, (other, *_)) = line.workers.items()
    again, before = key(), await line.grants()
    async with line.mongo.holding("changes-", before=True) as held:
        asked = asyncio.create_task(line.post(one, "/v1/grants", again, GRANT))
        await asyncio.wait_for(held.caught.wait(), 5)
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await asked
        line.mongo.hold_no_more()
        answers: list[httpx.Response] = []

        async def carried_out() -> bool:
            answers.append(await line.post(other, "/v1/grants", again, GRANT))
            return bool(answers[-1].status_code == 201)

        await until(carried_out, 15)  # what the dead process had begun is ended first
    assert all(answer.status_code == 503 for answer in answers[:-1]), [answer.text for answer in answers]
    assert not is_replay(answers[-1])
    assert await line.grants() == before + 1


async def test_after_an_unknown_outcome_a_repeat_tells_the_truth(line: Line) -> None:
    """The server commits, and every answer to the commit is lost until the process gives up."""
    one, other = line.clients
    again, before = key(), await line.grants()
    async with line.mongo.holding("changes-") as held:
        asked = asyncio.create_task(line.post(one, "/v1/grants", again, GRANT))
        await asyncio.wait_for(held.caught.wait(), 5)
        held.lose()
        unknown = await asked
    assert (unknown.status_code, unknown.json()["code"]) == (503, "outcome_unknown"), unknown.text
    for client in (other, one):
        repeat = await line.post(client, "/v1/grants", again, GRANT)
        assert repeat.status_code == 201 and is_replay(repeat), repeat.text
    assert await line.grants() == before + 1


async def test_every_post_is_answered_again_from_what_its_transaction_recorded(line: Line) -> None:
    """As after a crash between commit and answer: the answer's record is taken away, and the answer made again. From the API's document.

    An operation that shows what isn't made of the request and of what the change came to (a secret made beside the plan) fails here.
    """
    keyed = {f"{route.method} {route.pattern}" for route in await route_table() if route.keyed and not route.own_key}
    keyed -= SECRET_EXAMPLES | {PASSED_ON}
    document = (await conformance_of(line.service)).document
    pending = [described for described in operations(document) if described.name in keyed]
    identifiers: dict[str, str] = {}
    changing: list[str] = []
    assert len(pending) == len(keyed)
    while pending:
        ready = [described for described in pending if named_in_example(described) <= identifiers.keys()]
        assert ready, f"each names what isn't made yet: {[described.name for described in pending]}"
        for described in ready:
            answer, changed = await answered_three_times(line, described, described.good(identifiers))
            changing += [described.name] if changed else []
            kind = kind_made_by(document, described)
            if kind is not None:
                identifiers[kind] = answer.headers["location"].rpartition("/")[2]
            pending.remove(described)
    assert len(changing) >= 15, changing


async def test_a_pass_that_was_accepted_is_told_again_from_what_its_transaction_recorded(line: Line) -> None:
    """Its link isn't in the document's example. It is looked up before the change, and outlives every key."""
    until_tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wanted = {"name": "A visit", "doors": [DOOR], "valid_until": until_tomorrow, "uses": 2}
    given = await line.post(line.clients[0], "/v1/passes", key(), wanted)
    found = next(each for each in operations((await conformance_of(line.service)).document) if each.name == "POST /v1/me/passes")
    asking = Asking("POST", "/v1/me/passes", {}, {}, {}, {"token": given.json()["link"].partition("#")[2]})
    answer, changed = await answered_three_times(line, found, asking)
    assert (answer.json()["pass"]["uses_left"], changed) == (2, True)


async def answered_three_times(line: Line, described: Described, asking: Asking) -> tuple[httpx.Response, bool]:
    """First; again; and again without the answer's record. The first answer, and whether it was of a change."""
    one, other = line.clients
    records = line.service.database[COLLECTION]
    headers = line.service.owner() | {"Idempotency-Key": key()}
    await records.delete_many({})
    first = await asking.send(one, headers)
    assert first.is_success and not is_replay(first), (described.name, first.text)
    await until(line.imports_over)
    before = await line.standing()
    assert told(await asking.send(other, headers)) == told(first), described.name
    kept = [record["_id"] for record in await line.records()]
    steps = [identifier for identifier in kept if STEP.search(identifier)]
    await records.delete_many({"_id": {"$in": [identifier for identifier in kept if identifier not in steps]}})
    made_again = await asking.send(other, headers)
    assert (made_again.status_code, is_replay(made_again)) == (first.status_code, bool(steps)), (described.name, made_again.text)
    if steps:
        assert without_moment(made_again) == without_moment(first), described.name
    assert await line.standing() == before, described.name
    return first, bool(steps)


def without_moment(answer: httpx.Response) -> tuple[object, str | None, str | None]:
    """`effective_by` is of who vouches for it."""
    body = {field: value for field, value in answer.json().items() if field != "effective_by"}
    return body, answer.headers.get("location"), answer.headers.get("etag")


async def test_a_bad_key_is_refused_by_every_post(line: Line) -> None:
    before = await line.standing()
    routes = [route for route in await route_table() if route.method == "POST"]
    for route in routes:
        path = re.sub(r"{\w+}", "x", route.pattern)
        body: Document | None = {} if route.body_bytes_max else None
        for bad in ("", "a" * 129, "two words"):
            answer = await line.post(line.clients[0], path, bad, body)
            assert (answer.status_code, answer.json()["code"]) == (400, "header_invalid"), (path, answer.text)
    assert len(routes) >= 25 and await line.standing() == before


async def test_who_has_not_signed_in_has_no_keys(line: Line) -> None:
    """A sign-in is another session each time; a refresh token that comes again is a theft, with the same key too."""
    again, account = {"Idempotency-Key": key()}, line.service.made.account("owner")
    client = line.clients[0]
    body = {"email": account.email, "password": account.password}
    first, second = [await client.post("/v1/sign-in", json=body, headers=again) for _ in range(2)]
    assert first.status_code == second.status_code == 200
    assert first.json()["refresh_token"] != second.json()["refresh_token"]
    refresh = {"refresh_token": first.json()["refresh_token"]}
    answers = [await client.post("/v1/refresh", json=refresh, headers=again) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[1].json()["code"] == "refresh_token_reused"
    assert not any(is_replay(answer) for answer in answers)


async def test_after_a_day_a_key_is_new_and_its_records_are_swept(line: Line) -> None:
    database, again = line.service.database, key()
    first = await line.post(line.clients[0], "/v1/grants", again, GRANT)
    records = await line.records()
    assert all(0 < record["expires_at"] - now_ms() <= KEPT_MS for record in records)
    await database[COLLECTION].update_many({}, {"$set": {"expires_at": now_ms() - 1}})
    anew = await line.post(line.clients[1], "/v1/grants", again, GRANT)
    assert anew.status_code == 201 and not is_replay(anew) and anew.json()["id"] != first.json()["id"]
    assert told(await line.post(line.clients[0], "/v1/grants", again, GRANT)) == told(anew)

    living = {record["_id"] for record in await line.records() if record["expires_at"] > now_ms()}
    while await delete_expired(database, now_ms() + EXPIRED_KEPT_MS):
        pass
    assert {record["_id"] for record in await line.records()} == living and len(living) == 3


async def test_the_books_are_in_order(line: Line) -> None:
    await projected(line.service)
    assert await faults_in_the_books(line.service) == []
