"""What a person sees of themselves, and the token for the gateway."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from typing import cast

import pytest

from py_service._core_rs import Claims, TokenError
from py_service.errors import Problem
from py_service.exchange import Request
from py_service.identity.handlers import IdentityHandlers
from py_service.identity.me import Myself
from py_service.identity.passwords import Passwords
from py_service.identity.realtime_token import RealtimeTokens
from py_service.identity.refresh import Refresh
from py_service.identity.sign_in import SignIn
from py_service.identity.sign_out import SignOut
from py_service.identity.tokens import TokenIssuer
from tests.unit.edge_support import MadeClaims
from tests.unit.identity_support import NOW_MS, Clock, MadePermissions, MadeStore, images, make_ring, person_document


class Room:
    def __init__(self) -> None:
        self.ring = make_ring()
        self.permissions = MadePermissions()
        self.store = MadeStore()
        clock = Clock()
        issuer = TokenIssuer(self.ring, self.permissions, clock)

        async def end(organization: str, person: str, session: str, because: str) -> None:
            raise AssertionError("nothing to end here")

        self.handlers = IdentityHandlers(
            SignIn(self.store, Passwords(), issuer),
            Refresh(self.store, self.store.sessions, issuer, end, clock),
            SignOut(self.store, self.store.sessions, end),
            RealtimeTokens(self.ring, self.permissions, clock),
            Myself(self.store, self.permissions, clock),
            self.ring.jwks,
        )


def request(body: bytes = b"", person: str = "ada", seconds_ago: float = 0.0) -> Request:
    received_ns = time.perf_counter_ns() - int(seconds_ago * 1e9)
    return Request("GET", "/", {}, {}, {}, body, "id", received_ns, cast("Claims", MadeClaims(subject=person)))


async def test_me() -> None:
    answer = await Room().handlers.get_me(request())
    assert json.loads(answer.body) == {
        "person": "ada",
        "organization": "acme",
        "name": "Ada",
        "roles": [{"role": "auditor", "sites": None}],
    }


async def test_me_when_i_am_gone() -> None:
    with pytest.raises(Problem) as caught:
        await Room().handlers.get_me(request(person="nobody"))
    assert (caught.value.status, caught.value.code) == (401, "token_revoked")


async def test_my_doors_with_the_decision_of_now() -> None:
    room = Room()
    door = {"id": "front", "name": "Front", "site": "hq", "area": None}
    assert json.loads((await room.handlers.get_doors(request())).body) == {
        "items": [door | {"allowed": True, "reason": "granted"}],
        "next_cursor": None,
    }
    site = {"name": "HQ", "address": "", "time_zone": "Europe/Berlin", "locked_down": True}
    room.permissions.index.load("acme", 2, images(site__hq=site))
    assert json.loads((await room.handlers.get_doors(request())).body) == {
        "items": [door | {"allowed": False, "reason": "site_locked_down"}],
        "next_cursor": None,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 200])
async def test_my_doors_come_page_after_page_each_once(limit: int) -> None:
    room = Room()
    doors: dict[str, dict[str, object]] = {
        f"door__d{number}": {"site": "hq", "area": None, "name": f"D{number}", "lock": None, "mode": "locked", "locked_down": False}
        for number in range(5)
    }
    nothing: dict[str, object] = {"group": None, "area": None, "site": None, "schedule": None, "valid_from": None, "valid_until": None}
    grants: dict[str, dict[str, object]] = {
        f"grant__x{number}": {"effect": "allow", "person": "ada", "door": f"d{number}", **nothing} for number in range(5)
    }
    room.permissions.index.load("acme", 2, images(**doors, **grants))
    seen: list[str] = []
    query = {"limit": str(limit)}
    while True:
        page = json.loads((await room.handlers.get_doors(dataclasses.replace(request(), query=query))).body)
        seen += [door["id"] for door in page["items"]]
        assert len(page["items"]) <= limit
        if page["next_cursor"] is None:
            break
        query = {"limit": str(limit), "cursor": page["next_cursor"]}
    assert seen == ["d0", "d1", "d2", "d3", "d4", "front"]


@pytest.mark.parametrize(
    ("query", "code"),
    [({"limit": "0"}, "query_invalid"), ({"site": "hq"}, "query_invalid"), ({"cursor": "x" * 65}, "cursor_invalid")],
)
async def test_a_page_of_my_doors_that_nobody_can_ask_for(query: dict[str, str], code: str) -> None:
    with pytest.raises(Problem) as caught:
        await Room().handlers.get_doors(dataclasses.replace(request(), query=query))
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize(
    ("roles", "organization_too"),
    [
        ([], False),
        ([{"role": "auditor", "sites": None}], True),
        ([{"role": "auditor", "sites": ["hq"]}], False),
        ([{"role": "reception", "sites": None}], False),
    ],
)
async def test_topics_of_the_realtime_token(roles: list[object], organization_too: bool) -> None:
    room = Room()
    room.permissions.index.load("acme", 2, images(person__ada=person_document(roles=roles)))
    answer = json.loads((await room.handlers.post_realtime_token(request(seconds_ago=2))).body)
    expected = ["organizations/acme/persons/ada/events"] + (["organizations/acme/events"] if organization_too else [])
    claims = room.ring.verify_access_token(answer["token"], "gateway", NOW_MS)
    assert answer["topics"] == claims.topics == expected
    assert (claims.subject, claims.kind, claims.session) == ("ada", "person", "family")
    assert NOW_MS - 3_000 < claims.issued_at_ms <= NOW_MS - 2_000  # of the arrival
    assert 299_000 <= claims.expires_at_ms - claims.issued_at_ms <= 300_000  # a token ends with a whole second
    assert answer["expires_at"].startswith("2027-01-15T08:04:5")
    with pytest.raises(TokenError) as caught:
        room.ring.verify_access_token(answer["token"], "api", NOW_MS)
    assert caught.value.code == "token_audience"


async def test_a_realtime_token_ends_with_the_validity_of_who_watches() -> None:
    room = Room()
    until_ms = NOW_MS + 60_000
    auditor = person_document(roles=[{"role": "auditor", "sites": None}], valid_until=until_ms)
    room.permissions.index.load("acme", 2, images(person__ada=auditor))
    answer = json.loads((await room.handlers.post_realtime_token(request())).body)
    claims = room.ring.verify_access_token(answer["token"], "gateway", NOW_MS)
    assert "organizations/acme/events" in claims.topics
    assert until_ms - 1_000 <= claims.expires_at_ms <= until_ms


async def test_a_realtime_token_says_on_which_revision_it_was_decided() -> None:
    """So that whatever is taken later voids it, whenever it was issued and by whose clock."""
    room = Room()
    room.permissions.index.load("acme", 9, images())
    answer = json.loads((await room.handlers.post_realtime_token(request())).body)
    assert payload(answer["token"])["rev"] == 9


async def test_a_realtime_token_is_not_made_of_what_was_revoked_while_it_was_asked_for() -> None:
    """Taken by a change that memory has met since the edge asked: the token would be of the revision after it."""
    room = Room()
    cut = person_document(tokens_valid_after=NOW_MS + 1)
    room.permissions.index.load("acme", 9, images(person__ada=cut))
    with pytest.raises(Problem) as caught:
        await room.handlers.post_realtime_token(request())
    assert (caught.value.status, caught.value.code) == (401, "token_revoked")


def payload(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    read: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read


async def test_jwks_is_public_and_short_lived() -> None:
    answer = await Room().handlers.get_jwks(request())
    (key,) = json.loads(answer.body)["keys"]
    assert (key["kid"], key["alg"], key["use"]) == ("access.1", "EdDSA", "sig")
    assert "d" not in key
    assert answer.headers == {"cache-control": "public, max-age=30"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"email":"a@b.example","password":"x","remember":true}', "field_invalid"),
        (b'{"email":"a@b.example"}', "field_invalid"),
        (b'{"email":"a@b.example","password":""}', "field_invalid"),
        (b'{"email":"' + b"a" * 255 + b'","password":"x"}', "field_invalid"),
        (b'{"email":{"$ne":null},"password":"x"}', "field_invalid"),
        (b"", "body_malformed"),
    ],
)
async def test_malformed_sign_in(body: bytes, code: str) -> None:
    with pytest.raises(Problem) as caught:
        await Room().handlers.post_sign_in(request(body))
    assert (caught.value.status, caught.value.code) == (400, code)


def test_who_may_reach_what() -> None:
    routes = {f"{route.method} {route.pattern}": (route.access, route.fenced) for route in Room().handlers.routes()}
    assert routes == {
        "POST /v1/sign-in": ("anyone", False),
        "POST /v1/refresh": ("anyone", False),
        "POST /v1/sign-out": ("anyone", False),
        "GET /v1/me": ("person", True),
        "GET /v1/me/doors": ("person", True),
        "POST /v1/me/realtime-token": ("person", True),
        "GET /.well-known/jwks.json": ("anyone", False),
    }
