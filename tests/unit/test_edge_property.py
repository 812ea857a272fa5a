"""Whatever arrives, the edge answers once, never with a 500, and every refusal is a problem document."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.edge_support import Edge, MadeExchange, MadeHeaders, MadeScope, make_edge

NAMES = st.sampled_from(
    [
        "authorization",
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "x-request-id",
        "idempotency-key",
        "prefer",
        "host",
        "x-any",
    ]
)
VALUES = st.one_of(
    st.none(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    st.sampled_from(
        ["Bearer good", "application/json", "application/json; charset=utf-8", "chunked", "0", "12", "999999999999", "gzip", "identity"]
    ),
)
METHODS = st.one_of(st.sampled_from(["GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"]), st.text(max_size=8))
PATHS = st.one_of(
    st.sampled_from(["/v1/me", "/v1/wishes", "/v1/sign-in", "/v1/doors/d1/unlock", "/v1/doors/d1", "/healthz"]),
    st.text(max_size=40),
    st.lists(st.text(max_size=8), max_size=6).map("/".join),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "count", "x"]), inner, max_size=3),
    max_leaves=8,
)
CHUNKS = st.one_of(
    st.lists(st.binary(max_size=100), max_size=5),
    JSON.map(lambda value: [repr(value).replace("'", '"').replace("None", "null").encode("utf-8", "surrogatepass")]),
    st.sampled_from([[b'{"name":"a"}'], [b'{"name":"\\ud800"}'], [b'{"name":', b'"a"}'], [b"[" * 256], [b'{"name":' + b"[" * 200]]),
)


async def asked(edge: Edge, scope: MadeScope, chunks: list[bytes]) -> MadeExchange:
    exchange = MadeExchange(chunks)
    await edge.application.__rsgi__(scope, exchange)
    return exchange


@settings(max_examples=400, deadline=None)
@given(METHODS, PATHS, st.text(max_size=30), st.lists(st.tuples(NAMES, VALUES), max_size=8), CHUNKS, st.booleans())
def test_anything(
    method: str, path: str, query: str, pairs: list[tuple[str, str | None]], chunks: list[bytes], well_announced: bool
) -> None:
    if well_announced:
        known = {"authorization", "content-type", "content-length", "transfer-encoding", "content-encoding"}
        pairs = [pair for pair in pairs if pair[0] not in known]
        length = str(sum(len(chunk) for chunk in chunks))
        pairs += [("authorization", "Bearer good"), ("content-type", "application/json"), ("content-length", length)]

    async def scenario() -> tuple[Edge, MadeExchange]:
        edge = await make_edge()
        return edge, await asked(edge, MadeScope(method, path, query, MadeHeaders(pairs)), chunks)

    edge, exchange = asyncio.run(scenario())
    assert exchange.answers == 1
    assert 200 <= exchange.status < 500
    assert exchange.headers["x-request-id"]
    if exchange.status >= 400:
        assert exchange.problem()["code"]
        assert edge.calls == 0
