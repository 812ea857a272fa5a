"""Is a server ready? One question to each kind, with a short answer time; asked again and again by the supervisor. Never raises."""

from __future__ import annotations

import asyncio
import re
import urllib.parse
from collections.abc import Awaitable, Callable

Ready = Callable[[], Awaitable[bool]]

ANSWER_SECONDS_MAX = 2.0
ANSWER_BYTES_MAX = 8_192
ASKED_PER_WORKER = 8  # the kernel spreads connections by chance
PROCESS = re.compile(rb'"process":"([^"]{1,64})"')


def http_ready(host: str, port: int, path: str) -> Ready:
    """`GET path` answers 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()

    async def ask() -> bool:
        first_line = await _first_line(host, port, request)
        return first_line.split(b" ")[1:2] == [b"200"]

    return ask


def workers_ready(host: str, port: int, path: str, workers: int) -> Ready:
    """`GET path` answers 200 from that many processes, each named in the body's `process`.

    They share the port: a worker that is still loading takes connections and lets them wait, so one answer proves nothing of the others.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()

    async def ask() -> bool:
        seen: set[bytes] = set()
        for _ in range(workers * ASKED_PER_WORKER):
            answer = await _whole_answer(host, port, request)
            name = PROCESS.search(answer)
            if answer.split(b" ", 2)[1:2] != [b"200"] or name is None:
                return False
            seen.add(name[1])
            if len(seen) >= workers:
                return True
        return False

    return ask


def redis_ready(url: str) -> Ready:
    """`PING` is answered; an answer that asks for a password counts: the server is there."""
    parts = urllib.parse.urlsplit(url)

    async def ask() -> bool:
        answer = await _first_line(parts.hostname or "127.0.0.1", parts.port or 6379, b"PING\r\n")
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    return ask


def mongo_ready(url: str) -> Ready:
    """`ping` is answered by a server that takes writes."""

    async def ask() -> bool:
        from pymongo import AsyncMongoClient
        from pymongo.errors import PyMongoError

        client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(url, serverSelectionTimeoutMS=1_000, connectTimeoutMS=1_000)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                hello = await client.admin.command("hello")
                return bool(hello.get("isWritablePrimary"))
        except (PyMongoError, OSError, TimeoutError):
            return False
        finally:
            await client.close()

    return ask


async def _whole_answer(host: str, port: int, request: bytes) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                await writer.drain()
                answer = b""
                while len(answer) < ANSWER_BYTES_MAX and (part := await reader.read(ANSWER_BYTES_MAX)):
                    answer += part
                return answer
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


async def _first_line(host: str, port: int, request: bytes) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                await writer.drain()
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return b""
