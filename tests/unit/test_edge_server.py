"""The edge around a handler: request ids, unexpected failures, concurrency, metrics, life of a worker."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from structlog.testing import capture_logs

from py_service.edge.health import HealthHandlers
from py_service.edge.limits import Limits
from py_service.edge.routes import RouteTable
from py_service.errors import Problem, StoreUnavailable
from py_service.exchange import Request, Response, Route
from py_service.telemetry import RequestMetrics
from tests.unit.edge_support import TOLD, Edge, MadeExchange, MadeHeaders, MadeScope, make_edge


async def test_plain_answer() -> None:
    edge = await make_edge()
    exchange = await edge.ask("POST", "/v1/doors/d-1/unlock")
    assert (exchange.status, exchange.body) == (200, b'{"plain":true}')
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.headers["cache-control"] == "no-store"
    assert edge.last is not None
    assert edge.last.parameters == {"door": "d-1"}


async def test_empty_answer_has_no_content_type() -> None:
    edge = await make_edge()
    exchange = await edge.ask("DELETE", "/v1/doors/d1")
    assert (exchange.status, exchange.body) == (204, b"")
    assert "content-type" not in exchange.headers


@pytest.mark.parametrize("offered", ["abc", "A-b_9", "x" * 64])
async def test_request_id_is_taken(offered: str) -> None:
    edge = await make_edge()
    exchange = await edge.ask("GET", "/v1/me", headers={"x-request-id": offered})
    assert exchange.headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["", "x" * 65, "a b", "a\nb", "é", '"', None])
async def test_request_id_is_made(offered: str | None) -> None:
    edge = await make_edge()
    first = await edge.ask("GET", "/v1/nowhere", headers={"x-request-id": offered})
    second = await edge.ask("GET", "/v1/nowhere")
    made = {first.headers["x-request-id"], second.headers["x-request-id"]}
    assert len(made) == 2
    assert offered not in made
    assert all(0 < len(each) <= 64 for each in made)


async def test_unexpected_failure_shows_nothing_and_is_logged_with_the_id() -> None:
    edge = await make_edge()
    edge.failure = ValueError("a secret detail")
    with capture_logs() as lines:
        exchange = await edge.ask("GET", "/v1/me", headers={"x-request-id": "find-me"})
    assert (exchange.status, exchange.problem()["code"]) == (500, "internal")
    assert b"secret" not in exchange.body
    assert [(line["request_id"], line["error"]) for line in lines] == [("find-me", "ValueError")]


async def test_problem_of_a_handler_with_members() -> None:
    edge = await make_edge()
    edge.failure = Problem(403, "no_grant", "No grant.", members={"door": "d1", "status": 200, "code": "granted"})
    problem = (await edge.ask("GET", "/v1/me")).problem()
    assert (problem["code"], problem["door"], problem["status"]) == ("no_grant", "d1", 403)


async def test_problem_with_a_member_that_is_no_json() -> None:
    edge = await make_edge()
    edge.failure = Problem(403, "no_grant", "No grant.", members={"door": object()})
    assert (await edge.ask("GET", "/v1/me")).status == 500


async def test_store_unavailable() -> None:
    edge = await make_edge()
    edge.failure = StoreUnavailable("mongodb://user:password@host went away")
    exchange = await edge.ask("GET", "/v1/me")
    assert (exchange.status, exchange.problem()["code"], exchange.headers["retry-after"]) == (503, "stores_unavailable", "1")
    assert b"password" not in exchange.body


async def test_client_that_is_gone() -> None:
    class Gone(MadeExchange):
        def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            raise RuntimeError("closed")

    edge = await make_edge()
    scope = MadeScope("GET", "/v1/me", "", MadeHeaders([("authorization", "Bearer good")]))
    await edge.application.__rsgi__(scope, Gone())
    assert edge.calls == 1


async def test_websocket_is_turned_away() -> None:
    edge = await make_edge()
    exchange = MadeExchange()
    await edge.application.__rsgi__(MadeScope("GET", "/v1/me", "", MadeHeaders([]), proto="ws"), exchange)
    assert (exchange.closed_with, exchange.answers) == (404, 0)


async def test_full_process_refuses_but_stays_healthy() -> None:
    edge = await make_edge(Limits(requests_concurrent_max=2))
    edge.hold = asyncio.Event()
    held = [asyncio.create_task(edge.ask("GET", "/v1/me")) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert edge.calls == 2
    exchange = await edge.ask("GET", "/v1/me")
    assert (exchange.status, exchange.problem()["code"], exchange.headers["retry-after"]) == (503, "overloaded", "1")
    health = asyncio.create_task(edge.ask("GET", "/healthz"))
    await asyncio.sleep(0.01)
    edge.hold.set()
    assert {exchange.status for exchange in await asyncio.gather(*held, health)} == {200}
    assert (await edge.ask("GET", "/v1/me")).status == 200


async def test_metrics_by_pattern_and_status() -> None:
    edge = await make_edge()
    for path in ("/v1/doors/d1/unlock", "/v1/doors/d2/unlock"):
        await edge.ask("POST", path)
    await edge.ask("POST", "/v1/doors/d2/unlock", token=None)
    await edge.ask("GET", "/v1/nowhere")
    text = edge.metrics.exposition().decode()
    route = 'method="POST",process="test",route="/v1/doors/{door}/unlock"'
    assert f'nexkey_http_requests_total{{{route},status="200"}} 2.0' in text
    assert f'nexkey_http_requests_total{{{route},status="401"}} 1.0' in text
    assert f"nexkey_http_request_seconds_count{{{route}}} 3.0" in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert 'nexkey_http_requests_in_flight{process="test"} 0.0' in text
    assert "d1" not in text


async def test_health_routes() -> None:
    lacking: list[str] = []

    async def missing() -> list[str]:
        return lacking

    handlers = HealthHandlers(missing, RequestMetrics("test"))
    request = Request("GET", "/readyz", {}, {}, {}, b"", "id", 0)
    assert [route.pattern for route in handlers.routes()] == ["/healthz", "/readyz", "/metrics"]
    assert (await handlers.healthz(request)).status == 200
    assert (await handlers.readyz(request)).status == 200
    assert b"nexkey_http_requests_in_flight" in (await handlers.prometheus(request)).body
    lacking.append("mongo")
    with pytest.raises(Problem) as refusal:
        await handlers.readyz(request)
    assert (refusal.value.status, refusal.value.members) == (503, {"missing": ["mongo"]})


def test_life_of_a_worker() -> None:
    edge = Edge()
    loop = asyncio.new_event_loop()
    try:
        edge.application.__rsgi_init__(loop)
        assert json.loads(loop.run_until_complete(edge.ask("GET", "/v1/me")).body) == {"plain": True}
        edge.application.__rsgi_del__(loop)
        assert edge.calls == -1
    finally:
        loop.close()


@pytest.mark.parametrize(
    "patterns",
    [
        ["/v1/a", "/v1/a"],
        ["/v1/{a}/x", "/v1/{b}/x"],
        ["/v1/doors/{door}", "/v1/doors/first/x/{y}"],
    ],
)
def test_ambiguous_routes_are_refused_at_the_start(patterns: list[str]) -> None:
    async def handler(request: Request) -> Response:
        return Response(200)

    with pytest.raises(ValueError, match=r"two routes|name and a parameter"):
        RouteTable([Route("GET", pattern, handler, about=TOLD) for pattern in patterns], RequestMetrics("test"))


async def test_the_fence_is_read_when_the_body_is_whole() -> None:
    """Seconds can go by while a body arrives: what counts is the permissions after it."""
    edge = await make_edge()
    began, read_after = time.monotonic(), list[float]()
    current = edge.permissions.current

    async def noted(organization: str, /) -> int:
        read_after.append(time.monotonic() - began)
        return await current(organization)

    edge.permissions.current = noted  # type: ignore[method-assign]
    exchange = await edge.ask("POST", "/v1/wishes", chunks=[b'{"name":', b'"x"}'], seconds_between=0.03)
    assert exchange.status == 201
    assert len(read_after) == 1 and read_after[0] >= 0.06
