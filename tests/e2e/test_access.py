"""Grants that change, lockdowns that overlap, and what a change would alter: over HTTP, through every process, held against the door."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.evidence import faults_in_the_books, projected
from tests.e2e.manager import DOOR, Manager, stranger, unlocks
from tests.e2e.running import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("access"), doors=6, strangers=8) as running:
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
    for bad in ({"valid_from": "2100-01-03T00:00:00Z"}, {"uses": 1}, {"effect": None}, {"valid_until": "1960-01-01T00:00:00Z"}):
        await owner("PATCH", grant, 400, bad, "field_invalid")
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
    model = {name: value for name, value in given.items() if name not in ("revision", "changed_at")}
    for patch in patches:
        after = model | patch
        begins, ends = after["valid_from"], after["valid_until"]
        holds = after == model or begins is None or ends is None or str(begins) < str(ends)
        await owner("PATCH", grant, *((200, patch) if holds else (400, patch, "field_invalid")))
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
    for what, held, expected in steps:
        for _ in range(2):  # to repeat it is safe
            answer = await owner("POST", f"/v1/{what}", 200)
            assert datetime.datetime.fromisoformat(str(answer["effective_by"])) > datetime.datetime.now(datetime.UTC)
            if what.startswith("doors/"):
                assert (answer["held_by"], answer["locked_down"]) == (held, bool(held))
            else:
                assert answer.get("engaged", True) == ("release" not in what) or "held_by" in answer
        assert await holders("doors", DOOR) == held, what
        assert await unlocks(service, http, owner.person) == expected, what
    assert await unlocks(service, http, owner.person, other) == "granted"
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
