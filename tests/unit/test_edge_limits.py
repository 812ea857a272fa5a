"""Quotas: who pays for a request, what is left, when the next one is taken, and who is believed about a client's address."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_service.edge.address import ClientNetworks
from py_service.edge.limits import Limits
from py_service.edge.meter import WINDOW_SECONDS, Headers, Meter
from py_service.errors import Problem, StoreUnavailable
from tests.unit.edge_support import Edge, MadeExchange, make_edge

NETWORKS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "2001:db8:ffff::/48", "127.0.0.1/32")]
LEFT = re.compile(r'"([a-z-]+)";r=([0-9]+);t=([0-9]+)')
UNLOCK = ("POST", "/v1/doors/d/unlock")


def left(exchange: MadeExchange) -> tuple[str, int, int]:
    """Policy, requests and seconds, as the answer says."""
    match = LEFT.fullmatch(exchange.headers["ratelimit"])
    assert match is not None, exchange.headers
    assert exchange.headers["ratelimit-policy"].startswith(f'"{match[1]}";q=')
    assert exchange.headers["ratelimit-policy"].endswith(f";w={WINDOW_SECONDS}")
    return match[1], int(match[2]), int(match[3])


async def statuses(edge: Edge, times: int, method: str, path: str, **more: object) -> list[int]:
    return [(await edge.ask(method, path, **more)).status for _ in range(times)]  # type: ignore[arg-type]


def taken(meter: Meter, subject: str, now: float) -> tuple[bool, int, int]:
    """Whether one was taken; what is said to be left, and for how long."""
    headers: Headers = []
    refused: Problem | None = None
    try:
        meter.take(subject, now, headers)
    except Problem as problem:
        refused = problem
    match = LEFT.fullmatch(dict(headers)["ratelimit"])
    assert match is not None
    if refused is not None:
        assert (refused.status, refused.code, refused.retry_after_seconds) == (429, "rate_limited", int(match[3]))
    return refused is None, int(match[2]), int(match[3])


def test_a_quota_is_used_up_grows_back_and_says_so() -> None:
    meter = Meter("test", 3)
    assert [taken(meter, "ada", 100.0) for _ in range(4)] == [(True, 2, 20), (True, 1, 40), (True, 0, 20), (False, 0, 20)]
    assert taken(meter, "bob", 100.0) == (True, 2, 20)
    assert taken(meter, "ada", 119.5) == (False, 0, 1)
    assert taken(meter, "ada", 120.0) == (True, 0, 20)
    assert taken(meter, "ada", 180.0) == (True, 2, 20)  # whole again: a minute of silence, never more than the quota
    assert taken(meter, "ada", 9_999.0) == (True, 2, 20)


@given(quota=st.integers(1, 100_000), steps=st.lists(st.floats(0, 30), max_size=60))
def test_never_more_than_the_quota_in_its_time_and_what_is_promised_is_kept(quota: int, steps: list[float]) -> None:
    """In any stretch of s seconds: the quota, and what grew back in s. `r` requests right away are taken; after `t` with r=0, one is."""
    meter, now, times = Meter("test", quota), 1_000_000.0, list[float]()
    for step in steps:
        now += step
        allowed, remaining, _ = taken(meter, "ada", now)
        if allowed:
            times.append(now)
        for _ in range(min(remaining, 3)):
            assert taken(meter, "ada", now)[0]
            times.append(now)
        if (now_left := taken(meter, "ada", now))[0]:
            times.append(now)
        if now_left[1] == 0:
            now += now_left[2]
            assert taken(meter, "ada", now)[0]
            times.append(now)
    for first, begin in enumerate(times):
        for count, end in enumerate(times[first:], 1):
            assert count <= quota + (end - begin) * quota / WINDOW_SECONDS + 1e-3


def test_the_longest_silent_is_forgotten_first() -> None:
    meter = Meter("test", 1, subjects_max=3)
    for subject in ("a", "b", "c"):
        assert taken(meter, subject, 0.0)[0]
    assert not taken(meter, "a", 0.0)[0]  # it speaks: now b is the longest silent
    assert taken(meter, "d", 0.0)[0]
    assert [taken(meter, subject, 0.0)[0] for subject in ("a", "c", "d")] == [False, False, False]
    assert taken(meter, "b", 0.0)[0]


async def test_unlocks_and_the_rest_have_quotas_of_their_own() -> None:
    edge = await make_edge(Limits(unlocks_per_minute_max=2, requests_per_minute_max=3))
    assert await statuses(edge, 3, *UNLOCK) == [200, 200, 429]
    refused = await edge.ask(*UNLOCK)
    assert (refused.problem()["code"], left(refused)) == ("rate_limited", ("unlock", 0, 30))
    assert refused.headers["retry-after"] == "30"
    assert [left(await edge.ask("GET", "/v1/me"))[:2] for _ in range(3)] == [("request", 2), ("request", 1), ("request", 0)]
    assert (await edge.ask("POST", "/v1/wishes", body=b'{"name":"a"}')).status == 429
    assert edge.calls == 5


async def test_a_refused_request_costs_no_store_and_no_body() -> None:
    edge = await make_edge(Limits(requests_per_minute_max=1))
    assert (await edge.ask("GET", "/v1/me")).status == 200
    before = edge.permissions.current_calls
    exchange = await edge.ask("POST", "/v1/wishes", chunks=[b"x"] * 1_000, seconds_between=10.0)
    assert (exchange.status, edge.permissions.current_calls) == (429, before)


async def test_a_request_with_a_body_is_taken_once() -> None:
    edge = await make_edge(Limits(requests_per_minute_max=10))
    exchange = await edge.ask("POST", "/v1/wishes", body=b'{"name":"a"}')
    assert (exchange.status, left(exchange)[:2]) == (201, ("request", 9))


async def test_every_answer_tells_what_is_left() -> None:
    edge = await make_edge()
    failures: list[tuple[Exception | None, int]] = [
        (None, 200), (Problem(409, "conflict", "No."), 409), (StoreUnavailable(), 503), (RuntimeError("boom"), 500)
    ]  # fmt: skip
    for failure, status in failures:
        edge.failure = failure
        exchange = await edge.ask("GET", "/v1/me")
        assert (exchange.status, left(exchange)[0]) == (status, "request")
    edge.failure = None
    assert left(await edge.ask("DELETE", "/v1/doors/d"))[0] == "request"  # an answer without a body
    assert left(await edge.ask("GET", "/v1/open", token=None))[0] == "open"
    assert left(await edge.ask("POST", "/v1/sign-in", body=b"{}", token=None))[0] == "sign-in"
    for path in ("/healthz", "/v1/nowhere"):
        assert "ratelimit" not in (await edge.ask("GET", path)).headers


async def test_operations_for_anyone_are_metered_by_address() -> None:
    edge = await make_edge(Limits(sign_ins_per_minute_max=2, open_requests_per_minute_max=1))
    body = b'{"name":"a"}'
    assert [
        (await edge.ask("POST", "/v1/sign-in", body=body, token=None, client=f"192.0.2.1:{port}")).status for port in range(3)
    ] == [201, 201, 429]  # fmt: skip
    assert (await edge.ask("POST", "/v1/sign-in", body=body, token=None, client="192.0.2.2:1")).status == 201
    assert await statuses(edge, 2, "GET", "/v1/open", token=None) == [200, 429]
    assert (await edge.ask("GET", "/v1/me")).status == 200


async def test_health_is_never_metered() -> None:
    edge = await make_edge(Limits(open_requests_per_minute_max=1))
    assert await statuses(edge, 5, "GET", "/healthz", token=None) == [200] * 5


async def test_guessing_at_tokens_uses_up_the_address_and_leaves_who_has_one_alone() -> None:
    edge = await make_edge(Limits(open_requests_per_minute_max=3))
    for number, token in enumerate([None, "token_signature", "token_expired"]):
        exchange = await edge.ask("GET", "/v1/me", token=token)
        assert (exchange.status, left(exchange)[:2]) == (401, ("open", 2 - number))
    assert await statuses(edge, 2, "GET", "/v1/me", token="token_signature") == [429, 429]
    assert (await edge.ask("GET", "/v1/me")).status == 200


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("192.0.2.1:5", "198.51.100.1", "192.0.2.1"),  # not a proxy of ours: it may write what it likes
        ("10.0.0.1:5", "", "10.0.0.1"),
        ("10.0.0.1:5", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1:5", "203.0.113.9, 198.51.100.1", "198.51.100.1"),  # the left one came from the client
        ("10.0.0.1:5", "198.51.100.1, 10.2.0.1,10.3.0.1", "198.51.100.1"),
        ("10.0.0.1:5", "10.9.0.1, 10.8.0.1", "10.9.0.1"),
        ("10.0.0.1:5", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1:5", "203.0.113.9, nonsense, 10.2.0.1", "10.2.0.1"),
        ("10.0.0.1:5", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1:5", "2001:db8:1:2::3", "2001:db8:1:2::/64"),
        ("10.0.0.1:5", "[2001:db8:1:2::3]:80", "2001:db8:1:2::/64"),
        ("10.0.0.1:5", "::ffff:198.51.100.1", "198.51.100.1"),
        ("[2001:db8:ffff::1]:5", "198.51.100.1", "198.51.100.1"),
        ("[::ffff:10.0.0.1]:5", "198.51.100.1", "198.51.100.1"),
        ("[2001:db8:1:2::3]:5", "198.51.100.1", "2001:db8:1:2::/64"),
        ("10.0.0.1:5", "198.51.100.1" + ", 10.0.0.1" * 17, "10.0.0.1"),  # a longer chain than anybody has
        ("unix:", "198.51.100.1", "unix"),
    ],
)
def test_who_the_client_is(peer: str, header: str, expected: str) -> None:
    networks = ClientNetworks(NETWORKS)
    assert networks.of(peer, {"x-forwarded-for": header, "forwarded": "for=203.0.113.77"}) == expected
    assert ClientNetworks().of(peer, {"x-forwarded-for": header}) == ClientNetworks().of(peer, {})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('for="198.51.100.1:4711";proto=https;by=10.0.0.1', "198.51.100.1"),
        ('For="[2001:db8:1:2::3]:4711"', "2001:db8:1:2::/64"),
        ('for=203.0.113.9, proto=https; for="198.51.100.1", for=10.1.1.1', "198.51.100.1"),
        ('for="203.0.113.9, for=198.51.100.1', "198.51.100.1"),  # a quote that the client left open doesn't hide what the proxy says
        ("for=_hidden, for=10.1.1.1", "10.1.1.1"),
        ("for=unknown", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
    ],
)
def test_the_standard_header(header: str, expected: str) -> None:
    networks = ClientNetworks(NETWORKS, "forwarded")
    assert networks.of("10.0.0.1:5", {"forwarded": header, "x-forwarded-for": "203.0.113.77"}) == expected
    assert networks.of("192.0.2.1:5", {"forwarded": header}) == "192.0.2.1"


# What a header is made of, besides any text at all: addresses of both kinds, with what may stand around them, and what separates them.
PARTS = st.sampled_from([
    "198.51.100.1", "10.2.0.1", "2001:db8:1:2::3", "[2001:db8:1:2::3]:80", "::ffff:198.51.100.1", "fe80::1%eth0", ":4711", '"', "for=",
    "for=_hidden", ", ", ";", "999.1.1.1", "\u0661.1.1.1", "nonsense",
])  # fmt: skip
CHAINS = st.text(max_size=200) | st.lists(PARTS, max_size=12).map("".join)
PEERS = st.text(max_size=40) | st.lists(PARTS, max_size=3).map("".join)


@given(peer=PEERS, header=CHAINS, name=st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_is_sent_names_somebody(peer: str, header: str, name: str) -> None:
    """Of a peer with an address it is always an IPv4 address or a /64, wherever it was read; of another one what the server calls it."""
    everywhere = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    for networks in (ClientNetworks(everywhere, name), ClientNetworks(NETWORKS, name)):
        for at in ("10.0.0.1:5", "[2001:db8:ffff::1]:5"):
            assert names_one_client(networks.of(at, {name: header}))
        said = networks.of(peer, {name: header})
        assert isinstance(said, str)
        assert said == peer.rpartition(":")[0].strip("[]") or names_one_client(said)


def names_one_client(said: str) -> bool:
    network = ipaddress.ip_network(said)
    return network.prefixlen == (32 if network.version == 4 else 64)


async def test_the_edge_asks_the_proxy() -> None:
    edge = await make_edge(Limits(open_requests_per_minute_max=1, trusted_proxies=NETWORKS))
    for number in range(3):
        behind = {"x-forwarded-for": f"203.0.113.1, 198.51.100.{number}"}
        assert (await edge.ask("GET", "/v1/open", token=None, client="10.0.0.1:5", headers=behind)).status == 200  # type: ignore[arg-type]
    again = {"x-forwarded-for": "203.0.113.2, 198.51.100.1"}
    assert (await edge.ask("GET", "/v1/open", token=None, client="10.0.0.1:5", headers=again)).status == 429  # type: ignore[arg-type]
