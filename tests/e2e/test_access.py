"""Grants that change, lockdowns that overlap, and what a change would alter: over HTTP, through every process, held against the door."""

from __future__ import annotations

import asyncio
import collections
import datetime
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected, standing
from tests.e2e.manager import DOOR, Manager, stranger, unlocks
from tests.e2e.running import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("access"), doors=6, strangers=8) as running:
        running.hook = (await conformance_of(running)).hook
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


@pytest.fixture
def owner(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.demo.cast["owner"].id)


# --- grants ---------------------------------------------------------------------------------


async def test_a_changed_grant_decides_at_once_and_says_by_when(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    person = stranger(0)
    await owner("POST", "/v1/schedules", 201, {"id": "never", "name": "Never", "windows": []})
    given = await owner("POST", "/v1/grants", 201, {"person": person, "door": DOOR})
    grant = f"/v1/grants/{given['id']}"
    steps: list[tuple[dict[str, object], str]] = [
        ({}, "granted"),
        ({"schedule": "never"}, "outside_schedule"),
        ({"schedule": None}, "granted"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "expired"),
        ({"valid_from": "2100-01-01T00:00:00Z", "valid_until": "2100-01-02T00:00:00Z"}, "not_yet_valid"),
        ({"valid_from": None}, "granted"),
        ({"effect": "deny"}, "denied_by_rule"),
        ({"effect": "allow", "person": person, "door": DOOR, "group": None}, "granted"),  # what is fixed may be sent as it is
    ]
    for patch, expected in steps:
        asked_at = datetime.datetime.now(datetime.UTC)
        changed = await owner("PATCH", grant, 200, patch)
        assert await unlocks(service, http, person) == expected, patch
        assert datetime.datetime.fromisoformat(str(changed["effective_by"])) >= asked_at + datetime.timedelta(seconds=9)
    read = await owner("GET", grant, 200)
    assert (read["created_at"], read["ended_at"]) == (given["created_at"], None) and str(read["changed_at"]) > str(given["changed_at"])
    for field, value in (("door", "berlin-side-door"), ("person", stranger(1)), ("group", "everyone"), ("site", "berlin"), ("door", None)):
        await owner("PATCH", grant, 422, {field: value}, "field_fixed")
    await owner("PATCH", grant, 404, {"schedule": "nobody-has-this"}, "schedule_unknown")
    for bad in ({"uses": 1}, {"effect": None}):
        await owner("PATCH", grant, 400, bad, "field_invalid")
    for window in ({"valid_from": "2100-01-03T00:00:00Z"}, {"valid_until": "1960-01-01T00:00:00Z"}):
        await owner("PATCH", grant, 422, window, "validity_invalid")
    await owner("DELETE", grant, 200)
    await owner("PATCH", grant, 404, {"effect": "deny"}, "grant_unknown")
    assert (await owner("GET", grant, 200))["ended_at"] is not None


async def test_an_etag_guards_a_grant(owner: Manager) -> None:
    given = await owner("POST", "/v1/grants", 201, {"person": stranger(0), "door": DOOR})
    grant, first = f"/v1/grants/{given['id']}", owner.etag
    assert first == f'"{given["revision"]}"'
    await owner("GET", grant, 200)
    assert owner.etag == first
    await owner("PATCH", grant, 200, {"effect": "deny"}, If_Match=first)
    second = owner.etag
    await owner("PATCH", grant, 200, {"effect": "deny"}, If_Match=second)
    assert owner.etag == second != first  # nothing was different, so nothing has changed
    await owner("PATCH", grant, 412, {"effect": "allow"}, "changed_meanwhile", If_Match=first)
    await owner("DELETE", grant, 412, None, "changed_meanwhile", If_Match=first)
    for method in ("PATCH", "DELETE"):
        await owner(method, grant, 400, {} if method == "PATCH" else None, "if_match_invalid", If_Match="1")
    answers = await asyncio.gather(
        *(owner.http.patch(grant, json={"valid_until": f"2100-01-0{day}T00:00:00Z"}, headers=owner.service.owner() | {"If-Match": second})
          for day in range(1, 9))
    )  # fmt: skip
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
    await owner("DELETE", grant, 200, If_Match="*")
    await owner("DELETE", grant, 200, If_Match=first)  # it is gone already: to repeat it is safe


MOMENTS = st.sampled_from([None, *(f"20{year}-06-01T00:00:00Z" for year in range(20, 30))])
PATCH = st.fixed_dictionaries(
    {},
    optional={
        "effect": st.sampled_from(["allow", "deny"]),
        "schedule": st.sampled_from([None, "night-shift", "cleaning"]),
        "valid_from": MOMENTS,
        "valid_until": MOMENTS,
    },
)


@given(patches=st.lists(PATCH, min_size=1, max_size=6))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
async def test_a_field_that_is_not_sent_is_never_touched(owner: Manager, patches: list[dict[str, str | None]]) -> None:
    """Whatever the order: a grant is a dictionary, and a PATCH its update, or nothing at all."""
    given = await owner("POST", "/v1/grants", 201, {"group": "everyone", "area": "berlin-lobby", "schedule": "night-shift"})
    grant = f"/v1/grants/{given['id']}"
    model = {name: value for name, value in given.items() if name not in ("revision", "changed_at", "effective_by")}
    for patch in patches:
        after = model | patch
        begins, ends = after["valid_from"], after["valid_until"]
        holds = after == model or begins is None or ends is None or str(begins) < str(ends)
        await owner("PATCH", grant, *((200, patch) if holds else (422, patch, "validity_invalid")))
        model = after if holds else model
        read = await owner("GET", grant, 200)
        assert {name: read[name] for name in model} == model
    await owner("DELETE", grant, 200)


# --- lockdowns ------------------------------------------------------------------------------


async def test_a_door_stays_locked_down_until_everybody_who_holds_it_lets_go(
    owner: Manager, service: Service, http: httpx.AsyncClient
) -> None:
    other = service.demo.doors("berlin-lobby")[0]
    plans = {"night": {"doors": [DOOR], "areas": ["berlin-lobby"]}, "alarm": {"sites": ["berlin", "singapore"]}, "door": {"doors": [DOOR]}}
    for plan, places in plans.items():
        made = await owner("POST", "/v1/lockdown-plans", 201, {"id": plan, "name": plan.capitalize(), **places})
        assert (made["engaged"], made["engaged_at"], made["engaged_by"]) == (False, None, None)

    async def holders(kind: str, place: str) -> list[str]:
        read = await owner("GET", f"/v1/{kind}/{place}", 200)
        held = read["held_by"]
        assert isinstance(held, list) and read["locked_down"] == bool(held)
        return held

    steps: list[tuple[str, list[str], str]] = [  # what is done, who holds the door itself, and what an unlock of it says then
        ("lockdown-plans/night/engage", ["plan:night"], "door_locked_down"),
        (f"doors/{DOOR}/lockdown", ["manual", "plan:night"], "door_locked_down"),
        ("lockdown-plans/alarm/engage", ["manual", "plan:night"], "door_locked_down"),
        ("lockdown-plans/door/engage", ["manual", "plan:door", "plan:night"], "door_locked_down"),
        ("lockdown-plans/night/release", ["manual", "plan:door"], "door_locked_down"),
        (f"doors/{DOOR}/release", ["plan:door"], "door_locked_down"),
        ("lockdown-plans/door/release", [], "site_locked_down"),
        ("areas/berlin-lobby/lockdown", [], "area_locked_down"),
        ("lockdown-plans/alarm/release", [], "area_locked_down"),
        ("areas/berlin-lobby/release", [], "granted"),
    ]
    lock = str((await owner("GET", f"/v1/doors/{DOOR}", 200))["lock"])
    elsewhere = str((await owner("POST", "/v1/doors", 201, {"name": "Elsewhere", "site": "berlin"}))["id"])
    aside = str((await owner("POST", "/v1/areas", 201, {"name": "Aside", "site": "berlin"}))["id"])
    for what, held, expected in steps:
        for _ in range(2):  # to repeat it is safe
            answer = await owner("POST", f"/v1/{what}", 200)
            assert datetime.datetime.fromisoformat(str(answer["effective_by"])) > datetime.datetime.now(datetime.UTC)
            if what.startswith("doors/"):
                assert (answer["held_by"], answer["locked_down"]) == (held, bool(held))
            else:
                assert answer.get("engaged", True) == ("release" not in what) or "held_by" in answer
        assert await holders("doors", DOOR) == held, what
        if expected == "area_locked_down":  # it ends by being released, and not by a move
            await owner("PATCH", f"/v1/doors/{DOOR}", 409, {"area": None}, "locked_down")
            await owner("PATCH", f"/v1/doors/{DOOR}", 409, {"area": aside}, "locked_down")
            await owner("PATCH", f"/v1/doors/{DOOR}", 200, {"area": "berlin-lobby", "name": "The same area"})
            for method, body in (("PATCH", {"door": None}), ("PATCH", {"door": elsewhere}), ("DELETE", None)):
                await owner(method, f"/v1/devices/{lock}", 409, body, "locked_down")
        assert await unlocks(service, http, owner.person) == expected, what
    assert await unlocks(service, http, owner.person, other) == "granted"
    # What was before a lockdown doesn't count after it, wherever the door is by then.
    database, organization = service.database, service.demo.id
    released = await database["areas"].find_one({"_id": f"{organization}:berlin-lobby"}) or {}
    before = await database["doors"].find_one({"_id": f"{organization}:{DOOR}"}) or {}
    assert released["lockdown_revision"] > before["lockdown_revision"]
    await owner("PATCH", f"/v1/doors/{DOOR}", 200, {"area": aside})
    moved = await database["doors"].find_one({"_id": f"{organization}:{DOOR}"}) or {}
    assert moved["lockdown_revision"] == released["lockdown_revision"]
    await owner("PATCH", f"/v1/doors/{DOOR}", 200, {"area": "berlin-lobby"})
    read = await owner("GET", "/v1/lockdown-plans/night", 200)
    assert (read["engaged"], read["engaged_by"]) == (False, owner.person) and read["engaged_at"] is not None
    patched = await owner("PATCH", f"/v1/doors/{DOOR}", 200, {"name": "Entrance"})
    assert (patched["held_by"], patched["locked_down"]) == ([], False)


async def test_a_plan_is_one_change_of_all_its_places_or_of_none(owner: Manager, service: Service) -> None:
    database, organization = service.database, service.demo.id
    places = {"doors": [DOOR, "lonely-door"], "areas": ["lonely-area"], "sites": ["lonely-site"]}
    lonely = ("doors/lonely-door", "areas/lonely-area", "sites/lonely-site")
    for path in lonely:
        kind, identifier = path.split("/")
        where = {"time_zone": "UTC"} if kind == "sites" else {"site": "berlin"}
        await owner("POST", f"/v1/{kind}", 201, {"id": identifier, "name": "Lonely", **where})
    await owner("POST", "/v1/lockdown-plans", 201, {"id": "whole", "name": "Whole", **places})
    engaged = await owner("POST", "/v1/lockdown-plans/whole/engage", 200)
    record = await database["changes"].find_one({"_id": f"{organization}:{int(str(engaged['revision'])):012d}"}) or {}
    assert sorted((image["kind"], image["id"]) for image in record["images"]) == [
        ("area", "lonely-area"), ("door", DOOR), ("door", "lonely-door"), ("site", "lonely-site"),
    ]  # fmt: skip
    assert all(image["document"]["locked_down"] and image["document"]["held_by"] == ["plan:whole"] for image in record["images"])
    before = await database["revisions"].find_one({"_id": organization})
    await owner("PATCH", "/v1/lockdown-plans/whole", 409, {"doors": [DOOR]}, "plan_engaged")
    await owner("DELETE", "/v1/lockdown-plans/whole", 409, None, "plan_engaged")
    for path in lonely:
        assert (await owner("DELETE", f"/v1/{path}", 409, None, "in_use"))["used_by"] == "lockdown_plan"
    assert await database["revisions"].find_one({"_id": organization}) == before
    assert (await owner("POST", "/v1/lockdown-plans/whole/engage", 200))["engaged_at"] == engaged["engaged_at"]
    renamed = await owner("PATCH", "/v1/lockdown-plans/whole", 200, {"name": "Everything", "doors": sorted(places["doors"])})
    assert (renamed["engaged"], renamed["sites"]) == (True, ["lonely-site"])
    first = owner.etag
    await owner("POST", "/v1/lockdown-plans/whole/release", 200)
    await owner("DELETE", "/v1/lockdown-plans/whole", 412, None, "changed_meanwhile", If_Match=first)
    await owner("PATCH", "/v1/lockdown-plans/whole", 400, {"doors": [], "areas": [], "sites": []}, "field_invalid")
    await owner("PATCH", "/v1/lockdown-plans/whole", 200, {"areas": [], "sites": []})
    assert "Everything" in await owner.names("/v1/lockdown-plans?door=lonely-door")
    assert "Everything" not in await owner.names("/v1/lockdown-plans?area=lonely-area")
    await owner("DELETE", "/v1/lockdown-plans/whole", 200)
    await owner("DELETE", "/v1/lockdown-plans/whole", 200)
    assert (await owner("GET", "/v1/lockdown-plans/whole", 200))["ended_at"] is not None
    await owner("POST", "/v1/lockdown-plans/whole/engage", 404, None, "lockdown_plan_unknown")
    await owner("POST", "/v1/lockdown-plans", 409, {"id": "whole", "name": "Again", "doors": [DOOR]}, "id_taken")
    assert (await owner("GET", f"/v1/doors/{DOOR}", 200))["held_by"] == []
    for path in lonely:
        await owner("DELETE", f"/v1/{path}", 200)


async def test_a_site_manager_has_the_plans_of_their_sites_only(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    manager = Manager(service, http, stranger(1))
    await owner("PUT", f"/v1/persons/{manager.person}/roles", 200, {"roles": [{"role": "site_manager", "sites": ["berlin", "singapore"]}]})
    for plan, places in (
        ("own", {"doors": [DOOR], "areas": ["singapore-lobby"]}),
        ("half", {"areas": ["berlin-lobby"], "sites": ["new-york"]}),
        ("away", {"sites": ["new-york"]}),
    ):
        await owner("POST", "/v1/lockdown-plans", 201, {"id": plan, "name": plan.capitalize(), **places})
    seen = await manager.names("/v1/lockdown-plans")
    assert "Own" in seen and not {"Half", "Away"} & set(seen)
    assert "Half" not in await manager.names("/v1/lockdown-plans?site=berlin")
    await manager("GET", "/v1/lockdown-plans?site=new-york", 404, None, "site_unknown")
    await manager("GET", "/v1/lockdown-plans/own", 200)
    for plan in ("half", "away"):
        await manager("GET", f"/v1/lockdown-plans/{plan}", 404, None, "lockdown_plan_unknown")
        for verb in ("engage", "release"):
            await manager("POST", f"/v1/lockdown-plans/{plan}/{verb}", 403, None, "role_missing")
        await manager("PATCH", f"/v1/lockdown-plans/{plan}", 403, {"name": "Mine"}, "role_missing")
        await manager("DELETE", f"/v1/lockdown-plans/{plan}", 403, None, "role_missing")
    await manager("PATCH", "/v1/lockdown-plans/own", 403, {"sites": ["new-york"]}, "role_missing")
    await manager("POST", "/v1/lockdown-plans", 403, {"name": "X", "doors": [DOOR, "new-york-main-entrance"]}, "role_missing")
    made = await manager("POST", "/v1/lockdown-plans", 201, {"name": "Mine", "sites": ["berlin"]})
    for plan in ("own", str(made["id"])):
        for verb in ("engage", "release"):
            await manager("POST", f"/v1/lockdown-plans/{plan}/{verb}", 200)
        await manager("DELETE", f"/v1/lockdown-plans/{plan}", 200)


async def test_plans_and_hands_at_once_leave_nobody_out(owner: Manager, service: Service) -> None:
    """Sixteen at once engage and release plans that share a door: who holds it afterwards is who engaged last, for each."""
    headers = service.owner()
    for number in range(4):
        await owner("POST", "/v1/lockdown-plans", 201, {"id": f"raced-{number}", "name": "Raced", "doors": [DOOR]})
    paths = [f"/v1/lockdown-plans/raced-{number}/{verb}" for number in range(4) for verb in ("engage", "release", "engage")]
    answers = await asyncio.gather(*(owner.http.post(path, headers=headers) for path in paths))
    assert {answer.status_code for answer in answers} == {200}
    engaged = {number for number in range(4) if (await owner("GET", f"/v1/lockdown-plans/raced-{number}", 200))["engaged"]}
    assert (await owner("GET", f"/v1/doors/{DOOR}", 200))["held_by"] == [f"plan:raced-{number}" for number in sorted(engaged)]
    for number in range(4):
        await owner("POST", f"/v1/lockdown-plans/raced-{number}/release", 200)
    assert (await owner("GET", f"/v1/doors/{DOOR}", 200))["locked_down"] is False


# --- questions ------------------------------------------------------------------------------


async def test_a_door_that_is_open_to_everybody_is_told_of_everybody_at_its_site(
    owner: Manager, service: Service, http: httpx.AsyncClient
) -> None:
    """By its mode, without any rule: `who` has every valid person, `what` has the door, and no role sees beyond its sites."""
    site, elsewhere = "new-york", Manager(service, http, stranger(2))
    door = {"id": "open-house", "name": "Open house", "site": site, "mode": "unlocked"}
    await owner("POST", "/v1/doors", 201, door)
    roles = [{"role": "auditor", "sites": ["berlin"]}]
    await owner("PUT", f"/v1/persons/{elsewhere.person}/roles", 200, {"roles": roles})
    await owner("POST", f"/v1/persons/{stranger(3)}/suspend", 200)
    who = (await owner("GET", "/v1/access/who?door=open-house&limit=200", 200))["items"]
    assert isinstance(who, list) and {stranger(1), stranger(2)} <= {one["id"] for one in who}
    assert stranger(3) not in {one["id"] for one in who} and {one["rule"] for one in who} == {"open-house"}
    told = {"id": "open-house", "allowed": True, "reason": "granted", "rule": "open-house", "stateful": False}
    asked = f"/v1/access/what?person={stranger(1)}"
    listed = (await owner("GET", asked, 200))["items"]
    assert isinstance(listed, list) and told in listed and await unlocks(service, http, stranger(1), "open-house") == "granted"
    for person, by in ((stranger(3), owner), (stranger(1), elsewhere)):
        seen = (await by("GET", f"/v1/access/what?person={person}", 200))["items"]
        assert isinstance(seen, list) and "open-house" not in {one["id"] for one in seen}
    for query in ("explain?person=stranger-1&door=open-house", "who?door=open-house"):
        await elsewhere("GET", f"/v1/access/{query}", 404, None, "door_unknown")
    await owner("PATCH", "/v1/doors/open-house", 200, {"mode": "first_person_in"})
    given = await owner("POST", "/v1/grants", 201, {"person": stranger(1), "door": "open-house"})
    (one,) = [one for one in cast("list[Any]", (await owner("GET", asked, 200))["items"]) if one["id"] == "open-house"]
    assert (one["allowed"], one["rule"], one["stateful"]) == (True, given["id"], True)
    await owner("DELETE", f"/v1/grants/{given['id']}", 200)
    await owner("POST", f"/v1/persons/{stranger(3)}/resume", 200)
    await owner("DELETE", "/v1/doors/open-house", 200)


# --- previews -------------------------------------------------------------------------------


MONDAY = "2027-01-04T08:00:00Z"
DOORS_HERE = [DOOR, "berlin-side-entrance"]
PEOPLE = [stranger(number) for number in (4, 5, 6)]
Pairs = set[tuple[str, str]]


async def allowed(owner: Manager, doors: list[str], at: str) -> Pairs:
    """Who may pass where, as `who` lists it."""
    found: Pairs = set()
    for door in doors:
        page = await owner("GET", f"/v1/access/who?door={door}&at={at}&limit=200", 200)
        assert page["next_cursor"] is None and isinstance(page["items"], list)
        found |= {(item["id"], door) for item in page["items"]}
    return found


def pairs_of(listed: object) -> Pairs:
    assert isinstance(listed, list)
    return {(one["person"], one["door"]) for one in listed}


def proposals(names: list[str]) -> st.SearchStrategy[dict[str, object]]:
    """A change of what these strangers, their group and these doors are to each other."""

    def proposal(method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        return {"method": method, "path": path, "body": body}

    person, door = st.sampled_from(names), st.sampled_from(DOORS_HERE)
    when = st.sampled_from([{}, {"valid_until": "2027-01-04T07:00:00Z"}, {"valid_from": "2027-01-04T07:00:00Z"}, {"effect": "deny"}])
    return st.one_of(
        st.builds(lambda who, where, more: proposal("POST", "/v1/grants", {"person": who, "door": where, **more}), person, door, when),
        st.builds(lambda where, more: proposal("POST", "/v1/grants", {"group": "previewed", "door": where, **more}), door, when),
        st.builds(lambda who, on: proposal("PATCH", f"/v1/persons/{who}", {"groups": ["previewed"] if on else []}), person, st.booleans()),
        st.builds(lambda who, how: proposal("POST", f"/v1/persons/{who}/{how}"), person, st.sampled_from(["suspend", "resume"])),
        st.builds(lambda where, how: proposal("POST", f"/v1/doors/{where}/{how}"), door, st.sampled_from(["lockdown", "release"])),
        st.builds(
            lambda where, mode: proposal("PATCH", f"/v1/doors/{where}", {"mode": mode}), door, st.sampled_from(["locked", "unlocked"])
        ),
        st.builds(lambda hours: proposal("PATCH", "/v1/schedules/previewed", {"windows": hours}), st.sampled_from([[], ALL_DAY])),
        st.just(proposal("POST", "/v1/grants", {"group": "previewed", "site": "berlin", "schedule": "previewed"})),
    )


ALL_DAY = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def altered(service: Service, http: httpx.AsyncClient) -> AsyncIterator[collections.Counter[str]]:
    """Counts what was altered: previews of nothing would prove nothing."""
    owner = Manager(service, http, service.demo.cast["owner"].id)
    await owner("POST", "/v1/groups", 201, {"id": "previewed", "name": "Previewed"})
    await owner("POST", "/v1/schedules", 201, {"id": "previewed", "name": "Previewed", "windows": []})
    seen: collections.Counter[str] = collections.Counter()
    yield seen
    assert min(seen["gained"], seen["lost"]) > 8, seen


@settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.lists(proposals(PEOPLE), min_size=1, max_size=3), min_size=2, max_size=3))
async def test_a_preview_says_what_the_change_then_does(
    owner: Manager, altered: collections.Counter[str], steps: list[list[dict[str, object]]]
) -> None:
    for changes in steps:
        before = await allowed(owner, DOORS_HERE, MONDAY)
        told = await owner("POST", "/v1/access/preview", 200, {"changes": changes, "at": MONDAY, "limit": 1_000})
        assert await allowed(owner, DOORS_HERE, MONDAY) == before
        for change in changes:
            answer = await owner.http.request(
                str(change["method"]), str(change["path"]), json=change["body"], headers=owner.service.headers(owner.person)
            )
            assert answer.is_success, answer.text
        after = await allowed(owner, DOORS_HERE, MONDAY)
        gained, lost = pairs_of(told["gained"]), pairs_of(told["lost"])
        assert {pair for pair in gained if pair[1] in DOORS_HERE} == after - before, changes
        assert {pair for pair in lost if pair[1] in DOORS_HERE} == before - after, changes
        assert (told["gained_total"], told["lost_total"], told["complete"], told["at"]) == (len(gained), len(lost), True, MONDAY)
        altered.update(gained=len(gained), lost=len(lost))


async def test_a_preview_tells_why_and_changes_nothing(owner: Manager, service: Service) -> None:
    """Also of things that aren't there yet: each change sees what those before it would leave."""
    changes: list[dict[str, object]] = [
        {"method": "POST", "path": "/v1/groups", "body": {"id": "cleaners", "name": "Cleaners"}},
        {"method": "POST", "path": "/v1/grants", "body": {"group": "cleaners", "door": "singapore-side-entrance"}},
        {"method": "PATCH", "path": f"/v1/persons/{stranger(7)}", "body": {"groups": ["cleaners"]}},
    ]
    await projected(service)
    before = await standing(service)
    told = await owner("POST", "/v1/access/preview", 200, {"changes": changes})
    assert await standing(service) == before
    (gained,) = cast("list[dict[str, Any]]", told["gained"])
    assert (gained["person"], gained["door"], told["lost"]) == (stranger(7), "singapore-side-entrance", [])
    assert gained["before"] == {"allowed": False, "reason": "no_grant", "rule": None}
    assert (gained["after"]["allowed"], gained["after"]["reason"]) == (True, "granted") and gained["after"]["rule"].startswith("grant_")
    gone = [*changes, {"method": "DELETE", "path": f"/v1/persons/{stranger(7)}"}]
    assert (await owner("POST", "/v1/access/preview", 200, {"changes": gone}))["gained_total"] == 0
    await owner("GET", "/v1/groups/cleaners", 404, None, "group_unknown")


async def test_a_preview_is_refused_as_the_change_would_be(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    given = await owner("POST", "/v1/grants", 201, {"person": stranger(7), "door": "singapore-main-entrance"})
    neighbour = service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
    foreign = (
        await http.post(
            "/v1/grants", json={"person": service.neighbour.cast["owner"].id, "door": str(service.neighbour.doors()[0])}, headers=neighbour
        )
    ).json()["id"]
    refusals: list[tuple[dict[str, object], int, str]] = [
        ({"method": "DELETE", "path": f"/v1/grants/{foreign}"}, 404, "grant_unknown"),
        ({"method": "POST", "path": "/v1/grants", "body": {"person": "nobody", "door": "singapore-main-entrance"}}, 404, "person_unknown"),
        ({"method": "POST", "path": "/v1/grants", "body": {"door": "singapore-main-entrance"}}, 400, "field_invalid"),
        ({"method": "POST", "path": "/v1/grants", "body": {"door": 7}}, 400, "field_invalid"),
        ({"method": "POST", "path": f"/v1/doors/{DOOR}/lockdown", "body": {}}, 400, "field_invalid"),
        ({"method": "DELETE", "path": f"/v1/grants/{given['id']}", "if_match": '"1"'}, 412, "changed_meanwhile"),
        ({"method": "DELETE", "path": f"/v1/grants/{given['id']}", "if_match": "1"}, 400, "if_match_invalid"),
        ({"method": "POST", "path": f"/v1/doors/{DOOR}/lockdown", "if_match": '"1"'}, 412, "changed_meanwhile"),
        ({"method": "POST", "path": "/v1/groups", "body": {"name": "New"}, "if_match": '"1"'}, 400, "if_match_unsupported"),
        ({"method": "DELETE", "path": f"/v1/persons/{owner.person}"}, 409, "last_owner"),
        ({"method": "POST", "path": f"/v1/doors/{DOOR}/unlock"}, 422, "not_previewable"),
        ({"method": "PUT", "path": f"/v1/persons/{stranger(7)}/pin", "body": {"pin": "4711"}}, 422, "not_previewable"),
        ({"method": "POST", "path": "/v1/access/preview", "body": {"changes": []}}, 422, "not_previewable"),
    ]
    await projected(service)
    before = await standing(service)
    for change, status, code in refusals:
        problem = await owner("POST", "/v1/access/preview", status, {"changes": [change]}, code)
        assert str(problem["detail"]).startswith("changes[0]: "), problem
    malformed: list[dict[str, object]] = [
        {"changes": []},
        {"changes": [refusals[0][0]], "limit": 0},
        {"changes": [refusals[0][0]], "at": "today"},
        {},
    ]
    for bad in malformed:
        await owner("POST", "/v1/access/preview", 400, bad, "field_invalid")
    assert await standing(service) == before
    lone: dict[str, object] = {"method": "DELETE", "path": f"/v1/grants/{given['id']}"}
    await Manager(service, http, stranger(7))("POST", "/v1/access/preview", 403, {"changes": [lone]}, "role_missing")
    manager = Manager(service, http, stranger(3))
    await owner("PUT", f"/v1/persons/{manager.person}/roles", 200, {"roles": [{"role": "site_manager", "sites": ["berlin"]}]})
    await manager("POST", "/v1/access/preview", 403, {"changes": [lone]}, "role_missing")
    everywhere: dict[str, object] = {"method": "POST", "path": f"/v1/persons/{stranger(7)}/suspend"}
    await manager("POST", "/v1/access/preview", 403, {"changes": [everywhere]}, "role_missing")
    await owner("PUT", f"/v1/persons/{manager.person}/roles", 200, {"roles": [{"role": "auditor", "sites": None}]})
    await manager("POST", "/v1/access/preview", 403, {"changes": [lone]}, "role_missing")  # who may read it may still not do it
    await owner("PUT", f"/v1/persons/{manager.person}/roles", 200, {"roles": []})
    assert (await owner("POST", "/v1/access/preview", 200, {"changes": [lone]}))["lost_total"] == 1
    await owner("DELETE", f"/v1/grants/{given['id']}", 200)
