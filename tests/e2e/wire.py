"""A client that costs little: thousands of requests a second from a test that shares its processors with the service.

What doesn't live here: what is asked (revoke_workload.py). HTTP/1.1 with answers that have a Content-Length or no body, as the api's have.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import msgspec

REQUESTS_OF_A_CONNECTION = 40  # then another one is opened, so that a worker that was started again gets its share
ANSWER_SECONDS_MAX = 15.0


class Lost(Exception):
    """No answer, or not a whole one: nobody knows what came of the request."""


class Client:
    """One client, which asks one thing at a time on one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = 0
        self._turn = asyncio.Lock()

    async def ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body. Raises Lost."""
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    return await self._ask(method, path, body, headers)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.close()
                raise Lost(type(error).__name__) from error

    async def _ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self._line is None or self._left == 0:
            self.close()
            self._line, self._left = await asyncio.open_connection(self._host, self._port), REQUESTS_OF_A_CONNECTION
        reader, writer = self._line
        self._left -= 1
        content = b"" if body is None else msgspec.json.encode(body)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", *(f"{name}: {value}" for name, value in headers.items())]
        if body is not None:
            lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(content)}\r\n\r\n")
        writer.write("\r\n".join(lines).encode() + content)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, told, rest = head.partition(b"content-length:")
        answer = await reader.readexactly(int(rest.split(b"\r\n", 1)[0]) if told else 0)
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head[9:12]), msgspec.json.decode(answer) if answer else {}

    def close(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line[1].transport.abort()
        self._line = None
