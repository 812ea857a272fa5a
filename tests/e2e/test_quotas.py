"""Quotas of the running service: what its answers say, when they refuse, and that nothing was done then."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.e2e.conformance import Conformance, conformance_of
from tests.e2e.running import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNLOCKS, REQUESTS, OPEN, SIGN_INS = 3, 8, 60, 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(
        tmp_path_factory.mktemp("quotas"), locks=False, doors=4, persons=12, strangers=4, api_workers=1,
        unlocks_per_minute_max=UNLOCKS, requests_per_minute_max=REQUESTS, open_requests_per_minute_max=OPEN,
        sign_ins_per_minute_max=SIGN_INS, trusted_proxies=("127.0.0.1/32",),
    ) as running:  # fmt: skip
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def conformance(service: Service) -> Conformance:
    return await conformance_of(service)


@pytest_asyncio.fixture(loop_scope="module")
async def phone(service: Service, conformance: Conformance) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client(hook=conformance.hook) as client:
        yield client


async def test_unlocks_are_refused_when_they_are_used_up_and_are_no_attempts(service: Service, phone: httpx.AsyncClient) -> None:
    door, headers = service.demo.doors()[0], service.headers("stranger-0")
    answers = [await phone.post(f"/v1/doors/{door}/unlock", headers=headers) for _ in range(UNLOCKS + 2)]
    assert [answer.status_code for answer in answers] == [403] * UNLOCKS + [429] * 2
    assert [answer.headers["ratelimit"].split(";")[:2] for answer in answers] == [['"unlock"', f"r={n}"] for n in (2, 1, 0, 0, 0)]
    refused = answers[-1]
    assert refused.headers["ratelimit-policy"] == f'"unlock";q={UNLOCKS};w=60'
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["ratelimit"] == f'"unlock";r=0;t={refused.headers["retry-after"]}'
    assert 1 <= int(refused.headers["retry-after"]) <= 60 / UNLOCKS
    journaled = await service.database["journal"].find({}).to_list()
    attempts = [event for document in journaled for event in document["events"] if event.get("person") == "stranger-0"]
    assert len(attempts) == UNLOCKS
    assert (await phone.get("/v1/me", headers=headers)).status_code == 200  # the rest has a quota of its own
    other = await phone.post(f"/v1/doors/{door}/unlock", headers=service.headers("stranger-1"))
    assert other.status_code == 403  # and so has the next person


async def test_everything_else_is_one_quota_and_a_refused_change_changes_nothing(service: Service, phone: httpx.AsyncClient) -> None:
    headers = service.owner()
    statuses = [(await phone.get(path, headers=headers)).status_code for path in ("/v1/doors", "/v1/me") for _ in range(REQUESTS // 2)]
    assert statuses == [200] * REQUESTS
    key = {"Idempotency-Key": "group-1"}
    refused = await phone.post("/v1/groups", json={"name": "Too many"}, headers=headers | key)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert await service.database["groups"].count_documents({"name": "Too many"}) == 0
    neighbours = service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
    assert (await phone.get("/v1/doors", headers=neighbours)).status_code == 200


async def test_sign_ins_are_counted_for_the_address_that_the_proxy_names(service: Service, phone: httpx.AsyncClient) -> None:
    async def sign_in(forwarded: str) -> int:
        wrong = {"email": "nobody@example.test", "password": "wrong"}
        return (await phone.post("/v1/sign-in", json=wrong, headers={"X-Forwarded-For": forwarded})).status_code

    assert [await sign_in(f"203.0.113.{number}, 198.51.100.1") for number in range(SIGN_INS + 1)] == [401] * SIGN_INS + [429]
    assert await sign_in("198.51.100.1, 203.0.113.1") == 401


async def test_guesses_at_tokens_run_dry_and_hold_nobody_up(service: Service, phone: httpx.AsyncClient) -> None:
    guesser = {"X-Forwarded-For": "198.51.100.7", "Authorization": "Bearer nothing"}
    statuses = [(await phone.get("/v1/doors", headers=guesser)).status_code for _ in range(OPEN + 2)]
    assert statuses[:OPEN] == [401] * OPEN and 429 in statuses[OPEN:]
    colleague = service.headers("stranger-2") | {"X-Forwarded-For": "198.51.100.7"}
    assert (await phone.get("/v1/me", headers=colleague)).status_code == 200


async def test_health_has_none(phone: httpx.AsyncClient) -> None:
    answers = [await phone.get("/healthz") for _ in range(OPEN + 5)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("ratelimit" in answer.headers for answer in answers)
