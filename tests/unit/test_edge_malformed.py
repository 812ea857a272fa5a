"""Every class of malformed request gets a problem document with its code, and no handler runs."""

from __future__ import annotations

import pytest

from py_service.edge.codec import DROPPED_BYTES_MAX, LARGE_BYTES, read_body
from py_service.edge.limits import Limits
from py_service.errors import Problem
from tests.unit.edge_support import Edge, MadeExchange, make_edge


async def refused(edge: Edge, exchange: MadeExchange, status: int, code: str) -> MadeExchange:
    assert (exchange.status, exchange.problem()["code"]) == (status, code)
    assert exchange.answers == 1
    assert edge.calls == 0
    return exchange


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "body_malformed"),
        (b"nonsense", "body_malformed"),
        (b'{"name":"\xff"}', "body_malformed"),
        (b'{"name":"a"} trailing', "body_malformed"),
        (b'"a text"', "field_invalid"),
        (b'{"name":1}', "field_invalid"),
        (b"{}", "field_invalid"),
        (b'{"name":"a","other":1}', "field_invalid"),
        (b"[" * 250, "field_invalid"),
    ],
)
async def test_bad_json(body: bytes, code: str) -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", "/v1/wishes", body=body), 400, code)


async def test_no_body_where_one_is_needed() -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", "/v1/wishes"), 400, "body_malformed")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json;charset=utf-8;x=y"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": ""},
        {"content-encoding": "gzip"},
        {"content-encoding": "identity, br"},
    ],
)
async def test_wrong_content_type_or_encoding(headers: dict[str, str | None]) -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", "/v1/wishes", body=b'{"name":"a"}', headers=headers), 415, "content_type_unsupported")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"'],
)
async def test_right_content_type(content_type: str) -> None:
    edge = await make_edge()
    exchange = await edge.ask(
        "POST", "/v1/wishes", body=b'{"name":"a"}', headers={"content-type": content_type, "content-encoding": "identity"}
    )
    assert (exchange.status, exchange.body) == (201, b'{"name":"a","count":0}')


async def test_body_too_large_by_its_announcement_is_never_read() -> None:
    edge = await make_edge()
    exchange = await refused(edge, await edge.ask("POST", "/v1/wishes", body=b'{"name":"' + b"a" * 250 + b'"}'), 413, "body_too_large")
    assert exchange.given == 0


@pytest.mark.parametrize(("more", "given"), [(1, 2), (DROPPED_BYTES_MAX + 1, 0)])
async def test_a_large_body_that_is_a_little_too_large_is_heard_out(more: int, given: int) -> None:
    """Its sender is still sending: cut off, they would never see why."""
    size = LARGE_BYTES + more
    exchange = MadeExchange([b"a" * size])
    headers = {"content-length": str(size), "content-type": "application/json"}
    with pytest.raises(Problem) as refused:
        await read_body(headers, exchange, LARGE_BYTES, 1.0)
    assert refused.value.code == "body_too_large"
    assert exchange.given == given  # the body, and its end


async def test_body_too_large_by_its_chunks_is_read_no_further() -> None:
    edge = await make_edge()
    exchange = await refused(edge, await edge.ask("POST", "/v1/wishes", chunks=[b'{"name":"'] + [b"a" * 100] * 50), 413, "body_too_large")
    assert exchange.given == 4  # 9 + 100 + 100 + 100 > 256


async def test_body_in_chunks_is_put_together() -> None:
    edge = await make_edge()
    exchange = await edge.ask("POST", "/v1/wishes", chunks=[b'{"na', b"", b'me":"a"', b"}"])
    assert (exchange.status, exchange.body) == (201, b'{"name":"a","count":0}')


async def test_body_where_none_is_taken() -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", "/v1/doors/d1/unlock", body=b"{}"), 413, "body_too_large")
    await refused(edge, await edge.ask("GET", "/v1/me", chunks=[b"{}"]), 413, "body_too_large")


async def test_body_shorter_than_announced() -> None:
    edge = await make_edge()
    exchange = await edge.ask("POST", "/v1/wishes", body=b'{"name":"a"}', headers={"content-length": "13"})
    await refused(edge, exchange, 400, "body_malformed")


@pytest.mark.parametrize("length", ["-1", "1e3", "", "٣", "9" * 16])
async def test_content_length_that_is_no_number(length: str) -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", "/v1/wishes", body=b"{}", headers={"content-length": length}), 400, "header_invalid")


async def test_slow_body() -> None:
    edge = await make_edge(Limits(body_seconds_max=0.05))
    await refused(edge, await edge.ask("POST", "/v1/wishes", chunks=[b"a"] * 200, seconds_between=0.02), 408, "body_timeout")


@pytest.mark.parametrize(
    "path",
    ["/", "", "*", "/v1", "/v1/wishes/", "/v1/doors//unlock", "/v1/doors/d1/unlock/", "/V1/me", "v1/me", "/v1/doors", "/v1/" + "a" * 2_000],
)
async def test_unknown_path(path: str) -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", path), 404, "route_unknown")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v1/wishes", "POST"), ("HEAD", "/v1/me", "GET"), ("BREW", "/v1/doors/d1/unlock", "POST"), ("GET", "/v1/doors/d1", "DELETE")],
)
async def test_wrong_method(method: str, path: str, allow: str) -> None:
    edge = await make_edge()
    exchange = await refused(edge, await edge.ask(method, path), 405, "method_not_allowed")
    assert exchange.headers["allow"] == allow


@pytest.mark.parametrize("query", ["a", "a=%ff", "a=1&a=2", "&".join(f"a{i}=1" for i in range(17)), "a=" + "b" * 5_119])
async def test_bad_query(query: str) -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("GET", "/v1/me", query=query), 400, "query_invalid")


async def test_good_query() -> None:
    edge = await make_edge()
    await edge.ask("GET", "/v1/me", query="limit=5&cursor=a%3Ab&empty=")
    assert edge.last is not None
    assert edge.last.query == {"limit": "5", "cursor": "a:b", "empty": ""}


async def test_too_many_headers() -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("GET", "/v1/me", pairs=[(f"x-{i}", "1") for i in range(64)]), 400, "header_invalid")


async def test_too_many_bytes_of_headers() -> None:
    edge = await make_edge()
    await refused(edge, await edge.ask("GET", "/v1/me", pairs=[("x-long", "a" * 16_384)]), 400, "header_invalid")


@pytest.mark.parametrize(
    "name", ["authorization", "content-type", "content-length", "idempotency-key", "transfer-encoding", "x-nexkey-assertion"]
)
async def test_header_with_one_meaning_given_twice(name: str) -> None:
    edge = await make_edge()
    exchange = await edge.ask("POST", "/v1/wishes", body=b'{"name":"a"}', pairs=[(name, "1"), (name, "1")])
    await refused(edge, exchange, 400, "header_invalid")


async def test_header_with_many_values_is_joined() -> None:
    edge = await make_edge()
    exchange = await edge.ask("GET", "/v1/me", pairs=[("prefer", "wait=2"), ("prefer", "respond-async")])
    assert exchange.status == 200
    assert edge.last is not None
    assert edge.last.headers["prefer"] == "wait=2, respond-async"


async def test_header_that_is_no_text_does_not_vanish() -> None:
    """An Idempotency-Key that the server silently drops would make a repeat unsafe."""
    edge = await make_edge()
    await refused(edge, await edge.ask("POST", "/v1/doors/d1/unlock", pairs=[("idempotency-key", None)]), 400, "header_invalid")
    exchange = await edge.ask("POST", "/v1/doors/d1/unlock", pairs=[("x-whatever", None)])
    assert exchange.status == 200
