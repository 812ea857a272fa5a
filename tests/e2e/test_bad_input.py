"""Malformed and forged requests through the real service: each gets a problem document with a stable code, and changes nothing.

The routes come from the app's own table, so a new one is tried from its first day. Every answer is held against the API's document.
Identifiers of other organizations have a file of their own.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Literal, NamedTuple, get_args, get_origin
from urllib.parse import quote

import httpx
import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_service._core_rs import DeviceKey, KeyRing
from py_service.access.messages import GrantRequest
from py_service.exchange import Route
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import projected, standing
from tests.e2e.route_table import route_table
from tests.e2e.running import TOKEN_MS, Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR = "berlin-main-entrance"
STRANGER = "stranger-0"
SUSPENDED, REMOVED = "suspended-manager", "removed-manager"
ADMIN: dict[str, object] = {"roles": [{"role": "admin", "sites": None}]}
# Method, path, body: what makes the two of them former managers.
ENDED_MANAGERS: list[tuple[str, str, dict[str, object] | None]] = [
    ("POST", "/v1/imports", {"id": "an-import", "kind": "groups", "format": "csv"}),
    ("POST", "/v1/persons", {"id": SUSPENDED, "name": "Suspended"}),
    ("POST", "/v1/persons", {"id": REMOVED, "name": "Removed"}),
    ("PUT", f"/v1/persons/{SUSPENDED}/roles", ADMIN),
    ("PUT", f"/v1/persons/{REMOVED}/roles", ADMIN),
    ("POST", f"/v1/persons/{SUSPENDED}/suspend", None),
    ("DELETE", f"/v1/persons/{REMOVED}", None),
]
METERED = {
    "POST /v1/sign-in", "POST /v1/passes/accept", "POST /v1/invitations/accept", "PUT /v1/me/password", "POST /v1/password-reset",
    "POST /v1/password-reset/confirm",
}  # fmt: skip
OWN = {
    "organization": "hafenblick",
    "person": STRANGER, "group": "everyone", "schedule": "night-shift", "grant": "g-0002", "calendar": "berlin-holidays",
    "lockdown_plan": "berlin-outer-doors", "pass": "visitors-of-clara", "import": "an-import", "part": "1",
    "api_key": "key_0123456789abcdef", "invitation": "invitation_0123456789abcdef",
    "session": "0123456789abcdef0123456789abcdef",
    "site": "berlin", "floor": "berlin-ground", "area": "berlin-lobby", "door": DOOR, "device": f"lock-{DOOR}",
}  # fmt: skip


def good_body(route: Route) -> dict[str, object] | None:
    """A body that the route takes, for what is refused for another reason; None for a route without a body."""
    return None if route.about.body is None else dict(route.about.example or {})


class Asked(NamedTuple):
    """A running service and what its requests need."""

    service: Service
    http: httpx.AsyncClient
    routes: list[Route]
    attempt: str

    async def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        """Every answer that isn't a success is a problem document, and none shows what went on inside."""
        answer = await self.http.request(method, path, **options)  # type: ignore[arg-type]
        assert "Traceback" not in answer.text and "py_service" not in answer.text, answer.text
        assert answer.status_code != 500, answer.text
        if answer.status_code >= 400:
            body = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert body["status"] == answer.status_code and body["type"] == f"/problems/{body['code']}", body
            assert body["request_id"] == answer.headers["x-request-id"]
            assert set(body) >= {"title", "detail"}
        return answer

    def of_persons(self) -> list[Route]:
        return [route for route in self.routes if route.access == "person"]

    def of_managers(self) -> list[Route]:
        """The others are open to every person."""
        return [route for route in self.of_persons() if route.about.permission is not None]

    def with_body(self) -> list[Route]:
        return [route for route in self.routes if route.method in ("POST", "PATCH", "PUT") and route.body_bytes_max > 0]

    def path(self, route: Route, ids: dict[str, str]) -> str:
        """The route's path with an id of the right kind in each place."""
        return route.pattern.format(**ids)


def name(route: Route) -> str:
    return f"{route.method} {route.pattern}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    folder = tmp_path_factory.mktemp("bad-input")
    async with (
        running_service(folder, locks=False, strangers=1, sign_ins_per_minute_max=1_000, operator_organization="nordlicht") as service,
        service.client(hook=(await conformance_of(service)).hook) as http,
    ):
        attempt = (await http.post(f"/v1/doors/{DOOR}/unlock", headers=service.owner())).json()["id"]
        for method, path, body in ENDED_MANAGERS:
            answer = await http.request(method, path, headers=service.owner(), json=body)
            assert answer.is_success, (path, answer.text)
        await projected(service)
        yield Asked(service, http, await route_table(), attempt)


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(asked: Asked) -> AsyncIterator[None]:
    """Whatever the test asks for: permissions, sessions, keys and journal stay as they are, byte for byte."""
    before = await standing(asked.service)
    yield
    after = await standing(asked.service)
    assert [collection for collection in before if before[collection] != after[collection]] == []


# --- tokens ---------------------------------------------------------------------------------


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def bad_tokens(service: Service) -> Iterator[tuple[str, str | None]]:
    """The code that each has to get, and the whole Authorization header."""
    owner, organization = service.demo.cast["owner"].id, service.demo.id
    now = time.time_ns() // 1_000_000
    good = service.token(owner)
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    key_id = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]

    def signed_elsewhere(kid: str) -> str:
        ring = KeyRing(bytes(range(32)))
        ring.generate("access", "", kid)
        ring.activate("access", "", kid)
        return ring.sign_access_token("api", organization, owner, "person", "test", [], now, now + TOKEN_MS)

    tokens = {
        "token_expired": [service.token(owner, issued_at_ms=now - TOKEN_MS - 1_000)],
        "token_not_yet_valid": [service.token(owner, issued_at_ms=now + 60_000)],
        "token_audience": [
            service.token(owner, audience="gateway"),
            service.ring.sign_access_token("api", organization, f"lock-{DOOR}", "lock", "test", [], now, now + TOKEN_MS),
        ],
        "token_signature": [
            signed_elsewhere(key_id),
            f"{header}.{encoded(claims | {'sub': STRANGER})}.{signature}",
            f"{header}.{payload}.{encoded(bytes(64))}",
        ],
        "token_key_unknown": [signed_elsewhere("access.999")],
        "token_algorithm": [
            f"{encoded({'alg': algorithm, 'kid': key_id, 'typ': 'JWT'})}.{payload}.{signature}" for algorithm in ("none", "HS256", "ES256")
        ],
        "token_malformed": ["x", f"{header}.{payload}", f"@.{payload}.{signature}"],
        "token_too_long": ["a" * 4_097],
        "token_revoked": [service.token("nobody-there")],
    }
    for code, named in tokens.items():
        for token in named:
            yield code, f"Bearer {token}"
    yield "token_missing", None
    yield "token_malformed", "Bearer"
    yield "token_malformed", f"Basic {encoded(b'owner:password')}"


async def test_a_bad_token_is_refused_by_every_route_with_the_code_of_its_cause(asked: Asked, unchanged: None) -> None:
    ids = OWN | {"attempt": asked.attempt}
    for route in asked.of_persons():
        for code, header in bad_tokens(asked.service):
            headers = {} if header is None else {"Authorization": header}
            answer = await asked.ask(route.method, asked.path(route, ids), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code), (name(route), header, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(asked.of_persons()) >= 16


# --- roles and other organizations -----------------------------------------------------------


async def test_who_has_no_role_is_told_so_on_every_managers_route(asked: Asked, unchanged: None) -> None:
    headers = asked.service.headers(STRANGER)
    routes = asked.of_managers()
    for route in routes:
        answer = await asked.ask(route.method, asked.path(route, OWN), headers=headers, json=good_body(route))
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing"), (name(route), answer.text)
    assert len(routes) >= 12


@pytest.mark.parametrize(("person", "status", "code"), [(SUSPENDED, 403, "person_suspended"), (REMOVED, 401, "token_revoked")])
async def test_a_manager_who_is_no_longer_one_hears_the_same_on_every_route(
    asked: Asked, unchanged: None, person: str, status: int, code: str
) -> None:
    """Reads are refused by the edge, changes in their own transaction: nobody can tell."""
    routes = asked.of_managers()
    details: set[str] = set()
    for route in routes:
        answer = await asked.ask(route.method, asked.path(route, OWN), headers=asked.service.headers(person), json=good_body(route))
        assert (answer.status_code, answer.json()["code"]) == (status, code), (name(route), answer.text)
        details.add(answer.json()["detail"])
    assert len(routes) >= 12
    assert len(details) == 1


async def test_a_device_proves_itself_for_its_own_organization_only(asked: Asked, unchanged: None) -> None:
    service = asked.service
    lock, organization = service.demo.locks[0], service.demo.id
    key, foreign = DeviceKey.from_seed(lock.seed), service.neighbour.locks[0]
    now = time.time_ns() // 1_000_000

    def assertion(of: str, device: str, by: DeviceKey = key, at: int = now) -> str:
        return by.sign_assertion(of, device, at, at + 30_000)

    refused = [
        (organization, lock.lock, "x"),
        (organization, lock.lock, assertion(organization, lock.lock, DeviceKey.generate())),
        (organization, lock.lock, assertion(organization, lock.lock, at=now - 120_000)),
        (organization, lock.lock, assertion(organization, service.demo.locks[1].lock)),
        (organization, lock.lock, assertion(service.neighbour.id, lock.lock)),
        (service.neighbour.id, lock.lock, assertion(service.neighbour.id, lock.lock)),
        (organization, foreign.lock, assertion(organization, foreign.lock, DeviceKey.from_seed(foreign.seed))),
        (organization, "nobody-has-this", assertion(organization, "nobody-has-this")),
    ]
    nonce = encoded(bytes(16))
    for of, device, proof in refused:
        answers = [
            await asked.ask("POST", f"/v1/devices/{device}/token", json={"organization": of, "assertion": proof}),
            await asked.ask("POST", f"/v1/devices/{device}/time", json={"organization": of, "assertion": proof, "nonce": nonce}),
            await asked.ask("POST", f"/v1/devices/{device}/hold", json={"organization": of, "assertion": proof}),
            await asked.ask(
                "GET", f"/v1/devices/{device}/configuration", params={"organization": of}, headers={"X-Nexkey-Assertion": proof}
            ),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "assertion_refused")}


# --- bodies, headers, queries, paths ----------------------------------------------------------


async def test_a_malformed_body_is_refused_by_every_route_that_takes_one(asked: Asked, unchanged: None) -> None:
    plain = {"Content-Type": "application/json"}
    for route in asked.with_body():
        path = asked.path(route, OWN)
        sent: list[tuple[bytes, dict[str, str], int, set[str]]] = [
            (b"{", plain, 400, {"body_malformed"}),
            (b"", plain, 400, {"body_malformed"}),
            (b'{"a":"\xff"}', plain, 400, {"body_malformed", "field_invalid"}),
            (b"[]", plain, 400, {"field_invalid"}),
            (b'{"unknown_field":1}', plain, 400, {"field_invalid"}),
            (b"{}", {"Content-Type": "text/plain"}, 415, {"content_type_unsupported"}),
            (b"{}", {}, 415, {"content_type_unsupported"}),
            (b"{}", plain | {"Content-Encoding": "gzip"}, 415, {"content_type_unsupported"}),
            (b" " * (route.body_bytes_max + 1), plain, 413, {"body_too_large"}),
        ]
        for content, headers, status, codes in sent:
            if not content and not route.about.body_needed:
                continue
            answer = await asked.ask(route.method, path, content=content, headers=asked.service.owner() | headers)
            assert answer.status_code == status and answer.json()["code"] in codes, (name(route), content[:40], answer.text)
    assert len(asked.with_body()) >= 25


async def test_a_body_where_none_belongs_is_refused(asked: Asked, unchanged: None) -> None:
    ids = OWN | {"attempt": asked.attempt}
    routes = [route for route in asked.routes if route.body_bytes_max == 0]
    for route in routes:
        answer = await asked.ask(route.method, asked.path(route, ids), json={"effect": "allow"}, headers=asked.service.owner())
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large"), name(route)
    assert len(routes) >= 15


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"person": STRANGER},
        {"door": DOOR},
        {"person": STRANGER, "group": "everyone", "door": DOOR},
        {"person": STRANGER, "door": DOOR, "site": "berlin"},
        {"person": STRANGER, "door": DOOR, "effect": "perhaps"},
        {"person": 7, "door": DOOR},
        {"person": "Not An Id", "door": DOOR},
        {"person": "a" * 65, "door": DOOR},
        {"person": f"{STRANGER}\n", "door": DOOR},
        {"person": STRANGER, "door": DOOR, "valid_from": "yesterday"},
        {"person": STRANGER, "door": DOOR, "valid_from": "2026-11-23T08:00:00"},
        {"person": STRANGER, "door": DOOR, "uses": 1},
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused(asked: Asked, unchanged: None, body: dict[str, object]) -> None:
    answer = await asked.ask("POST", "/v1/grants", json=body, headers=asked.service.owner())
    assert (answer.status_code, answer.json()["code"]) == (400, "field_invalid"), answer.text


@pytest.mark.parametrize(
    "window",
    [
        {"valid_from": "1969-12-31T23:59:59Z"},
        {"valid_until": "9999-12-31T23:59:59-01:00"},  # of the year 10000, where it is counted
        {"valid_from": "2099-11-24T08:00:00Z", "valid_until": "2099-11-24T08:00:00Z"},
        {"valid_from": "2099-11-24T08:00:00Z", "valid_until": "2099-11-24T07:59:59.999Z"},
    ],
)
async def test_a_window_that_makes_no_sense_is_refused_alike_wherever_there_is_one(
    asked: Asked, unchanged: None, window: dict[str, object]
) -> None:
    pass_given: dict[str, object] = {"name": "X", "doors": [DOOR], "valid_until": "2099-12-31T00:00:00Z"}
    tried: list[tuple[str, str, dict[str, object]]] = [
        ("POST", "/v1/grants", {"person": STRANGER, "door": DOOR}),
        ("PATCH", f"/v1/grants/{OWN['grant']}", {"valid_from": None, "valid_until": None}),
        ("POST", "/v1/persons", {"name": "X"}),
        ("PATCH", f"/v1/persons/{STRANGER}", {}),
        ("POST", "/v1/passes", pass_given),
    ]
    for method, path, body in tried:
        answer = await asked.ask(method, path, json=body | window, headers=asked.service.owner())
        assert (answer.status_code, answer.json()["code"]) == (422, "validity_invalid"), (method, path, answer.text)


@pytest.mark.parametrize("at", ["1969-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+14:00"])
async def test_a_moment_that_is_none_is_asked_about_nowhere(asked: Asked, unchanged: None, at: str) -> None:
    change = {"method": "POST", "path": f"/v1/doors/{DOOR}/lockdown"}
    answer = await asked.ask("POST", "/v1/access/preview", json={"changes": [change], "at": at}, headers=asked.service.owner())
    assert (answer.status_code, answer.json()["code"]) == (422, "validity_invalid"), answer.text
    for question in (f"explain?person={STRANGER}&door={DOOR}", f"who?door={DOOR}", f"what?person={STRANGER}"):
        answer = await asked.ask("GET", f"/v1/access/{question}&at={quote(at)}", headers=asked.service.owner())
        assert (answer.status_code, answer.json()["code"]) == (400, "query_invalid"), answer.text


async def test_bad_headers_of_an_unlock_are_refused_before_anything_is_decided(asked: Asked, unchanged: None) -> None:
    headers: list[list[tuple[str, bytes]]] = [
        [("Idempotency-Key", b"")],
        [("Idempotency-Key", b"a" * 129)],
        [("Idempotency-Key", b"two words")],
        [("Idempotency-Key", b"\xc3\xa4")],
        [("Idempotency-Key", b"one"), ("Idempotency-Key", b"two")],
        *([("Prefer", value)] for value in (b"wait=11", b"wait=-1", b"wait=soon", b"wait=", b"respond-async, wait=99999", b"wait=1.5")),
    ]
    token = asked.service.owner()["Authorization"].encode()
    for pairs in headers:
        sent = [("Authorization", token), *pairs]
        answer = await asked.ask("POST", f"/v1/doors/{DOOR}/unlock", headers=sent)
        assert (answer.status_code, answer.json()["code"]) == (400, "header_invalid"), (pairs, answer.text)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        *((f"limit={limit}", "query_invalid") for limit in ("0", "201", "-1", "1.5", "ten", "", "%C2%B2", "00001")),
        ("limit=5&limit=6", "query_invalid"),
        ("page=2", "query_invalid"),
        ("limit", "query_invalid"),
        ("limit=%ff", "query_invalid"),
        ("limit=" + "1" * 2_100, "query_invalid"),
        *((f"cursor={cursor}", "cursor_invalid") for cursor in ("", "x", "AAAA", "%C3%A4", "a" * 65, "-_-_")),
        *((f"cursor={encoded(text)}", "cursor_invalid") for text in (b"e2:5", b"e1:", b"e1:-1", b"e1:1e3", b"e1:" + b"9" * 13, b"\xff:1")),
    ],
)
async def test_a_bad_query_of_the_feed_is_refused(asked: Asked, unchanged: None, query: str, code: str) -> None:
    answer = await asked.ask("GET", f"/v1/events?{query}", headers=asked.service.owner())
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


@pytest.mark.parametrize("position", [0, 1, 999_999_999_999])
async def test_a_cursor_behind_the_ends_is_an_empty_page(asked: Asked, unchanged: None, position: int) -> None:
    answer = await asked.ask("GET", "/v1/events", params={"cursor": encoded(f"e1:{position}".encode())}, headers=asked.service.owner())
    assert (answer.status_code, answer.json()) == (200, {"items": [], "next_cursor": None})


async def test_a_filter_takes_only_the_values_that_it_has(asked: Asked, unchanged: None) -> None:
    tried = 0
    for route in asked.of_managers():
        for parameter, type_ in route.about.query.items():
            if get_origin(type_) is not Literal:
                continue
            for value in ("nonsense", "", get_args(type_)[0].upper(), f"{get_args(type_)[0]} "):
                answer = await asked.ask(route.method, asked.path(route, OWN), headers=asked.service.owner(), params={parameter: value})
                assert (answer.status_code, answer.json()["code"]) == (400, "query_invalid"), (name(route), parameter, answer.text)
            tried += 1
    assert tried >= 14


async def test_an_id_that_cannot_be_one_is_unknown(asked: Asked, unchanged: None) -> None:
    strange = [
        "%00",
        "..%2F..",
        "hafenblick:front-door",
        "%F0%9F%9A%AA",
        "%ff",
        "a" * 400,  # twice in one path, too
        "$ne",
        "null",
        "BERLIN-MAIN-ENTRANCE",
        f"{DOOR}%20",
    ]
    for route in asked.of_persons():
        if "{" not in route.pattern:
            continue
        for identifier in strange:
            ids = dict.fromkeys((*OWN, "attempt"), identifier)
            answer = await asked.ask(route.method, asked.path(route, ids), headers=asked.service.owner(), json=good_body(route))
            assert answer.status_code == 404, (name(route), identifier, answer.text)


async def test_unknown_paths_and_methods(asked: Asked, unchanged: None) -> None:
    ids = OWN | {"attempt": asked.attempt}
    by_pattern: dict[str, set[str]] = {}
    for route in asked.routes:
        by_pattern.setdefault(asked.path(route, ids), set()).add(route.method)
    for path, methods in by_pattern.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            answer = await asked.ask(method, path, headers=asked.service.owner())
            assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed"), (method, path)
            assert set(answer.headers["allow"].split(", ")) == methods
        for wrong in (f"{path}/", f"{path}/a/b/c/d", f"/v2{path}"):
            answer = await asked.ask("GET", wrong, headers=asked.service.owner())
            assert (answer.status_code, answer.json()["code"]) == (404, "route_unknown"), wrong


# --- anything at all ---------------------------------------------------------------------------

FOREIGN = ("front-door", "hamburg", "hamburg-house", "lock-front-door")
FIELDS = st.sampled_from(
    [*(field.name for field in msgspec.structs.fields(GrantRequest)), "refresh_token", "organization", "assertion", "nonce"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40)
    | st.sampled_from([*OWN.values(), *FOREIGN, "allow", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
BODIES = st.dictionaries(FIELDS, VALUES, max_size=6).map(lambda body: json.dumps(body).encode()) | VALUES.map(
    lambda value: json.dumps(value).encode()
)


@given(content=BODIES | st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_no_body_at_all_makes_the_service_fail(asked: Asked, content: bytes) -> None:
    """Whatever is sent: an answer that a client can act on. A body that happens to be a good grant may succeed."""
    for route in asked.with_body():
        if name(route) in METERED:
            continue
        headers = asked.service.owner() | {"Content-Type": "application/json"}
        answer = await asked.ask(route.method, asked.path(route, OWN), content=content, headers=headers)
        assert answer.status_code in (200, 201, 204, 400, 401, 404, 409, 415, 422), answer.text
