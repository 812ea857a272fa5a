"""Passes that are passed on, changed, used up and taken back: what hangs from a pass is never wider than it, and ends with it."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from py_service.passes.accept import grants_made
from py_service.passes.messages import DOORS_MAX
from py_service.passes.over import KEPT_MS, EndOverPass
from py_service.permissions.image import body_of
from py_service.permissions.listing import stored_object
from py_service.permissions.pass_tree import PASSES_BELOW_MAX
from py_service.stores.mongo import now_ms
from tests.e2e.conformance import conformance_of
from tests.e2e.running import running_service, second_worker, until
from tests.e2e.sharing import NO_GRANT, OPENED, SITE, Passes, at, doors_of, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOLDER, SECOND, THIRD, FOURTH = (f"stranger-{number}" for number in range(4))
TRIES = 16
USED_UP = (403, "pass_used_up")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def passes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Passes]:
    async with running_service(tmp_path_factory.mktemp("passed-on"), strangers=4, doors=20) as service:
        service.hook = (await conformance_of(service)).hook
        async with service.client() as http:
            yield Passes(service, http, await doors_of(service, SITE))


async def passed_on(passes: Passes, given: dict[str, Any], holder: str, **terms: object) -> dict[str, Any]:
    """By its holder, as it is unless something else is said."""
    answer = await passes.ask("POST", f"/v1/passes/{given['id']}/pass-on", holder, {"name": "Passed on", **terms})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_what_is_passed_on_ends_with_what_it_came_from(passes: Passes) -> None:
    doors = passes.doors[:2]
    root = await passes.give(doors=doors, passes_on_max=2, uses=100)
    await passes.held(root, HOLDER)
    second = await passed_on(passes, root, HOLDER, passes_on_max=1)
    assert (second["given_by"], second["parent"], second["uses"], second["doors"]) == (HOLDER, root["id"], 100, doors)
    await passes.held(second, SECOND)
    third = await passed_on(passes, second, SECOND, doors=doors[:1])
    guest = (await passes.held(third))["person"]
    beside = await passed_on(passes, root, HOLDER)
    await passes.held(beside, FOURTH)
    everybody = {HOLDER: 2, SECOND: 2, guest: 1, FOURTH: 2}
    for person, count in everybody.items():
        assert [await passes.unlock(person, door) for door in doors] == [OPENED] * count + [NO_GRANT] * (2 - count), person
    # Each use counts against all above it.
    assert [(await passes.read(each["id"]))["uses_left"] for each in (root, second, third)] == [93, 93, 93]
    # Not the holder's to pass on, nor anybody's who holds what can't be.
    terms = {"name": "On"}
    for person in (HOLDER, None):  # who gave it, and a manager
        assert refused(await passes.ask("POST", f"/v1/passes/{second['id']}/pass-on", person, terms)) == (403, "sharing_refused")
    assert refused(await passes.ask("POST", f"/v1/passes/{third['id']}/pass-on", guest, terms)) == (403, "sharing_refused")
    assert refused(await passes.ask("POST", f"/v1/passes/{root['id']}/pass-on", FOURTH, terms)) == (404, "pass_unknown")
    listed = (await passes.ask("GET", f"/v1/passes?pass={root['id']}")).json()["items"]
    assert {item["id"] for item in listed} == {second["id"], third["id"], beside["id"]}
    # Taken back in the middle: what hangs below ends, what is above and beside stays.
    assert refused(await passes.ask("DELETE", f"/v1/passes/{second['id']}", FOURTH)) == (404, "pass_unknown")
    taken = await passes.ask("DELETE", f"/v1/passes/{second['id']}", HOLDER)
    assert taken.status_code == 200 and taken.json()["passes"] == 2
    moved = len(passes.service.moves())
    assert [await passes.unlock(person, doors[0]) for person in (SECOND, guest)] == [NO_GRANT] * 2
    assert len(passes.service.moves()) == moved
    assert [await passes.unlock(person, doors[0]) for person in (HOLDER, FOURTH)] == [OPENED] * 2
    assert (await passes.ask("DELETE", f"/v1/passes/{root['id']}")).json()["passes"] == 2
    assert [await passes.unlock(person, doors[0]) for person in everybody] == [NO_GRANT] * 4
    assert [(await passes.read(each["id"]))["state"] for each in (root, second, third, beside)] == ["revoked"] * 4


async def test_its_holder_gives_a_pass_up_and_all_that_was_passed_on_from_it(passes: Passes) -> None:
    door = passes.doors[0]
    root = await passes.give(doors=[door], passes_on_max=2)
    await passes.held(root, HOLDER)
    below = await passed_on(passes, root, HOLDER, passes_on_max=1)
    await passes.held(below, SECOND)
    last = await passed_on(passes, below, SECOND)
    await passes.held(last, THIRD)
    for other, expected in ((FOURTH, (404, "pass_unknown")), (THIRD, (404, "pass_unknown"))):
        assert refused(await passes.ask("DELETE", f"/v1/passes/{below['id']}", other)) == expected
    old = {"If-Match": '"1"'}
    assert refused(await passes.ask("DELETE", f"/v1/passes/{below['id']}", SECOND, headers=old)) == (412, "changed_meanwhile")
    given_up = [await passes.ask("DELETE", f"/v1/passes/{below['id']}", SECOND) for _ in range(2)]
    assert [(answer.status_code, answer.json()["passes"]) for answer in given_up] == [(200, 2), (200, 0)]
    assert [await passes.unlock(person, door) for person in (HOLDER, SECOND, THIRD)] == [OPENED, NO_GRANT, NO_GRANT]
    assert [(await passes.read(each["id"]))["state"] for each in (root, below, last)] == ["active", "revoked", "revoked"]
    assert (await passes.ask("GET", "/v1/me/passes", SECOND)).json()["items"] == []
    guest = await passes.held(await passes.give(doors=[door]))
    bearer = {"Authorization": f"Bearer {guest['access_token']}"}
    assert (await passes.http.delete(f"/v1/passes/{guest['pass']['id']}", headers=bearer)).json()["passes"] == 1
    assert await passes.unlock(guest["person"], door) == NO_GRANT


async def test_a_pass_that_was_over_a_day_ago_is_in_nobodys_way(passes: Passes) -> None:
    site, service = "berlin", passes.service
    door = (await passes.ask("POST", "/v1/doors", None, {"name": "Short-lived", "site": site})).json()["id"]
    schedule = (await passes.ask("POST", "/v1/schedules", None, {"name": "Short-lived", "windows": []})).json()["id"]
    root = await passes.give(doors=[door], schedule=schedule, passes_on_max=1)
    await passes.held(root, HOLDER)
    below = await passed_on(passes, root, HOLDER)
    await passes.held(below, SECOND)
    waiting = await passes.give(doors=[door])
    longer = await passes.give(doors=passes.doors[:1])
    await passes.held(longer, SECOND)
    just = await passes.give(doors=passes.doors[:1])
    a_day_ago = now_ms() - KEPT_MS
    for each, ends in ((root, a_day_ago - 60_000), (below, a_day_ago - 120_000), (waiting, a_day_ago - 60_000), (just, a_day_ago + 60_000)):
        moved = {"$set": {"valid_from": ends - 1_000, "valid_until": ends}}
        await service.database["passes"].update_one({"_id": f"{service.demo.id}:{each['id']}"}, moved)
    in_the_way = (f"/v1/schedules/{schedule}", f"/v1/doors/{door}")
    assert refused(await passes.ask("DELETE", in_the_way[0])) == (409, "in_use")
    before = await passes.revision()
    async with second_worker(service.stack.settings) as worker:
        while await worker.end_once() < 1:
            pass
        revision = await passes.revision()
        # Looked at again in the change itself: `longer` was over when it was found, and was made longer since.
        for other in (longer, just, root):
            await worker.changes.submit(service.demo.id, None, EndOverPass(other["id"]))
    assert before < revision <= before + 3, "one change each, or one with what was passed on from it"
    states = [(await passes.read(each["id"]))["state"] for each in (root, below, waiting, just, longer)]
    assert states == ["expired"] * 4 + ["active"]
    ended = [bool((await passes.read(each["id"]))["ended_at"]) for each in (root, below, waiting, just, longer)]
    assert ended == [True] * 3 + [False] * 2
    assert [bool(grant["ended_at"]) for grant in await grants(passes, root, below)] == [True] * 2
    assert refused(await passes.accept(waiting)) == (410, "pass_expired"), "as it was told before"
    assert [(await passes.ask("DELETE", path)).status_code for path in in_the_way] == [200, 200]
    mine = [item["id"] for item in (await passes.ask("GET", "/v1/me/passes?limit=200", SECOND)).json()["items"]]
    assert longer["id"] in mine and below["id"] not in mine
    assert (await passes.ask("DELETE", f"/v1/passes/{longer['id']}")).status_code == 200

    async def told() -> bool:
        events = await service.database["events"].find({"kind": "management.pass_over"}).to_list()
        return {(event["subject"], event["actor"]) for event in events} == {(each["id"], "service") for each in (root, below, waiting)}

    await until(told)


async def test_what_is_passed_on_is_never_wider(passes: Passes) -> None:
    door, other = passes.doors[:2]
    root = await passes.give(doors=[door], valid_from=at(-1), valid_until=at(10), schedule="night-shift", uses=5, passes_on_max=1)
    await passes.held(root, HOLDER)
    path = f"/v1/passes/{root['id']}/pass-on"
    wider: list[dict[str, object]] = [
        {"doors": [door, other]}, {"doors": [other]}, {"valid_from": at(-2)}, {"valid_until": at(11)}, {"schedule": "cleaning"},
        {"uses": 6}, {"passes_on_max": 1}, {"passes_on_max": 3},
    ]  # fmt: skip
    for terms in wider:
        assert refused(await passes.ask("POST", path, HOLDER, {"name": "Wider", **terms})) == (422, "pass_wider"), terms
    same = await passed_on(passes, root, HOLDER)
    inherited = ("doors", "valid_until", "schedule", "uses")
    assert {name: same[name] for name in inherited} == {name: root[name] for name in inherited}
    assert (await passes.ask("DELETE", f"/v1/passes/{root['id']}")).json()["passes"] == 2
    assert refused(await passes.ask("POST", path, HOLDER, {"name": "Late"})) == (410, "pass_revoked")
    assert refused(await passes.accept(same)) == (410, "pass_revoked")


async def test_an_earlier_end_holds_for_all_that_hangs_from_it(passes: Passes) -> None:
    door = passes.doors[2]
    root = await passes.give(doors=[door], valid_from=at(-1), valid_until=at(48), passes_on_max=2)
    await passes.held(root, HOLDER)
    below = await passed_on(passes, root, HOLDER, passes_on_max=1)
    await passes.held(below, SECOND)
    later = await passed_on(passes, root, HOLDER, valid_from=at(24))
    one, etag = f"/v1/passes/{root['id']}", (await passes.ask("GET", f"/v1/passes/{root['id']}")).headers["etag"]
    shorter = await passes.ask("PATCH", one, None, {"valid_until": at(12)}, {"If-Match": etag})
    assert shorter.status_code == 200 and shorter.json()["valid_until"] == at(12), shorter.text
    assert refused(await passes.ask("PATCH", one, None, {"name": "Old"}, {"If-Match": etag})) == (412, "changed_meanwhile")
    assert (await passes.read(below["id"]))["valid_until"] == at(12)
    assert (await passes.read(later["id"]))["state"] == "revoked", "it would have begun after its end"
    assert [grant["valid_until"] for grant in await grants(passes, root, below)] == [at(12)] * 2
    # Longer again: only itself. What hangs from it is its holder's to make longer, no further than this.
    assert (await passes.ask("PATCH", one, None, {"valid_until": at(36), "name": "Longer"})).json()["name"] == "Longer"
    assert (await passes.read(below["id"]))["valid_until"] == at(12)
    under = f"/v1/passes/{below['id']}"
    assert refused(await passes.ask("PATCH", under, HOLDER, {"valid_until": at(37)})) == (422, "pass_wider")
    assert refused(await passes.ask("PATCH", under, SECOND, {"valid_until": at(20)})) == (403, "role_missing")
    assert (await passes.ask("PATCH", under, HOLDER, {"valid_until": at(36)})).status_code == 200
    assert refused(await passes.ask("PATCH", one, None, {"valid_until": at(24 * 400)})) == (422, "validity_invalid")
    # An end that has passed already: nobody is let in from then on.
    assert [await passes.unlock(person, door) for person in (HOLDER, SECOND)] == [OPENED] * 2
    assert refused(await passes.ask("PATCH", one, None, {"valid_until": at(-1)})) == (422, "validity_invalid")
    assert (await passes.ask("PATCH", one, None, {"valid_until": at(0)})).json()["state"] == "expired"
    assert [await passes.unlock(person, door) for person in (HOLDER, SECOND)] == [(403, "expired"), NO_GRANT]


async def grants(passes: Passes, *given: dict[str, Any]) -> list[dict[str, Any]]:
    answers = [await passes.ask("GET", f"/v1/grants/{each['id']}_00") for each in given]
    return [answer.json() for answer in answers]


async def parallel(passes: Passes, persons: list[str], door: str) -> Counter[tuple[int, str]]:
    """16 tries at once, over both workers, by these persons in turn."""
    async with passes.service.clients_of_each_worker(each=TRIES // 2) as by_worker:
        clients = [client for found in by_worker.values() for client in found[: TRIES // 2]]
        tries = [passes.unlock(persons[number % len(persons)], door, client) for number, client in enumerate(clients)]
        return Counter(await asyncio.gather(*tries))


@pytest.mark.parametrize("uses", [1, 3, 7])
async def test_a_pass_is_used_up_exactly_under_sixteen_tries_at_once(passes: Passes, uses: int) -> None:
    door = passes.doors[3]
    given = await passes.give(doors=[door], uses=uses)
    guest = (await passes.held(given))["person"]
    moved = len(passes.service.moves())
    assert await parallel(passes, [guest], door) == Counter({OPENED: uses, USED_UP: TRIES - uses})
    assert len(passes.service.moves()) - moved == uses
    told = await passes.read(given["id"])
    assert (told["uses_left"], told["state"]) == (0, "used_up")


async def test_children_share_the_uses_of_their_parent(passes: Passes) -> None:
    door = passes.doors[4]
    parent = await passes.give(doors=[door], uses=3, passes_on_max=1)
    await passes.held(parent, HOLDER)
    children = [await passed_on(passes, parent, HOLDER, uses=3) for _ in range(2)]
    persons = [(await passes.held(child))["person"] for child in children]
    moved = len(passes.service.moves())
    assert await parallel(passes, persons, door) == Counter({OPENED: 3, USED_UP: TRIES - 3})
    assert len(passes.service.moves()) - moved == 3
    # The parent has none left, so whoever holds it may not pass any more: nor do those below.
    assert await passes.unlock(HOLDER, door) == USED_UP
    assert [(await passes.read(each["id"]))["uses_left"] for each in (parent, *children)] == [0, 0, 0]


async def test_a_giver_who_is_suspended_or_gone_takes_what_they_gave_along(passes: Passes) -> None:
    door = passes.doors[5]
    assert (await passes.ask("PATCH", f"/v1/doors/{door}", None, {"sharing": True})).status_code == 200
    giver = (await passes.ask("POST", "/v1/persons", None, {"name": "Giver"})).json()["id"]
    assert (await passes.ask("POST", "/v1/grants", None, {"person": giver, "door": door})).status_code == 201
    given = await passes.give(giver, doors=[door], passes_on_max=1)
    await passes.held(given, HOLDER)
    below = await passed_on(passes, given, HOLDER)
    await passes.held(below, SECOND)
    for verb, expected in (("suspend", NO_GRANT), ("resume", OPENED)):
        assert (await passes.ask("POST", f"/v1/persons/{giver}/{verb}")).status_code == 200
        assert [await passes.unlock(person, door) for person in (HOLDER, SECOND)] == [expected] * 2, verb
    assert refused(await passes.ask("DELETE", f"/v1/doors/{door}")) == (409, "in_use")
    assert (await passes.ask("DELETE", f"/v1/persons/{giver}")).status_code == 200
    assert [await passes.unlock(person, door) for person in (HOLDER, SECOND)] == [NO_GRANT] * 2
    assert [(await passes.read(each["id"]))["state"] for each in (given, below)] == ["revoked"] * 2
    assert [bool(grant["ended_at"]) for grant in await grants(passes, given, below)] == [True] * 2


async def test_a_hundred_hang_from_one_and_end_in_one_change(passes: Passes) -> None:
    root = await passes.give(doors=passes.doors[6:7], passes_on_max=1)
    await passes.held(root, THIRD)
    again = {"Idempotency-Key": secrets.token_urlsafe(16)}
    path, body = f"/v1/passes/{root['id']}/pass-on", {"name": "One of many"}
    answers = [await passes.ask("POST", path, THIRD, body, again) for _ in range(2)]
    assert answers[0].status_code == 201 and answers[0].json() == answers[1].json(), "the link, too"
    await copied(passes, answers[0].json()["id"], PASSES_BELOW_MAX - 2, "below")
    more = await asyncio.gather(*(passes.ask("POST", path, THIRD, body) for _ in range(3)))
    assert sorted(answer.status_code for answer in more) == [201, 409, 409]
    assert {answer.json()["code"] for answer in more if answer.status_code == 409} == {"passes_too_many"}
    revision = await passes.revision()
    taken = await passes.ask("DELETE", f"/v1/passes/{root['id']}")
    assert (taken.status_code, taken.json()["passes"], taken.json()["revision"]) == (200, PASSES_BELOW_MAX + 1, revision + 1)
    assert (await passes.ask("GET", "/v1/me/passes", THIRD)).json()["items"] == []

    async def told() -> bool:
        events = await passes.service.database["events"].find({"kind": "management.pass_taken", "revision": revision + 1}).to_list()
        return len(events) == PASSES_BELOW_MAX + 1

    await until(told)


async def test_nobody_is_kept_by_how_much_they_hold(passes: Passes) -> None:
    """60 passes of 16 doors that were accepted, more than one change takes: gone at once, and the rest of it by the worker."""
    service, doors = passes.service, passes.doors[:DOORS_MAX]
    holder = (await passes.ask("POST", "/v1/persons", None, {"name": "Holds much"})).json()["id"]
    root = await passes.give(doors=doors, passes_on_max=2)
    await passes.held(root, holder)
    below = await passed_on(passes, root, holder, passes_on_max=1)
    await passes.held(below, SECOND)
    last = await passed_on(passes, below, SECOND)
    await passes.held(last, THIRD)
    plain = await passes.give(doors=doors)
    await passes.held(plain, holder)
    await copied(passes, plain["id"], 60, "much")
    revision = await passes.revision()
    gone = await passes.ask("DELETE", f"/v1/persons/{holder}")
    assert (gone.status_code, gone.json()["revision"]) == (200, revision + 1), gone.text
    assert [await passes.unlock(person, doors[0]) for person in (SECOND, THIRD)] == [NO_GRANT] * 2
    assert [(await passes.read(each["id"]))["state"] for each in (root, below, last)] == ["revoked"] * 3, "what may be passed on is first"
    assert (await passes.ask("GET", f"/v1/persons/{holder}")).json()["ended_at"] is not None
    async with second_worker(service.stack.settings) as worker:
        while await worker.end_once() < 1:
            pass
    for kind in ("passes", "grants"):
        left = await service.database[kind].count_documents({"org": service.demo.id, "listed": f"{service.demo.id}:person={holder}"})
        assert left == 0, kind
    assert await service.database["departures"].count_documents({}) == 0
    ended = await service.database["grants"].count_documents({"person": holder, "ended_at": {"$ne": None}})
    assert ended == len(doors) * 62, "of all of them, once"


async def copied(passes: Passes, identifier: str, count: int, called: str) -> None:
    """More of the same, straight into the store, with the grants of one that was accepted."""
    database, organization = passes.service.database, passes.service.demo.id
    found = await database["passes"].find_one({"_id": f"{organization}:{identifier}"})
    assert found is not None
    copies = [body_of(found) | {"id": f"{called}-{number}"} for number in range(count)]
    await database["passes"].insert_many([stored_object(organization, "pass", copy) for copy in copies])
    if found["accepted_by"] is not None:
        made = [grant for copy in copies for grant in grants_made(copy, dict.fromkeys(copy["doors"], SITE), 0)]
        await database["grants"].insert_many([stored_object(organization, "grant", grant) for grant in made])
