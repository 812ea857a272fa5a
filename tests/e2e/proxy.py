"""TCP proxies between the service and its stores, that can be away, and that can hold or lose an answer at a chosen moment.

`MongoProxy` reads MongoDB's wire protocol (OPCODE_MESSAGE) as far as it must to know which transaction wrote the journal and
when it committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import bson

from py_service.stores.mongo import Document

OPCODE_MESSAGE = 2013
CHECKSUM_PRESENT = 1
CHUNK_BYTES = 65_536


@dataclass(slots=True, eq=False)
class Line:
    """One connection of a client, and ours to the server for it."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    asked: dict[int, list[str]] = field(default_factory=dict)  # commits under way: request id -> journal documents of the transaction
    publishes: bool = False

    def cut(self) -> None:
        for _, writer in (self.client, self.server):
            writer.transport.abort()


class TcpProxy:
    """Passes bytes on. Use it as an async context manager."""

    def __init__(self) -> None:
        self.lines: set[Line] = set()
        self._upstream = ("127.0.0.1", 0)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.back()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.away()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def aim(self, url: str) -> str:
        """Stand before the server of this URL; gives the URL to use instead."""
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        return parts._replace(netloc=f"127.0.0.1:{self._port}").geturl()

    def away(self) -> None:
        """As if the server's machine were gone: connections break, and nobody listens."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in list(self.lines):
            line.cut()

    async def back(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, reuse_address=True)
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        line = Line((reader, writer), server)
        self.lines.add(line)
        pumps = [asyncio.create_task(self.ask(line)), asyncio.create_task(self.answer(line))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            line.cut()
            self.lines.discard(line)
            self._tasks.discard(task)

    async def ask(self, line: Line) -> None:
        """From the client to the server."""
        await _pass_on(line.client[0], line.server[1])

    async def answer(self, line: Line) -> None:
        """From the server to the client."""
        await _pass_on(line.server[0], line.client[1])


class RedisProxy(TcpProxy):
    """`hold_publishes`: what was published has gone out, and the publisher doesn't hear of it until `release_publishes`."""

    def __init__(self) -> None:
        super().__init__()
        self._free = asyncio.Event()
        self._free.set()
        self.held = asyncio.Event()

    def hold_publishes(self) -> None:
        self.held.clear()
        self._free.clear()

    def release_publishes(self) -> None:
        self._free.set()

    async def ask(self, line: Line) -> None:
        while chunk := await line.client[0].read(CHUNK_BYTES):
            line.publishes |= b"EVALSHA" in chunk
            line.server[1].write(chunk)
            await line.server[1].drain()

    async def answer(self, line: Line) -> None:
        while chunk := await line.server[0].read(CHUNK_BYTES):
            if line.publishes and not self._free.is_set():
                self.held.set()
                await self._free.wait()
            line.client[1].write(chunk)
            await line.client[1].drain()


@dataclass(slots=True)
class Held:
    """What becomes of the answers to a lane's commits, when the server has committed; with `before`, of the commits themselves."""

    lane: str
    before: bool = False
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    documents: list[str] = field(default_factory=list)  # of the first transaction that was caught
    _decided: asyncio.Event = field(default_factory=asyncio.Event)
    _to_lose: float = 0

    def release(self) -> None:
        """Let the answer through, and those that follow."""
        self._to_lose = 0
        self._decided.set()

    def lose(self, count: float = math.inf) -> None:
        """Break the connection before the answer, and before as many as that."""
        self._to_lose = count
        self._decided.set()

    async def lost(self, documents: list[str]) -> bool:
        """Waits for what the test decides. Whether the connection has to break."""
        if not self.caught.is_set():
            self.documents = documents
            self.caught.set()
        await self._decided.wait()
        self._to_lose -= 1
        return self._to_lose >= 0


class MongoProxy(TcpProxy):
    """Knows the commits whose transaction wrote into the journal."""

    def __init__(self) -> None:
        super().__init__()
        self._journaled: dict[tuple[bytes, int], list[str]] = {}
        self._held: Held | None = None

    @contextlib.asynccontextmanager
    async def holding(self, lane: str, *, before: bool = False) -> AsyncIterator[Held]:
        """From now on, for logs that start with `lane`."""
        held = self._held = Held(lane, before)
        try:
            yield held
        finally:
            self._held = None
            held.release()

    async def ask(self, line: Line) -> None:
        while (message := await whole_message(line.client[0])) is not None:
            documents = self._note(line, message)
            if (held := self._holder(documents)) is not None and held.before and await held.lost(documents):
                return
            line.server[1].write(message)
            await line.server[1].drain()

    async def answer(self, line: Line) -> None:
        while (message := await whole_message(line.server[0])) is not None:
            documents = line.asked.pop(struct.unpack_from("<i", message, 8)[0], [])
            if (held := self._holder(documents)) is not None and not held.before and await held.lost(documents):
                return
            line.client[1].write(message)
            await line.client[1].drain()

    def hold(self, held: Held) -> None:
        """From now on this one instead of the other."""
        self._held = held

    def hold_no_more(self) -> None:
        """What is held stays held; nothing else will be."""
        self._held = None

    def _holder(self, documents: list[str]) -> Held | None:
        held = self._held
        return held if held is not None and documents and documents[0].startswith(held.lane) else None

    def _note(self, line: Line, message: bytes) -> list[str]:
        """The journal documents that are committed by this message, if it is such a commit."""
        command = decoded_command(message)
        if command is None or "txnNumber" not in command:
            return []
        transaction = (bytes(command["lsid"]["id"]), int(command["txnNumber"]))
        if command.get("insert") == "journal":
            self._journaled[transaction] = [document["_id"] for document in command["documents"]]
        if "commitTransaction" not in command:
            return []
        documents = line.asked[struct.unpack_from("<i", message, 4)[0]] = self._journaled.get(transaction, [])
        return documents


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()


async def whole_message(reader: asyncio.StreamReader) -> bytes | None:
    """One whole message of MongoDB's protocol; None at the end."""
    try:
        head = await reader.readexactly(4)
        return head + await reader.readexactly(struct.unpack("<i", head)[0] - 4)
    except (asyncio.IncompleteReadError, OSError):
        return None


def decoded_command(message: bytes) -> Document | None:
    """The command of an OPCODE_MESSAGE, its document sequences as lists in it; None for anything else."""
    if struct.unpack_from("<i", message, 12)[0] != OPCODE_MESSAGE:
        return None
    end = len(message) - (4 if struct.unpack_from("<I", message, 16)[0] & CHECKSUM_PRESENT else 0)
    command: Document = {}
    at = 20
    while at < end:
        kind, at = message[at], at + 1
        size = struct.unpack_from("<i", message, at)[0]
        section = message[at : at + size]
        at += size
        if kind == 0:
            command |= bson.decode(section)
        else:
            name, _, documents = section[4:].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents)
    return command
