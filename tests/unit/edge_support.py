"""What the edge's unit tests share: a made-up RSGI exchange, a ring that knows tokens by their text, and an edge around a few routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec

from py_service._core_rs import TokenError
from py_service.edge.identity import Authenticator
from py_service.edge.limits import Limits
from py_service.edge.server import Composition, EdgeApplication
from py_service.exchange import Handler, Operation, Request, Response, Route, decoded, encoded
from py_service.identity.api_key import ReadKey, read_key
from py_service.identity.api_key_uses import Used
from py_service.telemetry import RequestMetrics

if TYPE_CHECKING:
    from py_service._core_rs import Claims

NOW_MS = 1_800_000_000_000


@dataclass
class MadeHeaders:
    """As Granian gives them: names in lower case, a value that isn't ASCII missing from `items()` but not from `keys()`."""

    pairs: list[tuple[str, str | None]]

    def items(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.pairs if value is not None]

    def keys(self) -> list[str]:
        return [name for name, _ in self.pairs]


@dataclass
class MadeScope:
    method: str
    path: str
    query_string: str
    headers: MadeHeaders
    client: str = "192.0.2.1:5000"
    proto: str = "http"


@dataclass
class MadeExchange:
    """Gives `chunks`, waiting `seconds_between` before each; keeps what was answered."""

    chunks: Sequence[bytes] = ()
    seconds_between: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    answers: int = 0
    given: int = 0
    closed_with: int | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in (*self.chunks, b""):
            if self.seconds_between:
                await asyncio.sleep(self.seconds_between)
            self.given += 1
            yield chunk

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.response_bytes(status, headers, b"")

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, dict(headers), body
        assert len(self.headers) == len(headers), f"a header is given twice: {headers}"
        self.answers += 1

    def close(self, status: int | None = None) -> tuple[int, bool]:
        self.closed_with = status
        return (status or 0, False)

    def problem(self) -> dict[str, Any]:
        """The problem document, held against the contract."""
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert document["type"] == f"/problems/{document['code']}"
        assert document["request_id"] == self.headers["x-request-id"]
        assert document["title"]
        assert document["detail"]
        return document


@dataclass
class MadeClaims:
    organization: str = "acme"
    subject: str = "ada"
    kind: str = "person"
    session: str = "family"
    key_id: str = "access.1"
    issued_at_ms: int = NOW_MS
    expires_at_ms: int = NOW_MS + 300_000
    topics: list[str] = field(default_factory=list)


class MadeRing:
    """A token is a comma-separated text: the first word `good`, or the code of its refusal; then the kind of its subject."""

    def __init__(self) -> None:
        self.unknown = {"good-after-reload"}

    def verify_access_token(self, token: str, audience: str, now_ms: int) -> Claims:
        assert audience == "api"
        assert now_ms == NOW_MS
        word, _, kind = token.partition(",")
        if word in self.unknown:
            raise refused_token("token_key_unknown")
        if not word.startswith("good"):
            raise refused_token(word if word.startswith("token_") else "token_malformed")
        return cast("Claims", MadeClaims(kind=kind or "person"))


def refused_token(code: str) -> TokenError:
    """The core's error with its code, as the extension raises it."""
    error = TokenError(code)
    error.code = code
    return error


@dataclass
class MadePermissions:
    """`causes` are given one after the other, then the last one for ever; `current` counts its calls."""

    causes: list[str | None] = field(default_factory=lambda: [None])
    current_calls: int = 0
    failure: Exception | None = None

    @property
    def index(self) -> MadePermissions:
        return self

    def authenticate(self, organization: str, subject: str, at_ms: int, session: str) -> str | None:
        assert (organization, at_ms) == ("acme", NOW_MS)
        assert (subject, session) == ("ada", "family") or subject == "api_key:k1"
        return self.causes.pop(0) if len(self.causes) > 1 else self.causes[0]

    async def current(self, organization: str, /) -> int:
        self.current_calls += 1
        if self.failure:
            raise self.failure
        return 1


TOLD = Operation("Whatever a test needs", "Tests", {200: None})
MANAGED = Operation("Whatever needs a role", "Tests", {200: None}, permission="persons.read")


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0


class Edge:
    """An edge around a few routes. `calls` counts how often a handler ran: a refused request must leave it alone."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.calls = 0
        self.keys: list[str] = []
        self.keys_used: list[str] = []
        self.last: Request | None = None
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.ring = MadeRing()
        self.permissions = MadePermissions()
        self.reloads = 0
        self.reload_answer = True
        self.metrics = RequestMetrics("test")
        self.application = EdgeApplication(self.compose)
        self.limits = limits or Limits()
        self._decoder = msgspec.json.Decoder(Wish)

    async def compose(self) -> Composition:
        async def reload_keys() -> bool:
            self.reloads += 1
            self.ring.unknown.clear()
            return self.reload_answer

        async def close() -> None:
            self.calls = -1

        routes = [
            Route("POST", "/v1/sign-in", self.wish, access="anyone", fenced=False, body_bytes_max=256, own_quota="sign-in", about=TOLD),
            Route("GET", "/v1/open", self.plain, access="anyone", fenced=False, body_bytes_max=0, about=TOLD),
            Route("POST", "/v1/grants", self.wish, fenced=False, body_bytes_max=256, about=MANAGED),
            Route("GET", "/v1/persons", self.plain, body_bytes_max=0, about=MANAGED),
            Route("GET", "/v1/me", self.plain, body_bytes_max=0, about=TOLD),
            Route("POST", "/v1/wishes", self.wish, body_bytes_max=256, about=TOLD),
            Route(
                "POST", "/v1/doors/{door}/unlock", self.plain, fenced=False, body_bytes_max=0, own_key=True, own_quota="unlock", about=TOLD
            ),
            Route("DELETE", "/v1/doors/{door}", self.empty, about=TOLD),
            Route("GET", "/healthz", self.plain, access="anyone", fenced=False, body_bytes_max=0, own_quota="none", about=TOLD),
        ]
        authenticator = Authenticator(self.ring, self.permissions, reload_keys, self, lambda: NOW_MS)
        return Composition(routes, authenticator, self.metrics, close, self.once, self.limits)

    def read(self, text: str) -> ReadKey | None:
        return read_key(text)

    def used(self, key: Used) -> None:
        self.keys_used.append(key.subject)

    async def once(self, key: str, request: Request, handler: Handler) -> Response:
        """Remembers that it was asked, and nothing else."""
        self.keys.append(key)
        return await handler(request)

    async def wish(self, request: Request) -> Response:
        wish = decoded(self._decoder, request.body)
        await self._called(request)
        return encoded(201, wish)

    async def plain(self, request: Request) -> Response:
        await self._called(request)
        return Response(200, b'{"plain":true}')

    async def empty(self, request: Request) -> Response:
        await self._called(request)
        return Response(204)

    async def _called(self, request: Request) -> None:
        self.calls += 1
        self.last = request
        if self.hold:
            await self.hold.wait()
        if self.failure:
            raise self.failure

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        chunks: Sequence[bytes] | None = None,
        headers: dict[str, str | None] | None = None,
        pairs: Sequence[tuple[str, str | None]] = (),
        token: str | None = "good",
        query: str = "",
        client: str = "192.0.2.1:5000",
        seconds_between: float = 0.0,
    ) -> MadeExchange:
        """One request. `body` comes with its length and type; `chunks` without a length."""
        every: dict[str, str | None] = {}
        if token is not None:
            every["authorization"] = f"Bearer {token}"
        if body is not None:
            every |= {"content-type": "application/json", "content-length": str(len(body))}
        if chunks is not None:
            every |= {"content-type": "application/json", "transfer-encoding": "chunked"}
        every |= headers or {}
        scope = MadeScope(method, path, query, MadeHeaders([*every.items(), *pairs]), client)
        exchange = MadeExchange(chunks if chunks is not None else [body or b""], seconds_between)
        await self.application.__rsgi__(scope, exchange)
        return exchange


async def make_edge(limits: Limits | None = None) -> Edge:
    edge = Edge(limits)
    edge.application.adopt(await edge.compose())
    return edge
