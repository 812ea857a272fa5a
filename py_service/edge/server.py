"""The application that Granian calls: one request in, one answer out. What it is made of comes from `app`.

Granian doesn't cancel a handler when the client goes away, so whatever was begun is finished; the answer is then dropped.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from py_service.edge.address import ClientNetworks
from py_service.edge.codec import read_body, read_headers, read_query
from py_service.edge.identity import Authenticator
from py_service.edge.limits import Limits
from py_service.edge.meter import Headers, Meter
from py_service.edge.problem import answer_to
from py_service.edge.process import die_with_parent
from py_service.edge.routes import Endpoint, RouteTable
from py_service.errors import Problem, stores_unavailable
from py_service.exchange import Handler, Quota, Request, Response, Route, key_of, match_unsupported
from py_service.telemetry import RequestMetrics, logger, request_id_of

if TYPE_CHECKING:
    from py_service.edge.rsgi import Exchange, Scope, Socket
    from py_service.exchange import Principal

_REQUEST_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_COMPOSE_SECONDS_MAX = 3.0  # a connection waits for so long; after that it is told to come again
_LOG = logger("edge")
Result = TypeVar("Result")


@dataclass(slots=True, frozen=True)
class Composition:
    """Everything the edge serves, made by `app` inside the worker process. `close` undoes it.

    `once` carries out a request with an Idempotency-Key, or gives the answer that it had before.
    """

    routes: Sequence[Route]
    authenticator: Authenticator
    metrics: RequestMetrics
    close: Callable[[], Awaitable[None]]
    once: Callable[[str, Request, Handler], Awaitable[Response]]
    limits: Limits = field(default_factory=Limits)


class EdgeApplication:
    """`compose` runs on the worker's loop before the first request is taken; if it raises, the worker doesn't start.

    While it takes long (a store is away) every request is answered with a 503: another worker that has started must not be dragged down.
    """

    def __init__(self, compose: Callable[[], Awaitable[Composition]]) -> None:
        self._compose = compose
        self._adopting: asyncio.Task[None] | None = None
        self._composition: Composition | None = None
        self._in_flight = 0
        self._made = 0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        die_with_parent()
        composing = loop.create_task(_awaited(self._compose()))
        loop.run_until_complete(asyncio.wait([composing], timeout=_COMPOSE_SECONDS_MAX))
        if composing.done():
            self.adopt(composing.result())
        else:
            self._adopting = loop.create_task(self._adopt_late(composing))

    async def _adopt_late(self, composing: asyncio.Task[Composition]) -> None:
        try:
            self.adopt(await composing)
        except Exception:  # noqa: BLE001  whatever it was, a worker that can't start ends
            _LOG.exception("worker doesn't start")
            os.kill(os.getpid(), signal.SIGKILL)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._composition is not None:
            loop.run_until_complete(_awaited(self._composition.close()))

    def adopt(self, composition: Composition) -> None:
        """Serve this. Raises ValueError when its routes are ambiguous."""
        limits = composition.limits
        self._composition = composition
        self._limits = limits
        self._authenticator = composition.authenticator
        self._metrics = composition.metrics
        self._once = composition.once
        self._table = RouteTable(composition.routes, composition.metrics)
        self._unmatched = composition.metrics.recorder("", "unmatched")
        self._networks = ClientNetworks(limits.trusted_proxies, limits.forwarded_header)
        self._meters: dict[Quota, Meter] = {
            "sign-in": Meter("sign-in", limits.sign_ins_per_minute_max),
            "open": Meter("open", limits.open_requests_per_minute_max),
            "unlock": Meter("unlock", limits.unlocks_per_minute_max),
            "request": Meter("request", limits.requests_per_minute_max),
        }
        self._id_prefix = secrets.token_hex(8)  # made after the fork: two workers never count in the same series

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        received_ns = time.perf_counter_ns()
        if scope.proto != "http":
            cast("Socket", exchange).close(404)
            return
        if self._composition is None:
            request_id = secrets.token_hex(8)
            self._send(exchange, answer_to(stores_unavailable("This process waits for its stores."), request_id), request_id)
            return
        recorder = self._unmatched
        request_id = ""
        quota: Headers = []
        self._in_flight += 1
        try:
            headers = read_headers(scope.headers, self._limits)
            request_id = self._request_id(headers.get("x-request-id"))
            request_id_of.set(request_id)
            path = scope.path
            self._check_room(path)
            endpoint, parameters = self._table.match(scope.method, path)
            recorder = endpoint.recorder
            request = Request(scope.method, path, parameters, {}, headers, b"", request_id, received_ns)
            response = await self._answer(endpoint, request, scope, exchange, quota)
        except Exception as error:  # noqa: BLE001  whatever it was, the client gets an answer and the log the cause
            request_id = request_id or self._request_id(None)
            response = answer_to(error, request_id)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight = self._in_flight
        self._send(exchange, response, request_id, quota)
        recorder.record(response.status, time.perf_counter_ns() - received_ns)

    async def _answer(self, endpoint: Endpoint, request: Request, scope: Scope, exchange: Exchange, quota: Headers) -> Response:
        """Cheapest refusals first; a body is read only for who may send one. `quota` is told what is left of it."""
        if not endpoint.person and endpoint.quota != "none":
            self._take_for_network(endpoint.quota, scope, request, quota)
        if query := scope.query_string:
            request.query = read_query(query, self._limits)
        headers = request.headers
        if not endpoint.takes_match and "if-match" in headers:
            raise match_unsupported()  # never passed over: who sends one relies on it
        key = key_of(headers.get("idempotency-key")) if endpoint.takes_key else None
        # A repeat gets its answer without passing the fence of a change, so it passes the edge's.
        fenced = endpoint.fenced or (key is not None and endpoint.keyed)
        sent = "content-length" in headers or "transfer-encoding" in headers
        if endpoint.person:
            request.claims = await self._admitted(endpoint, request, scope, fenced and not sent, quota)
        if sent:
            request.body = await read_body(headers, exchange, endpoint.body_bytes_max, self._limits.body_seconds_max)
            if endpoint.person and fenced:
                # Seconds may have gone by; what counts is the permissions after the body was whole.
                request.claims = await self._authenticator.authenticate(headers.get("authorization"), True, endpoint.takes_api_keys)
        if key is not None and endpoint.keyed:
            return await self._once(key, request, endpoint.handler)
        return await endpoint.handler(request)

    async def _admitted(self, endpoint: Endpoint, request: Request, scope: Scope, fenced: bool, quota: Headers) -> Principal:
        """Who asks, and has something left of a quota. What isn't proved to be anybody's is taken from its network's, and before a
        store is asked about it: that bounds guessing, and what it costs."""
        meter = self._meters[endpoint.quota]

        def take(caller: Principal) -> None:
            quota.clear()  # who was in doubt has proved themselves
            meter.take(f"{caller.organization}:{caller.subject}", time.monotonic(), quota)

        def doubt() -> None:
            self._take_for_network("open", scope, request, quota)

        authorization = request.headers.get("authorization")
        try:
            return await self._authenticator.authenticate(authorization, fenced, endpoint.takes_api_keys, take, doubt)
        except Problem as refusal:
            if refusal.status == 401 and not quota:
                doubt()
            raise

    def _take_for_network(self, name: Quota, scope: Scope, request: Request, quota: Headers) -> None:
        self._meters[name].take(self._networks.of(scope.client, request.headers), time.monotonic(), quota)

    def _check_room(self, path: str) -> None:
        if self._in_flight > self._limits.requests_concurrent_max and path not in self._limits.always_open:
            raise Problem(503, "overloaded", "Too many requests are under way.", retry_after_seconds=1)
        if len(path) > self._limits.path_characters_max:
            raise Problem(404, "route_unknown", "There is nothing at this path.")

    def _request_id(self, offered: str | None) -> str:
        if offered and len(offered) <= 64 and _REQUEST_ID_CHARACTERS.issuperset(offered):
            return offered
        self._made += 1
        return f"{self._id_prefix}-{self._made:x}"

    def _send(self, exchange: Exchange, response: Response, request_id: str, quota: Sequence[tuple[str, str]] = ()) -> None:
        headers = [("content-type", response.content_type), ("x-request-id", request_id), *quota]
        extra = response.headers
        if extra:
            headers.extend(extra.items())
        if "cache-control" not in extra:
            headers.append(("cache-control", "no-store"))  # everything here is somebody's, now
        try:
            if response.body:
                exchange.response_bytes(response.status, headers, response.body)
            else:
                exchange.response_empty(response.status, headers[1:])
        except RuntimeError as error:  # RSGIProtocolClosed: the client is gone; what was decided stays decided
            _LOG.info("answer dropped", request_id=request_id, error=type(error).__name__)


async def _awaited(awaitable: Awaitable[Result]) -> Result:
    return await awaitable
