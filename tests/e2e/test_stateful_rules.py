"""Rules that the store settles, through every process and over two api workers: what is used up, who is inside, who asked first."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, cast

import httpx
import pytest
import pytest_asyncio
from pymongo.asynchronous.database import AsyncDatabase
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from py_service.access import occupancy as occupancy_module
from py_service.access.occupancy import AreaOccupancy
from py_service.permissions import whereabouts
from py_service.permissions.listing import stored_object
from py_service.permissions.states import state_document
from py_service.stores.mongo import Document, Mongo, now_ms
from tests.e2e.conformance import conformance_of
from tests.e2e.mute_lock import jammed_lock, mute_lock, say
from tests.e2e.running import Service, running_service, until

if TYPE_CHECKING:
    from py_service._core_rs import PermissionIndex
    from py_service.permissions.lane import ChangeLane

pytestmark = pytest.mark.asyncio(loop_scope="module")

SITE = "berlin"
GUESTS = [f"stranger-{number}" for number in range(6)]
PASSES = {"once": 1, "thrice": 3, "seven": 7}
NUMBERS = itertools.count()


async def give_passes(database: AsyncDatabase[Document]) -> None:
    """Grants as an accepted pass leaves them: two of one parent that is good for three uses, and three that stand alone."""
    organization = str((await database["persons"].find_one({"id": GUESTS[0]}) or {})["org"])
    found = [document["id"] async for document in database["doors"].find({"org": organization}) if document["site"] != SITE]
    doors = [door for door in found if not door[-1].isdigit()]  # of the ground floor: the lock of the last door of all isn't there
    alone = {name: ([{"pass": name, "uses": uses}], GUESTS[0]) for name, uses in (PASSES | {"explained": 3}).items()}
    chain = {
        name: ([{"pass": name, "uses": 3}, {"pass": "parent", "uses": 3}], person)
        for name, person in zip(("c1", "c2"), GUESTS[1:], strict=False)
    }
    for index, (name, (counts, person)) in enumerate((alone | chain).items()):
        grant = {
            "id": f"grant-{name}", "effect": "allow", "person": person, "group": None, "door": doors[index if name in alone else 4],
            "area": None, "site": None, "schedule": None, "valid_from": None, "valid_until": None,
            "pass": {"id": name, "given_by": None, "counts": counts},
        }  # fmt: skip
        await database["grants"].insert_one(stored_object(organization, "grant", grant))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("stateful")
    async with running_service(folder, strangers=len(GUESTS), doors=56, absent=1, prepare=give_passes) as running:
        running.hook = (await conformance_of(running)).hook
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as made:
        yield made


async def made(service: Service, client: httpx.AsyncClient, path: str, body: dict[str, object]) -> str:
    answer = await client.post(path, json=body, headers=service.owner())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def door_with_lock(service: Service, client: httpx.AsyncClient, **terms: object) -> str:
    """One of the demo's doors, with these terms, to which every guest here holds a grant."""
    doors = [document["id"] async for document in service.database["doors"].find({"org": service.demo.id}) if document["site"] == SITE]
    door = str(doors[next(NUMBERS)])
    answer = await client.patch(f"/v1/doors/{door}", json={"mode": "locked", **terms}, headers=service.owner())
    assert answer.status_code == 200, answer.text
    return door


async def allow(service: Service, client: httpx.AsyncClient, person: str, door: str) -> str:
    return await made(service, client, "/v1/grants", {"person": person, "door": door})


async def ask(service: Service, client: httpx.AsyncClient, person: str, door: str, pin: str | None = None) -> tuple[int, str]:
    body = None if pin is None else {"pin": pin}
    answer = await client.post(f"/v1/doors/{door}/unlock", headers=service.headers(person) | {"Prefer": "wait=5"}, json=body)
    told = answer.json()
    return answer.status_code, str(told.get("code") or told["state"])


async def record(service: Service, key: str) -> Document:
    return await service.database["states"].find_one({"_id": f"{service.demo.id}:{key}"}) or {}


@pytest.mark.parametrize(("name", "uses"), PASSES.items())
async def test_a_pass_is_used_exactly_n_times_under_parallel_tries(
    service: Service, client: httpx.AsyncClient, name: str, uses: int
) -> None:
    grant = await service.database["grants"].find_one({"_id": f"{service.demo.id}:grant-{name}"})
    assert grant is not None
    moved = len(service.moves())
    async with service.clients_of_each_worker(each=8) as by_worker:
        tries = [ask(service, phone, GUESTS[0], grant["door"]) for phones in by_worker.values() for phone in phones[:8]]
        assert len(tries) == 16
        answers = Counter(await asyncio.gather(*tries))
    assert answers == Counter({(200, "unlocked"): uses, (403, "pass_used_up"): 16 - uses})
    assert len(service.moves()) - moved == uses
    assert (await record(service, f"pass.{name}"))["used"] == uses


async def test_what_was_passed_on_counts_against_what_it_came_from(service: Service, client: httpx.AsyncClient) -> None:
    grant = await service.database["grants"].find_one({"_id": f"{service.demo.id}:grant-c1"})
    assert grant is not None
    answers = Counter(await asyncio.gather(*(ask(service, client, GUESTS[1 + number % 2], grant["door"]) for number in range(16))))
    assert answers == Counter({(200, "unlocked"): 3, (403, "pass_used_up"): 13})
    assert (await record(service, "pass.parent"))["used"] == 3


async def test_an_area_holds_so_many_and_nobody_enters_twice(service: Service, client: httpx.AsyncClient) -> None:
    entry = await door_with_lock(service, client)
    area = await made(service, client, "/v1/areas", {"name": "Vault", "site": SITE, "anti_passback": "hard", "occupancy_max": 2})
    leave = await door_with_lock(service, client)
    for door, terms in ((entry, {"enters": area}), (leave, {"leaves": area})):
        assert (await client.patch(f"/v1/doors/{door}", json=terms, headers=service.owner())).status_code == 200
    for person in GUESTS[:4]:
        for door in (entry, leave):
            await allow(service, client, person, door)
    assert (await client.delete(f"/v1/areas/{area}", headers=service.owner())).json()["code"] == "in_use"
    answers = Counter(await asyncio.gather(*(ask(service, client, person, entry) for person in GUESTS[:4])))
    assert answers == Counter({(200, "unlocked"): 2, (403, "occupancy_full"): 2})
    inside = [document["person"] async for document in service.database["states"].find({"inside_of": f"{service.demo.id}:{area}"})]
    assert len(inside) == 2 and (await record(service, f"area.{area}"))["count"] == 2
    assert await ask(service, client, inside[0], entry) == (403, "anti_passback")
    assert await ask(service, client, inside[0], leave) == (200, "unlocked")
    assert await ask(service, client, inside[0], leave) == (200, "unlocked"), "leaving is never refused"
    assert (await record(service, f"area.{area}"))["count"] == 1
    assert await ask(service, client, inside[0], entry) == (200, "unlocked")


async def occupancy(service: Service, client: httpx.AsyncClient, area: str, query: str = "") -> tuple[int, list[str], str | None]:
    told = (await client.get(f"/v1/areas/{area}/occupancy{query}", headers=service.owner())).json()
    return told["count"], [one["person"] for one in told["items"]], told["next_cursor"]


async def test_who_is_inside_is_told_and_can_be_reset(service: Service, client: httpx.AsyncClient) -> None:
    entry = await door_with_lock(service, client)
    area = await made(service, client, "/v1/areas", {"name": "Lab", "site": SITE, "anti_passback": "hard"})
    assert (await client.patch(f"/v1/doors/{entry}", json={"enters": area}, headers=service.owner())).status_code == 200
    three = GUESTS[:3]
    for person in three:
        await allow(service, client, person, entry)
        assert await ask(service, client, person, entry) == (200, "unlocked")
    assert await occupancy(service, client, area) == (3, three, None)
    _, first, cursor = await occupancy(service, client, area, "?limit=2")
    assert (first, await occupancy(service, client, area, f"?limit=2&cursor={cursor}")) == (three[:2], (3, three[2:], None))

    async def reset(body: object = None, caller: Literal["owner", "employee"] = "owner") -> tuple[int, str | None]:
        headers = service.headers(service.demo.cast[caller].id)
        answer = await client.post(f"/v1/areas/{area}/occupancy/reset", json=body, headers=headers)
        return answer.status_code, answer.json().get("code")

    assert await reset({"person": three[0]}, "employee") == (403, "role_missing")
    assert await reset({"person": "nobody-at-all"}) == (404, "person_unknown")
    assert await reset({"person": GUESTS[4]}) == (200, None), "who isn't inside is left outside"
    assert await ask(service, client, three[0], entry) == (403, "anti_passback")
    assert await reset({"person": three[0]}) == (200, None)
    assert await occupancy(service, client, area) == (2, three[1:], None)
    assert await ask(service, client, three[0], entry) == (200, "unlocked")
    assert await ask(service, client, three[1], entry) == (403, "anti_passback"), "only the one was let off"
    assert await reset() == (200, None)
    assert await occupancy(service, client, area) == (0, [], None)
    answers = await asyncio.gather(*(ask(service, client, person, entry) for person in three), reset(), reset())
    assert Counter(answers[:3]) == Counter({(200, "unlocked"): 3}) and answers[3:] == [(200, None)] * 2
    count, inside, _ = await occupancy(service, client, area)
    assert count == len(inside), "entering races with a reset, and the count is of those inside whichever was first"


async def test_who_was_there_before_a_reset_hides_nobody_and_is_swept(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More people than a roll call reads had been inside when the area was reset, all of them before whoever enters now."""
    entry, states = await door_with_lock(service, client), service.database["states"]
    area = await made(service, client, "/v1/areas", {"name": "Hall", "site": SITE, "anti_passback": "soft"})
    assert (await client.patch(f"/v1/doors/{entry}", json={"enters": area}, headers=service.owner())).status_code == 200
    await allow(service, client, GUESTS[5], entry)
    keys = [f"inside.{area}.a-{number}" for number in range(5)]
    await states.insert_many([state_document(service.demo.id, key, {"entered_at": 1_700_000_000_000}) for key in keys])
    assert (await client.post(f"/v1/areas/{area}/occupancy/reset", headers=service.owner())).status_code == 200
    assert await ask(service, client, GUESTS[5], entry) == (200, "unlocked")
    assert await occupancy(service, client, area) == (1, [GUESTS[5]], None)

    monkeypatch.setattr(occupancy_module, "TOGETHER", 1)
    monkeypatch.setattr(whereabouts, "STALE_AT_ONCE_MAX", 2)
    settings = service.stack.settings
    mongo = Mongo(str(settings.mongo_url), settings.mongo_database, settings.store_timeout_ms)
    try:
        roll_call = AreaOccupancy(cast("ChangeLane", None), cast("PermissionIndex", None), mongo)
        _, inside = await roll_call._inside(service.demo.id, area, None, 2)
        assert [person for _, person in inside] == [GUESTS[5]]

        async def swept() -> bool:  # the worker may be at it, too
            await whereabouts.delete_stale(mongo, now_ms())
            return not await record(service, f"stale.{area}")

        await until(swept)
    finally:
        await mongo.close()
    assert [one["person"] async for one in states.find({"inside_of": f"{service.demo.id}:{area}"})] == [GUESTS[5]]
    assert await occupancy(service, client, area) == (1, [GUESTS[5]], None)


async def test_a_roll_call_tells_everybody_once_however_many_entered_together(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages of any length, more in one moment than are read at once; who leaves, and who enters, while it goes on moves nobody else."""
    monkeypatch.setattr(occupancy_module, "TOGETHER", 2)
    settings, states, drawn = service.stack.settings, service.database["states"], random.Random(20_261_129)
    mongo = Mongo(str(settings.mongo_url), settings.mongo_database, settings.store_timeout_ms)
    roll_call = AreaOccupancy(cast("ChangeLane", None), cast("PermissionIndex", None), mongo)
    try:
        for number in range(12):
            area, moments = f"drawn-{number}", drawn.choice((1, 3, 40))
            there = {f"p-{person}": 1_700_000_000_000 + drawn.randrange(moments) for person in range(drawn.choice((0, 1, 30, 60)))}
            documents = [state_document(service.demo.id, f"inside.{area}.{one}", {"entered_at": at_ms}) for one, at_ms in there.items()]
            if documents:
                await states.insert_many(documents)
            expected, told = sorted((at_ms, one) for one, at_ms in there.items()), list[tuple[int, str]]()
            wanted = drawn.choice((1, 4, 100))
            while True:
                _, page = await roll_call._inside(service.demo.id, area, told[-1] if told else None, wanted + 1)
                told += page[:wanted]
                if len(page) <= wanted:
                    break
                if drawn.random() < 0.3:  # who was told of last leaves, and somebody enters
                    await states.delete_one({"_id": f"{service.demo.id}:inside.{area}.{told[-1][1]}"})
                    late = (1_700_000_100_000 + len(told), f"late-{len(told)}")
                    await states.insert_one(state_document(service.demo.id, f"inside.{area}.{late[1]}", {"entered_at": late[0]}))
                    expected.append(late)
            assert told == expected, (area, wanted)
    finally:
        await mongo.close()


async def test_who_is_deleted_is_inside_no_more(service: Service, client: httpx.AsyncClient) -> None:
    entry = await door_with_lock(service, client)
    area = await made(service, client, "/v1/areas", {"name": "Cell", "site": SITE, "anti_passback": "hard", "occupancy_max": 1})
    other = await made(service, client, "/v1/areas", {"name": "Not there", "site": SITE, "occupancy_max": 1})
    assert (await client.patch(f"/v1/doors/{entry}", json={"enters": area}, headers=service.owner())).status_code == 200
    leaving, staying = [
        await made(service, client, "/v1/persons", {"name": name, "email": f"{name}@mail.example"}) for name in ("leaving", "staying")
    ]
    for person in (leaving, staying):
        await allow(service, client, person, entry)
    assert await ask(service, client, leaving, entry) == (200, "unlocked")
    assert await ask(service, client, staying, entry) == (403, "occupancy_full")
    held = await record(service, f"inside.{area}.{leaving}")
    assert (await client.delete(f"/v1/persons/{leaving}", headers=service.owner())).status_code == 200
    assert await occupancy(service, client, area) == (0, [], None)
    assert await ask(service, client, staying, entry) == (200, "unlocked")
    assert await occupancy(service, client, area) == (1, [staying], None) and await occupancy(service, client, other) == (0, [], None)

    # The door is in another area, and only leads into this one: its lockdown shuts it, and isn't left by a move.
    assert (await client.post(f"/v1/areas/{area}/lockdown", headers=service.owner())).status_code == 200
    assert await ask(service, client, staying, entry) == (403, "area_locked_down")
    moved = await client.patch(f"/v1/doors/{entry}", json={"enters": None}, headers=service.owner())
    assert (moved.status_code, moved.json()["code"]) == (409, "locked_down")
    assert (await client.post(f"/v1/areas/{area}/release", headers=service.owner())).status_code == 200

    # Whom an older version left there is let out by a reset, alone.
    await service.database["states"].replace_one({"_id": held["_id"]}, {name: held[name] for name in held if name != "inside_by"})
    await service.database["states"].update_one({"_id": f"{service.demo.id}:area.{area}"}, {"$inc": {"count": 1}})
    for _ in range(2):
        answer = await client.post(f"/v1/areas/{area}/occupancy/reset", json={"person": leaving}, headers=service.owner())
        assert answer.status_code == 200, answer.text
        assert await occupancy(service, client, area) == (1, [staying], None)

    async def told() -> list[tuple[str, object]]:
        events = await service.database["events"].find({"subject": area, "kind": "management.area_reset"}).to_list()
        return [(event["person"], event["detail"]) for event in events]

    async def both_told() -> bool:
        return await told() == [(leaving, {"persons": 1, "occupancy": 0}), (leaving, {"persons": 1, "occupancy": 1})]

    await until(both_told)


async def test_an_area_that_counts_again_begins_with_nobody_inside(service: Service, client: httpx.AsyncClient) -> None:
    entry, person = await door_with_lock(service, client), GUESTS[3]
    area = await made(service, client, "/v1/areas", {"name": "Archive", "site": SITE, "anti_passback": "hard"})
    await allow(service, client, person, entry)

    async def change(path: str, **fields: object) -> None:
        assert (await client.patch(f"/v1/{path}", json=fields, headers=service.owner())).status_code == 200

    await change(f"doors/{entry}", enters=area)
    assert await ask(service, client, person, entry) == (200, "unlocked")
    await change(f"areas/{area}", anti_passback="off", occupancy_max=5)
    await change(f"areas/{area}", anti_passback="hard", occupancy_max=None)
    assert await ask(service, client, person, entry) == (403, "anti_passback"), "it counted all the time"
    await change(f"areas/{area}", anti_passback="off")
    assert await ask(service, client, person, entry) == (200, "unlocked")
    await change(f"areas/{area}", anti_passback="hard")
    assert await occupancy(service, client, area) == (0, [], None)
    assert await ask(service, client, person, entry) == (200, "unlocked"), "where they went meanwhile nobody knows"
    assert await ask(service, client, person, entry) == (403, "anti_passback")


async def test_who_passes_back_where_it_is_allowed_is_told_to_managers(service: Service, client: httpx.AsyncClient) -> None:
    """Soft anti-passback: nobody is refused, and the events say who, live and when they are listed; of two persons each."""
    entry, pair = await door_with_lock(service, client), await door_with_lock(service, client, two_persons_seconds=60)
    area = await made(service, client, "/v1/areas", {"name": "Office", "site": SITE, "anti_passback": "soft"})
    one, two = GUESTS[:2]
    for door in (entry, pair):
        assert (await client.patch(f"/v1/doors/{door}", json={"enters": area}, headers=service.owner())).status_code == 200
        for person in (one, two):
            await allow(service, client, person, door)
    token = (await client.post("/v1/me/realtime-token", headers=service.owner())).json()["token"]
    asks = [(one, entry, 200), (one, entry, 200), (two, pair, 403), (one, pair, 200), (two, pair, 403), (one, pair, 200)]
    told = [None, [one], None, [one], None, [one, two]]
    heard: list[Document] = []
    async with connect(service.stack.gateway_url, subprotocols=[Subprotocol("nexkey.v1.json")], proxy=None) as line:
        for frame in ({"type": "authenticate", "token": token}, {"type": "subscribe", "topic": f"organizations/{service.demo.id}/events"}):
            await line.send(json.dumps(frame))
            await line.recv()
        for person, door, status in asks:
            assert (await ask(service, client, person, door))[0] == status
        while len(heard) < len(asks):
            event = json.loads(await asyncio.wait_for(line.recv(), 5))["event"]
            heard += [event] if event["kind"].startswith("authorized") else []

    async def listed() -> list[Document]:
        events = (await client.get("/v1/events?limit=100", headers=service.owner())).json()["items"]
        return [event for event in reversed(events) if event.get("door") in (entry, pair) and event["kind"].startswith("authorized")]

    async def all_listed() -> bool:
        return len(await listed()) == len(asks)

    await until(all_listed)
    expected = [None if persons is None else {"area": area, "persons": persons} for persons in told]
    assert [event.get("passed_back") for event in heard] == expected
    assert {name for event in heard for name in event} == {name for event in await listed() for name in event}, "and nothing more"
    assert [event.get("passed_back") for event in await listed()] == expected


async def test_two_persons_open_together_and_nobody_alone(service: Service, client: httpx.AsyncClient) -> None:
    door = await door_with_lock(service, client, two_persons_seconds=60)
    grants = {person: await allow(service, client, person, door) for person in GUESTS[:3]}
    one, two, three = GUESTS[:3]
    assert await ask(service, client, one, door) == (403, "second_person_needed")
    assert await ask(service, client, one, door) == (403, "second_person_needed"), "oneself is no second person"
    # Whoever asked first has to be allowed still when the second asks.
    assert (await client.delete(f"/v1/grants/{grants[one]}", headers=service.owner())).status_code == 200
    assert await ask(service, client, two, door) == (403, "second_person_needed")
    assert await ask(service, client, three, door) == (200, "unlocked")
    assert await ask(service, client, two, door) == (403, "second_person_needed"), "each opening takes two"
    # The token with which somebody asked has to stand still: who was suspended and resumed asks anew.
    for what in ("suspend", "resume"):
        assert (await client.post(f"/v1/persons/{two}/{what}", headers=service.owner())).status_code == 200
    assert await ask(service, client, three, door) == (403, "second_person_needed")
    assert await ask(service, client, two, door) == (200, "unlocked")


async def test_a_managers_own_pass_is_no_second_hand(service: Service, client: httpx.AsyncClient) -> None:
    """Whoever may give passes opens the link of one under another name: still alone."""
    door, manager = await door_with_lock(service, client, two_persons_seconds=60), GUESTS[4]
    await allow(service, client, manager, door)
    reception = {"roles": [{"role": "reception", "sites": [SITE]}]}
    assert (await client.put(f"/v1/persons/{manager}/roles", json=reception, headers=service.owner())).status_code == 200
    until_then = str(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1))
    given = await client.post(
        "/v1/passes", json={"name": "N", "doors": [door], "valid_until": until_then}, headers=service.headers(manager)
    )
    assert (given.status_code, given.json()["given_by"]) == (201, None)
    accepted = await client.post("/v1/passes/accept", json={"token": given.json()["link"].rpartition("#")[2], "name": "Nobody"})
    assert accepted.status_code == 200, accepted.text
    assert await ask(service, client, manager, door) == (403, "second_person_needed")
    guest = {"Authorization": f"Bearer {accepted.json()['access_token']}"}
    answer = await client.post(f"/v1/doors/{door}/unlock", headers=guest)
    assert (answer.status_code, answer.json().get("code")) == (403, "second_person_needed")
    await allow(service, client, GUESTS[5], door)
    assert await ask(service, client, GUESTS[5], door) == (200, "unlocked"), "and the guest took nobody's place"


async def test_the_first_person_opens_for_everybody(service: Service, client: httpx.AsyncClient) -> None:
    door = await door_with_lock(service, client, mode="first_person_in")
    await allow(service, client, GUESTS[0], door)
    assert await ask(service, client, GUESTS[5], door) == (403, "no_grant")
    assert await ask(service, client, GUESTS[0], door) == (200, "unlocked")
    assert await ask(service, client, GUESTS[5], door) == (200, "unlocked")
    for what in ("lockdown", "release"):
        assert (await client.post(f"/v1/doors/{door}/{what}", headers=service.owner())).status_code == 200
    assert await ask(service, client, GUESTS[5], door) == (403, "no_grant"), "who came before a lockdown doesn't count after it"
    assert await ask(service, client, GUESTS[0], door) == (200, "unlocked")
    assert await ask(service, client, GUESTS[5], door) == (200, "unlocked")


async def test_a_door_asks_for_the_pin_and_stops_hearing_guesses(service: Service, client: httpx.AsyncClient) -> None:
    always = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
    schedule = await made(service, client, "/v1/schedules", {"name": "Always", "windows": always})
    door = await door_with_lock(service, client, modes=[{"schedule": schedule, "mode": "card_and_pin"}])
    assert (await client.delete(f"/v1/schedules/{schedule}", headers=service.owner())).json()["code"] == "in_use"
    for person in GUESTS[:2]:
        await allow(service, client, person, door)
        answer = await client.put(f"/v1/persons/{person}/pin", json={"pin": "4711"}, headers=service.owner())
        assert answer.status_code == 200 and "pin" not in (await client.get(f"/v1/persons/{person}", headers=service.owner())).json()
    stored = await service.database["persons"].find_one({"_id": f"{service.demo.id}:{GUESTS[0]}"})
    assert stored is not None and len(stored["pin"]) == 43
    assert await ask(service, client, GUESTS[0], door) == (403, "pin_needed")
    assert await ask(service, client, GUESTS[0], door, "4711") == (200, "unlocked")
    guesses = Counter(await asyncio.gather(*(ask(service, client, GUESTS[1], door, f"000{number}") for number in range(8))))
    assert guesses == Counter({(403, "pin_wrong"): 5, (403, "rate_limited"): 3})
    assert await ask(service, client, GUESTS[1], door, "4711") == (403, "rate_limited")
    assert await ask(service, client, GUESTS[0], door, "4711") == (200, "unlocked"), "one's guesses shut out nobody else"
    assert (await client.put(f"/v1/persons/{GUESTS[1]}/pin", json={"pin": "1147"}, headers=service.owner())).status_code == 200
    assert await ask(service, client, GUESTS[1], door, "1147") == (200, "unlocked"), "a new PIN is heard at once"


async def test_an_explanation_says_what_the_unlock_then_answers(service: Service, client: httpx.AsyncClient) -> None:
    """One after the other at random, at doors with every stateful rule: who asks why before is told what the door then says."""
    lab = await made(service, client, "/v1/areas", {"name": "Explained", "site": SITE, "anti_passback": "hard", "occupancy_max": 2})
    soft = await made(service, client, "/v1/areas", {"name": "Explained too", "site": SITE, "anti_passback": "soft"})
    terms: list[dict[str, object]] = [
        {"enters": lab, "leaves": soft}, {"leaves": lab}, {"two_persons_seconds": 60, "enters": soft},
        {"mode": "first_person_in", "enters": soft}, {"mode": "card_and_pin"},
    ]  # fmt: skip
    doors = [await door_with_lock(service, client) for _ in terms]
    people = GUESTS[:4]
    for door, own in zip(doors, terms, strict=True):
        assert (await client.patch(f"/v1/doors/{door}", json=own, headers=service.owner())).status_code == 200
        for person in people[:3]:
            await allow(service, client, person, door)
    for person in people[1:]:
        assert (await client.put(f"/v1/persons/{person}/pin", json={"pin": "4711"}, headers=service.owner())).status_code == 200
    assert (await client.put(f"/v1/persons/{people[0]}/pin", json={"pin": None}, headers=service.owner())).status_code == 200
    used = str((await service.database["grants"].find_one({"_id": f"{service.demo.id}:grant-explained"}) or {})["door"])
    for number in range(5):
        await ask(service, client, people[2], doors[4], f"000{number}")
    met: Counter[str] = Counter()
    chance = random.Random(5)
    for _ in range(70):
        door = chance.choice([*doors, used])
        person = GUESTS[0] if door == used else chance.choice(people)
        before = await states(service)
        answer = await client.get(f"/v1/access/explain?person={person}&door={door}", headers=service.owner())
        told = answer.json()
        assert answer.status_code == 200 and await states(service) == before, "nothing is changed by asking"
        pin = {"pin": "4711"} if door == doors[4] and person != people[0] else None
        asked = (await client.post(f"/v1/doors/{door}/unlock", headers=service.headers(person), json=pin)).json()
        granted = asked["state"] != "authorized.failed"
        reason = "granted" if granted else asked["code"]
        assert (told["allowed"], told["reason"], told["rule"]) == (granted, reason, asked["rule"]), (told, asked)
        assert (told["state"] == "read") == bool(told["stateful_rules"])
        verdicts = {rule["verdict"] for rule in told["stateful_rules"]}
        assert reason in verdicts | {"granted", "no_grant"}
        met[reason] += 1
    refused = ("no_grant", "pass_used_up", "anti_passback", "occupancy_full", "second_person_needed", "pin_needed", "rate_limited")
    assert met.keys() == {"granted", *refused}, met
    tomorrow = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    later = (
        await client.get("/v1/access/explain", params={"person": GUESTS[0], "door": used, "at": tomorrow}, headers=service.owner())
    ).json()
    assert (later["allowed"], later["state"], later["stateful_rules"][0]["verdict"]) == (True, "unknown", "unknown")


async def states(service: Service) -> list[Document]:
    return sorted(await service.database["states"].find({"org": service.demo.id}).to_list(), key=lambda state: str(state["_id"]))


async def test_what_a_door_took_that_stayed_shut_is_given_back(service: Service, client: httpx.AsyncClient) -> None:
    door = await door_with_lock(service, client)
    area = await made(service, client, "/v1/areas", {"name": "Lab", "site": SITE, "anti_passback": "hard"})
    await allow(service, client, GUESTS[0], door)
    lock = str((await service.database["doors"].find_one({"_id": f"{service.demo.id}:{door}"}) or {})["lock"])
    assert (await client.patch(f"/v1/doors/{door}", json={"enters": area}, headers=service.owner())).status_code == 200
    assert (await client.patch(f"/v1/devices/{lock}", json={"active": False}, headers=service.owner())).status_code == 200
    assert await ask(service, client, GUESTS[0], door) == (200, "unlocked.failed")

    async def given_back() -> bool:
        return (await record(service, f"area.{area}")).get("count", 0) == 0 and bool(await record(service, f"area.{area}"))

    await until(given_back)
    assert await service.database["states"].find_one({"inside_of": f"{service.demo.id}:{area}"}) is None
    assert (await client.patch(f"/v1/devices/{lock}", json={"active": True}, headers=service.owner())).status_code == 200


async def test_what_a_process_took_that_died_is_given_back_when_the_lock_says_that_it_refused(service: Service) -> None:
    """The api process dies between its commit and the lock's answer; the lock says its signed report to whoever listens then."""
    identity = service.demo.locks[-1]
    owner, organization = service.owner(), service.demo.id
    async with service.clients_of_each_worker() as workers, mute_lock(service, identity) as heard:
        (pid, [dying, *_]), (_, [other, *_]) = workers.items()
        site = str((await service.database["doors"].find_one({"_id": f"{organization}:{identity.door}"}) or {})["site"])
        body = {"name": "Archive", "site": site, "anti_passback": "hard"}
        area = str((await other.post("/v1/areas", json=body, headers=owner)).json()["id"])
        assert (await other.patch(f"/v1/doors/{identity.door}", json={"enters": area}, headers=owner)).status_code == 200
        await allow(service, other, GUESTS[0], identity.door)
        asking = asyncio.create_task(ask(service, dying, GUESTS[0], identity.door))
        await until(lambda: bool(heard))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            await asking
    [attempt] = [str(frame.command) for frame in heard]
    assert (await record(service, f"area.{area}"))["count"] == 1
    for number in (1, 2):
        await say(service, identity, number, attempt, "refused", "lock_jammed")
        assert (await record(service, f"area.{area}")).get("count", 0) == 0
    assert await service.database["states"].find_one({"inside_of": f"{organization}:{area}"}) is None

    async def told() -> bool:
        events = [event async for event in service.database["events"].find({"attempt": attempt})]
        kinds = Counter((event["kind"], event.get("reason")) for event in events)
        return kinds == {("authorized", None): 1, ("given_back", None): 1, ("unlocked.failed", "lock_jammed"): 2}

    await until(told)


async def test_what_nobody_could_give_back_is_given_back_by_the_worker_who_reads_how_it_ended(service: Service) -> None:
    """The lock refused, and that is told and recorded; but the store takes no give-back, and then the process that owes it dies."""
    identity = service.demo.locks[-1]
    owner, organization, may_say = service.owner(), service.demo.id, asyncio.Event()
    states = service.database["states"]
    async with service.clients_of_each_worker() as workers:
        (pid, [dying, *_]), (_, [other, *_]) = workers.items()
        site = str((await service.database["doors"].find_one({"_id": f"{organization}:{identity.door}"}) or {})["site"])
        body = {"name": "Cellar", "site": site, "anti_passback": "hard"}
        area = str((await other.post("/v1/areas", json=body, headers=owner)).json()["id"])
        assert (await other.patch(f"/v1/doors/{identity.door}", json={"enters": area}, headers=owner)).status_code == 200
        await allow(service, other, GUESTS[1], identity.door)

        async def counted(count: int) -> bool:
            found = await record(service, f"area.{area}")
            return bool(found) and found.get("count", 0) == count

        async def recorded() -> bool:
            found = await service.database["events"].find({"person": GUESTS[1], "door": identity.door}).to_list()
            return [event["kind"] for event in found][-1:] == ["unlocked.failed"]

        async with jammed_lock(service, identity, may_say), service.database.client.start_session() as session:
            asking = asyncio.create_task(ask(service, dying, GUESTS[1], identity.door))
            await until(lambda: counted(1))
            await session.start_transaction()  # whoever writes the area's record now meets a conflict
            await states.update_one({"_id": f"{organization}:area.{area}"}, {"$set": {"held": True}}, session=session)
            may_say.set()
            assert await asking == (200, "unlocked.failed")
            await until(recorded)
            os.kill(pid, signal.SIGKILL)
            await session.abort_transaction()
        await until(lambda: counted(0))

    async def told_once() -> bool:
        found = await service.database["events"].find({"person": GUESTS[1], "door": identity.door, "attempt": {"$ne": None}}).to_list()
        [attempt] = {event["attempt"] for event in found}
        owed = await service.database["give_backs"].find_one({"_id": attempt})
        return [event["kind"] for event in found].count("given_back") == 1 and owed is None

    await until(told_once)
