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
from tests.e2e.sharing import SITE, doors_of

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


async def test_events_of_a_site_are_seen_by_who_may_read_them_there(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    (here, *_), (there, *_) = await doors_of(service, SITE), await doors_of(service, ELSEWHERE)
    for door in (here, there, there, here, there):
        await unlocks(service, http, "stranger-0", door)
    await projected(service)
    await owner("PUT", "/v1/persons/stranger-1/roles", 200, {"roles": [{"role": "auditor", "sites": [SITE]}]})
    manager = Manager(service, http, "stranger-1")

    async def seen(by: Manager, limit: int) -> list[tuple[str, str | None]]:
        found, cursor = list[tuple[str, str | None]](), ""
        while True:
            page = await by("GET", f"/v1/events?limit={limit}{cursor}", 200)
            items = page["items"]
            assert isinstance(items, list) and len(items) <= limit
            found += [(item["id"], item.get("door")) for item in items]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    everything = await seen(owner, 200)
    own = [(identifier, door) for identifier, door in everything if door is not None and door.startswith(SITE)]
    assert len(own) >= 2 and len(everything) > len(own)
    for limit in (1, 2, 200):
        assert await seen(manager, limit) == own
