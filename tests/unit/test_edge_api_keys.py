"""API keys at the edge: proved against permissions, refused where only persons have something to do, and noted when they were used."""

from __future__ import annotations

import pytest

from py_service.edge.limits import Limits
from py_service.errors import KEY_REFUSALS, stores_unavailable
from py_service.identity.api_key import make_key
from tests.unit.edge_support import Edge, MadeExchange, make_edge

KEY = make_key("acme", "k1")
FENCED, UNFENCED = ("GET", "/v1/persons"), ("POST", "/v1/grants")


async def shown(edge: Edge, method: str, path: str, text: str = KEY) -> MadeExchange:
    body = b'{"name":"x"}' if method == "POST" else b""
    return await edge.ask(method, path, body=body, token=None, headers={"authorization": f"Bearer {text}"})


@pytest.mark.parametrize(("path", "reads"), [(FENCED, 1), (UNFENCED, 0)])
async def test_a_key_that_stands_is_the_caller(path: tuple[str, str], reads: int) -> None:
    edge = await make_edge()
    exchange = await shown(edge, *path)
    assert exchange.status in (200, 201)
    assert edge.last is not None
    caller = edge.last.caller()
    assert (caller.organization, caller.subject) == ("acme", "api_key:k1")
    assert edge.permissions.current_calls == reads
    assert set(edge.keys_used) == {"api_key:k1"}


@pytest.mark.parametrize("path", [("GET", "/v1/me"), ("POST", "/v1/doors/d1/unlock")])
async def test_what_is_a_persons_own_is_refused_without_a_look_at_any_store(path: tuple[str, str]) -> None:
    edge = await make_edge()
    exchange = await shown(edge, *path)
    assert (exchange.status, exchange.problem()["code"]) == (403, "person_needed")
    assert (edge.calls, edge.permissions.current_calls, edge.keys_used) == (0, 0, [])


@pytest.mark.parametrize("path", [FENCED, UNFENCED])
@pytest.mark.parametrize("cause", ["api_key_unknown", "stores_unavailable"])
async def test_what_memory_has_not_heard_of_is_asked_again(path: tuple[str, str], cause: str) -> None:
    edge = await make_edge()
    edge.permissions.causes = [cause, None]
    assert (await shown(edge, *path)).status in (200, 201)
    assert edge.permissions.current_calls >= 1


@pytest.mark.parametrize("path", [FENCED, UNFENCED])
@pytest.mark.parametrize("cause", [code for code in KEY_REFUSALS if code != "api_key_malformed"])
async def test_a_key_that_does_not_stand(path: tuple[str, str], cause: str) -> None:
    edge = await make_edge()
    edge.permissions.causes = [cause]
    exchange = await shown(edge, *path)
    assert (exchange.status, exchange.problem()["code"]) == (401, cause)
    assert exchange.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert (edge.calls, edge.keys_used) == (0, [])


async def test_an_organization_that_nobody_knows_looks_like_a_wrong_secret() -> None:
    edge = await make_edge()
    edge.permissions.causes = ["stores_unavailable"]
    assert (await shown(edge, *FENCED)).problem()["code"] == "api_key_unknown"


async def test_a_suspended_organization_is_told_to_its_key() -> None:
    edge = await make_edge()
    edge.permissions.causes = ["organization_suspended"]
    exchange = await shown(edge, *UNFENCED)
    assert (exchange.status, exchange.problem()["code"]) == (403, "organization_suspended")


async def test_a_store_that_is_away_is_no_refusal() -> None:
    edge = await make_edge()
    edge.permissions.failure = stores_unavailable()
    assert (await shown(edge, *FENCED)).status == 503


async def test_only_who_has_proved_themselves_takes_from_the_keys_quota() -> None:
    edge = await make_edge()
    proved = await shown(edge, *FENCED)
    edge.permissions.causes = ["api_key_unknown"]
    unproved = await shown(edge, *FENCED)
    assert '"request"' in proved.headers["ratelimit"]
    assert '"open"' in unproved.headers["ratelimit"]


async def test_guesses_use_up_their_address_and_then_cost_no_store() -> None:
    edge = await make_edge(Limits(open_requests_per_minute_max=2))
    edge.permissions.causes = ["api_key_unknown"]
    assert [(await shown(edge, *UNFENCED)).status for _ in range(4)] == [401, 401, 429, 429]
    assert edge.permissions.current_calls == 2
    edge.permissions.causes = [None]
    assert (await shown(edge, *UNFENCED)).status == 201  # who is known isn't held up


async def test_a_new_key_is_in_doubt_once() -> None:
    edge = await make_edge()
    edge.permissions.causes = ["api_key_unknown", None]
    exchange = await shown(edge, *UNFENCED)
    assert (exchange.status, exchange.headers["ratelimit"].split(";")[0]) == (201, '"request"')


@pytest.mark.parametrize("text", [KEY[:-1], KEY + "0", "nxk_", "nxk_acme.k1.secret"], ids=["cut", "longer", "empty", "no checksum"])
async def test_malformed(text: str) -> None:
    edge = await make_edge()
    exchange = await shown(edge, *FENCED, text)
    assert (exchange.status, exchange.problem()["code"]) == (401, "api_key_malformed")
    assert edge.permissions.current_calls == 0
