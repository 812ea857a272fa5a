"""What comes over the wire becomes text and bytes within bounds: headers, query, body. JSON itself is decoded by the rooms.

Granian sets no bound on a body and waits for it forever, so the edge counts bytes and seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from urllib.parse import parse_qsl

from py_service.edge.limits import Limits
from py_service.edge.rsgi import Exchange, Headers
from py_service.errors import Problem

# Read as one value, so two of them are two meanings (request smuggling, a check on one and a use of the other).
_SINGLE = frozenset(
    {
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "x-nexkey-assertion",
        "x-request-id",
    }
)
LARGE_BYTES = 262_144  # less finds room in the sockets' buffers, and its sender hears the answer
DROPPED_BYTES_MAX = 65_536  # by which a large body may be too large and still be heard out
_CONTENT_TYPES = frozenset({"application/json", "application/json;charset=utf-8", 'application/json;charset="utf-8"'})


def read_headers(headers: Headers, limits: Limits) -> dict[str, str]:
    """Headers by lower-case name. Raises Problem 400 `header_invalid`."""
    items = headers.items()
    if len(items) > limits.header_count_max:
        raise Problem(400, "header_invalid", f"At most {limits.header_count_max} headers are taken.")
    size = 0
    for name, value in items:
        size += len(name) + len(value)
    if size > limits.header_bytes_max:
        raise Problem(400, "header_invalid", f"At most {limits.header_bytes_max} bytes of headers are taken.")
    single = dict(items)
    # A value that can't be text is left out by the server without a word. An Idempotency-Key must not vanish like that.
    if len(single) != len(items) or len(headers.keys()) != len(items):
        return _joined(items, headers)
    return single


def _joined(items: list[tuple[str, str]], headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in items:
        if name not in joined:
            joined[name] = value
        elif name in _SINGLE:
            raise Problem(400, "header_invalid", f"{name}: given more than once.")
        else:
            joined[name] += f", {value}"  # RFC 9110 section 5.3
    for name in sorted(_SINGLE.intersection(headers.keys()) - joined.keys()):
        raise Problem(400, "header_invalid", f"{name}: not visible ASCII.")
    return joined


def read_query(query: str, limits: Limits) -> dict[str, str]:
    """Query parameters, each once. Raises Problem 400 `query_invalid`."""
    if not query:
        return {}
    if len(query) > limits.query_characters_max:
        raise Problem(400, "query_invalid", f"At most {limits.query_characters_max} characters are taken.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=limits.query_fields_max)
    except ValueError:
        raise Problem(400, "query_invalid", "The query is not a list of name=value in UTF-8.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Problem(400, "query_invalid", "A query parameter is given more than once.")
    return values


async def read_body(headers: Mapping[str, str], exchange: Exchange, bytes_max: int, seconds_max: float) -> bytes:
    """The whole body. Raises Problem 400 `header_invalid` or `body_malformed`, 408, 413, 415."""
    announced = _announced(headers)
    if announced is None and "transfer-encoding" not in headers:
        return b""
    if announced is not None and announced > bytes_max:
        if bytes_max >= LARGE_BYTES and announced - bytes_max <= DROPPED_BYTES_MAX:
            await _dropped(exchange, seconds_max)
        raise _too_large(bytes_max)
    if announced == 0:
        return b""
    if bytes_max > 0:  # some clients announce a body of chunks and then send none
        _check_content_type(headers)
    try:
        async with asyncio.timeout(seconds_max):
            body = await _counted(exchange, bytes_max)
    except TimeoutError:
        raise Problem(408, "body_timeout", f"The body did not arrive in {seconds_max:g} seconds.") from None
    if announced is not None and len(body) != announced:
        raise Problem(400, "body_malformed", "The body is shorter than its Content-Length.")
    return body


async def _dropped(exchange: Exchange, seconds_max: float) -> None:
    """Read, and forgotten: a client that is cut off while it still sends may never see the answer (RFC 9112 section 9.6)."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds_max):
            async for _ in exchange:
                pass


async def _counted(exchange: Exchange, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in exchange:
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        if chunk:
            chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _announced(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise Problem(400, "header_invalid", "content-length: not a number of bytes.")
    return int(text)


def _check_content_type(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Problem(415, "content_type_unsupported", "A compressed body is not taken.")
    content_type = headers.get("content-type", "")
    if content_type != "application/json" and content_type.lower().replace(" ", "") not in _CONTENT_TYPES:
        raise Problem(415, "content_type_unsupported", "The body has to be application/json in UTF-8.")


def _too_large(bytes_max: int) -> Problem:
    if bytes_max == 0:
        return Problem(413, "body_too_large", "This operation takes no body.")
    return Problem(413, "body_too_large", f"At most {bytes_max} bytes are taken.")
