"""Roles that hold at one site: each does there what its table says, and nothing elsewhere. Every role, by what it allows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from py_service import _core_rs
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import projected
from tests.e2e.manager import Manager, unlocks
from tests.e2e.running import Service, running_service
from tests.e2e.sharing import SITE, at, doors_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELSEWHERE = "new-york"
ROLES = {role: set(permissions) for role, permissions in _core_rs.roles() if role != "owner"}
HIDDEN, REFUSED = (404, "_unknown"), (403, "role_missing")
# What is asked of a door or its lock, by the permission that it takes; and what somebody elsewhere is told who has that permission.
ASKED: dict[str, list[tuple[str, str, object]]] = {
    "doors.read": [("GET", "/v1/doors/{door}", None), ("GET", "/v1/devices/{lock}", None)],
    "doors.write": [("PATCH", "/v1/doors/{door}", {"name": "{door}, renamed"})],
    "devices.write": [("PATCH", "/v1/devices/{lock}", {"name": "{lock}, renamed"})],
    "grants.write": [("POST", "/v1/grants", {"person": "stranger-0", "door": "{door}"})],
    "lockdown.write": [("POST", "/v1/doors/{door}/lockdown", None), ("POST", "/v1/doors/{door}/release", None)],
}
OF_THE_WHOLE: dict[str, tuple[str, str, object]] = {
    "persons.write": ("POST", "/v1/persons", {"name": "Somebody"}),
    "schedules.write": ("POST", "/v1/schedules", {"name": "Never", "windows": []}),
    "roles.write": ("PUT", "/v1/persons/stranger-0/roles", {"roles": []}),
    "keys.write": ("POST", "/v1/api-keys", {"name": "Key", "scopes": ["doors.read"]}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("roles"), doors=12, locks=False, strangers=2) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client(hook=(await conformance_of(service)).hook) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def owner(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.demo.cast["owner"].id)


async def told(manager: Manager, method: str, path: str, body: object = None) -> tuple[int, str]:
    """Status, and the code of a refusal, `<object>_unknown` without the object."""
    answer = await manager.http.request(method, path, json=body, headers=manager.service.headers(manager.person))
    code = "" if answer.status_code < 400 else str(answer.json()["code"])
    return answer.status_code, "_unknown" if code.endswith("_unknown") else code


def of_door(asked: object, door: str) -> object:
    if isinstance(asked, dict):
        return {name: of_door(value, door) for name, value in asked.items()}
    return asked.format(door=door, lock=f"lock-{door}") if isinstance(asked, str) else asked


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_at_a_site_does_there_what_it_allows_and_nothing_elsewhere(
    owner: Manager, service: Service, http: httpx.AsyncClient, role: str
) -> None:
    (here, *_), (there, *_) = await doors_of(service, SITE), await doors_of(service, ELSEWHERE)
    await owner("PUT", "/v1/persons/stranger-1/roles", 200, {"roles": [{"role": role, "sites": [SITE]}]})
    manager = Manager(service, http, "stranger-1")
    for permission, requests in ASKED.items():
        for method, path, body in requests:
            for door in (here, there):
                answer = await told(manager, method, str(of_door(path, door)), of_door(body, door))
                if permission not in ROLES[role]:
                    assert answer == REFUSED, (method, path, door)
                elif door == here:
                    assert answer[0] in (200, 201), (method, path, answer)
                else:
                    assert answer in (HIDDEN, REFUSED), (method, path, answer)
    for permission, (method, path, body) in OF_THE_WHOLE.items():
        assert await told(manager, method, path, body) == REFUSED, permission
    if "doors.read" in ROLES[role]:
        for kind in ("doors", "devices"):
            items = (await manager("GET", f"/v1/{kind}?limit=200", 200))["items"]
            assert isinstance(items, list) and items
            assert all(item["id"].removeprefix("lock-").startswith(SITE) for item in items), items
    # A device can't be brought to another site by who looks after one, and taken from a door it is nobody's but the organization's.
    if "devices.write" in ROLES[role]:
        for place in (there, None):
            assert await told(manager, "PATCH", f"/v1/devices/lock-{here}", {"door": place}) in (HIDDEN, REFUSED)


async def seen(by: Manager, limit: int) -> list[dict[str, object]]:
    """All events that somebody is shown, page by page."""
    found, cursor = list[dict[str, object]](), ""
    while True:
        page = await by("GET", f"/v1/events?limit={limit}{cursor}", 200)
        items = page["items"]
        assert isinstance(items, list) and len(items) <= limit
        found += items
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_events_of_a_site_are_seen_by_who_may_read_them_there(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    (here, *_), (there, *_) = await doors_of(service, SITE), await doors_of(service, ELSEWHERE)
    for door in (here, there, there, here, there):
        await unlocks(service, http, "stranger-0", door)
    await projected(service)
    await owner("PUT", "/v1/persons/stranger-1/roles", 200, {"roles": [{"role": "auditor", "sites": [SITE]}]})
    manager = Manager(service, http, "stranger-1")
    # As one of before stands in the store: it says only at which door it happened.
    decided = {"door": here, "kind": {"$in": ["authorized", "authorized.failed"]}}
    before = await service.database["events"].find_one_and_update(decided, {"$unset": {"sites": 1}})
    assert before is not None and before["sites"] == [SITE]
    everything = await seen(owner, 200)
    for item in everything:
        assert (
            "door" not in item or item["id"] == before["id"] or item["sites"] == [SITE if str(item["door"]).startswith(SITE) else ELSEWHERE]
        )
    own = [item for item in everything if item.get("sites") == [SITE] or item["id"] == before["id"]]
    assert len(own) >= 2 and len(everything) > len(own)
    for limit in (1, 2, 200):
        assert await seen(manager, limit) == own


async def test_the_history_of_a_site_outlives_what_is_deleted(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    """Every change of what is at the site, and of nothing elsewhere; and what happened at a door that is gone, the attempt too."""
    await owner("PUT", "/v1/persons/stranger-1/roles", 200, {"roles": [{"role": "auditor", "sites": [SITE]}]})
    subjects: dict[str, list[str]] = {}
    for site in (SITE, ELSEWHERE):
        area, door, plan = (f"{name}-{site}" for name in ("area", "door", "plan"))
        await owner("POST", "/v1/areas", 201, {"id": area, "name": "Gone", "site": site, "occupancy_max": 5})
        await owner("POST", "/v1/doors", 201, {"id": door, "name": "Gone", "site": site, "area": area})
        grant = (await owner("POST", "/v1/grants", 201, {"person": "stranger-0", "area": area}))["id"]
        await owner("PATCH", f"/v1/grants/{grant}", 200, {"effect": "deny"})
        await owner("POST", "/v1/lockdown-plans", 201, {"id": plan, "name": "Gone", "areas": [area]})
        for path in (f"lockdown-plans/{plan}/engage", f"lockdown-plans/{plan}/release", f"sites/{site}/lockdown", f"sites/{site}/release"):
            await owner("POST", f"/v1/{path}", 200)
        await owner("POST", f"/v1/areas/{area}/occupancy/reset", 200)
        given = await owner("POST", "/v1/passes", 201, {"name": "Gone", "doors": [door], "valid_until": at(1)})
        assert await unlocks(service, http, "stranger-0", door) == "denied_by_rule"
        for path in (f"passes/{given['id']}", f"lockdown-plans/{plan}", f"grants/{grant}", f"doors/{door}", f"areas/{area}"):
            await owner("DELETE", f"/v1/{path}", 200)
        subjects[site] = [area, door, str(grant), plan, str(given["id"]), site]
    await owner("POST", "/v1/lockdown-plans", 201, {"id": "both", "name": "Both", "sites": [SITE, ELSEWHERE]})
    await projected(service)
    everything, shown = await seen(owner, 200), await seen(Manager(service, http, "stranger-1"), 200)
    kinds = {
        site: [item["kind"] for item in everything if item.get("subject") in subjects[site] or item.get("door") in subjects[site]]
        for site in subjects
    }
    assert len(set(kinds[SITE])) == 17 and kinds[SITE] == kinds[ELSEWHERE], kinds
    assert [item["kind"] for item in shown if item.get("subject") in subjects[SITE] or item.get("door") in subjects[SITE]] == kinds[SITE]
    assert all(item["sites"] == [SITE] for item in shown if "sites" in item)
    assert [item["sites"] for item in everything if item.get("subject") == "both"] == [[SITE, ELSEWHERE]]
    attempts = [next(item["id"] for item in everything if item.get("door") == f"door-{site}") for site in (SITE, ELSEWHERE)]
    manager = Manager(service, http, "stranger-1")
    assert [await told(manager, "GET", f"/v1/attempts/{attempt}") for attempt in attempts] == [(200, ""), HIDDEN]
