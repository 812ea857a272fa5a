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
