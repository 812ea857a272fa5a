"""The part of RSGI (Granian's protocol, version 1.6) that the edge uses, as types.

Granian's own stubs leave the body iterator untyped; these say what was observed with Granian 2.8. No behaviour lives here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Headers(Protocol):
    """Lower-case names. A value that isn't visible ASCII is absent from `items()` but its name stays in `keys()`."""

    def items(self) -> list[tuple[str, str]]: ...
    def keys(self) -> list[str]: ...


class Scope(Protocol):
    """What is known of a request before its body. `path` arrives percent-decoded, with U+FFFD for what isn't UTF-8; as it was sent it is
    nowhere, so an encoded slash can't be told from a slash."""

    @property
    def proto(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def headers(self) -> Headers: ...


class Exchange(Protocol):
    """The way back. Iterating gives the body's chunks; a body that was cut off simply ends, so its length has to be counted."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class Socket(Protocol):
    """A WebSocket that asks for entry. The gateway serves those, not this process."""

    def close(self, status: int | None = None) -> tuple[int, bool]: ...
