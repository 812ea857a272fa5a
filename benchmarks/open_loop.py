"""An open-loop HTTP client: requests leave when they are due, whether or not earlier ones were answered.

Latency counts from the moment at which a request was *due*, so that time spent waiting for a connection, or for this client, is in it
(no coordinated omission). Arrivals are Poisson: the gaps are exponential, as when many people act without knowing of each other.
Timers of the loop have a grain of 1 ms, which is in the latencies too.

What doesn't live here: which requests, and what a right answer is.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

CONNECTIONS_FIRST = 64
CONNECTIONS_MAX = 1_024
UNANSWERED_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as it goes over the wire. `judge` says what is wrong with (status, body), or None. `kind` groups the figures."""

    wire: bytes
    kind: str
    judge: Callable[[int, bytes], str | None]


@dataclass(slots=True)
class Answered:
    """`fault` None: the answer was right."""

    kind: str
    milliseconds: float
    fault: str | None


class _Connection(asyncio.Protocol):
    """One request at a time; answers have a content-length."""

    def __init__(self, client: OpenLoop) -> None:
        self._client = client
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._request: tuple[Prepared, float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class, which asyncio's types don't know
        self._client.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.lost(self._request)
        self._request = None

    def send(self, request: Prepared, due: float) -> None:
        self._request = (request, due)
        if self._transport is not None:
            self._transport.write(request.wire)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or self._request is None:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        (request, due), self._request, self._received = self._request, None, b""
        self._client.answered(request, due, int(head[9:12]), rest[:length])
        self._client.free(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class OpenLoop:
    """One run against one server."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._connections: list[_Connection] = []
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[tuple[Prepared, float]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._unanswered = 0
        self._answers: list[Answered] = []
        self._running = True

    async def run(self, requests: list[Prepared], rate: float, seconds: float, warm_up_seconds: float) -> list[Answered]:
        """Answers to what was due after the warm-up, in no order; a request without one in 10 s is a fault too."""
        await asyncio.gather(*(self._open() for _ in range(CONNECTIONS_FIRST)))
        chance = random.Random(11)
        gc.disable()  # a collection here would be counted as the service's latency
        try:
            began = time.monotonic()
            await self._arrive(requests, rate, began, began + warm_up_seconds, chance)
            self._answers.clear()
            began = time.monotonic()
            await self._arrive(requests, rate, began, began + seconds, chance)
            deadline = time.monotonic() + UNANSWERED_SECONDS_MAX
            while self._unanswered and time.monotonic() < deadline:  # noqa: ASYNC110  nothing is signalled, so that the hot path has nothing to do
                await asyncio.sleep(0.01)
        finally:
            gc.enable()
        self._running = False
        self._answers += [Answered("none", UNANSWERED_SECONDS_MAX * 1_000, "no answer") for _ in range(self._unanswered)]
        for connection in self._connections:
            connection.close()
        return self._answers

    async def _arrive(self, requests: list[Prepared], rate: float, began: float, ends: float, chance: random.Random) -> None:
        due = began + chance.expovariate(rate)
        while due < ends:
            pause = due - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            now = time.monotonic()
            while due <= now and due < ends:
                self._send(chance.choice(requests), due)
                due += chance.expovariate(rate)

    def _send(self, request: Prepared, due: float) -> None:
        self._unanswered += 1
        if self._idle:
            self._idle.popleft().send(request, due)
            return
        self._waiting.append((request, due))
        if len(self._connections) + len(self._opening) < CONNECTIONS_MAX:
            task = asyncio.ensure_future(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(self), self._host, self._port)
        self._connections.append(connection)

    def free(self, connection: _Connection) -> None:
        """A connection has nothing to do."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def answered(self, request: Prepared, due: float, status: int, body: bytes) -> None:
        self._unanswered -= 1
        self._answers.append(Answered(request.kind, (time.monotonic() - due) * 1_000, request.judge(status, body)))

    def lost(self, request: tuple[Prepared, float] | None) -> None:
        """A connection broke; what it carried has failed."""
        if request is not None and self._running:
            self._unanswered -= 1
            self._answers.append(Answered(request[0].kind, (time.monotonic() - request[1]) * 1_000, "the connection broke"))
