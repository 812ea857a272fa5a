"""One simulated lock: a real client of the API and the gateway, with the firmware's verifier inside.

    enrol (pin the organization's key) -> time -> connect -> authenticate -> send what is pending -> commands until the line breaks

What lives here: the connection's life. What doesn't: the door (`door.py`), answering commands (`command.py`), keeping it open (`hold.py`),
the time (`clock.py`), numbering (`reports.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from py_service._core_rs import DeviceKey, LockRefusal, LockVerifier
from py_service.simulators.clock import ClockKeeper
from py_service.simulators.command import ANSWERS_MAX, CommandAnswers
from py_service.simulators.device_api import Configuration, DeviceApi, DeviceRefused, GatewayToken, decode_base64url, encode_base64url
from py_service.simulators.door import Door
from py_service.simulators.frames import FRAME_BYTES_MAX, SUBPROTOCOL, ServerFrame, decode_frame, encode_frame
from py_service.simulators.hold import HoldKeeper
from py_service.simulators.moves import MoveLog
from py_service.simulators.reconnect import Reconnect
from py_service.simulators.reports import Pending, ReportBook

TOKEN_EARLY_MS = 60_000
TOKEN_RETRY_MS = 5_000
AUTHENTICATED_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True)
class LockIdentity:
    """Who a lock is. `seed` is its private key and shows itself nowhere."""

    lock: str
    door: str
    seed: bytes = field(repr=False)


@dataclass(slots=True)
class LockEnvironment:
    """What the locks of a fleet share. `enrolling` bounds how many knock at the API at once."""

    organization: str
    gateway_url: str
    http: httpx.AsyncClient
    moves: MoveLog
    state_folder: Path | None = None
    enrolling: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))


def monotonic_ms() -> int:
    """The lock's own tick."""
    return time.monotonic_ns() // 1_000_000


class Lock:
    """Run it as a task; cancel it to switch the lock off. `door` may be moved by whoever plays the people at it (see `touch`)."""

    def __init__(self, identity: LockIdentity, environment: LockEnvironment, door: Door | None = None) -> None:
        self.identity = identity
        self.door = door or Door()
        self._environment = environment
        self._key = DeviceKey.from_seed(identity.seed)
        self._api = DeviceApi(environment.http, environment.organization, identity.lock, self._key)
        folder = environment.state_folder
        self.reports = ReportBook(None if folder is None else folder / f"{identity.lock}.json")
        self.connected = asyncio.Event()
        self.commands = 0
        self.last_error = ""
        self._answers: CommandAnswers | None = None
        self._keeper: HoldKeeper | None = None
        self._token: GatewayToken | None = None
        self._token_due_ms = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._keeper, clock = await self._enrol()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keeper.run())
            tasks.create_task(self._stay_connected(clock))

    async def _stay_connected(self, clock: ClockKeeper) -> None:
        reconnect = Reconnect()
        while True:
            code, reason = None, ""
            try:
                await self._converse(reconnect, clock)
            except ConnectionClosed as closed:
                if closed.rcvd is not None:
                    code, reason = closed.rcvd.code, closed.rcvd.reason
                self._note(closed)
                if code is not None and 4001 <= code <= 4004:  # refused: a new token, not the same one again
                    self._token = None
            except (OSError, TimeoutError, WebSocketException, httpx.HTTPError, DeviceRefused, LockRefusal, msgspec.MsgspecError) as error:
                self._note(error)
            self.connected.clear()
            self._ask_hold()  # its line may have been cut because it is to hold no door
            await asyncio.sleep(reconnect.pause_seconds(code, reason))

    def takes_commands(self) -> bool:
        """Whether its line is up, and it is sure of the time."""
        return self.connected.is_set() and self._answers is not None and self._answers.knows_the_time(monotonic_ms())

    def touch(self) -> None:
        """The door was moved from outside: look at it now."""
        self._wake.set()

    async def _enrol(self) -> tuple[HoldKeeper, ClockKeeper]:
        reconnect = Reconnect()
        while True:
            try:
                async with self._environment.enrolling:
                    pinned = await self._api.configuration()
                return self._pin(pinned)
            except (httpx.HTTPError, DeviceRefused, msgspec.MsgspecError) as error:
                self._note(error)
                await asyncio.sleep(reconnect.pause_seconds())

    def _pin(self, pinned: Configuration) -> tuple[HoldKeeper, ClockKeeper]:
        lock = self.identity.lock
        verifier = LockVerifier(pinned.organization, lock, pinned.key_id, decode_base64url(pinned.public_key), ANSWERS_MAX)
        self._answers = CommandAnswers(lock, self._key, verifier, self.door, self.reports, self._environment.moves)
        clock = ClockKeeper(self._api, verifier, self._answers.knows_the_time, monotonic_ms, self._note)
        return HoldKeeper(self._api, self._answers, self.door, clock.ask, monotonic_ms, self.touch), clock

    async def _converse(self, reconnect: Reconnect, clock: ClockKeeper) -> None:
        """One connection, from connecting to its end."""
        async with self._environment.enrolling:
            await self._renew(clock)
            line = await connect(
                self._environment.gateway_url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                max_size=FRAME_BYTES_MAX,
                ping_interval=30,
                proxy=None,
                open_timeout=5,
                close_timeout=1,
            )
        try:
            async with asyncio.timeout(AUTHENTICATED_SECONDS_MAX):
                await self._authenticate(line)
            reconnect.worked()
            self.connected.set()
            self._ask_hold()  # nobody could tell it meanwhile
            self.reports.unsent()
            upkeep = asyncio.create_task(self._upkeep(line, clock))
            try:
                async for frame in _frames(line):
                    await self._take(line, frame)
            finally:
                upkeep.cancel()
        finally:
            await line.close()
        raise ConnectionClosed(line.protocol.close_rcvd, line.protocol.close_sent)

    async def _renew(self, clock: ClockKeeper) -> None:
        """Time on every connection, a token when the old one is near its end."""
        await clock.ask()
        if self._token is None or self._token.expires_at_ms - TOKEN_EARLY_MS < time.time_ns() // 1_000_000:
            self._token = await self._api.token()

    async def _authenticate(self, line: ClientConnection) -> None:
        if self._token is None:
            raise DeviceRefused(0, "no_token")
        await line.send(encode_frame({"type": "authenticate", "token": self._token.token}))
        self._plan_token()
        async for frame in _frames(line):
            if frame.type == "authenticated":
                return
            await self._take(line, frame)
        raise ConnectionClosed(line.protocol.close_rcvd, line.protocol.close_sent)

    async def _take(self, line: ClientConnection, frame: ServerFrame) -> None:
        if frame.type == "command" and self._answers is not None:
            await line.send(encode_frame({"type": "received", "command": frame.command}))
            self.commands += 1
            try:
                message = decode_base64url(frame.message)
            except ValueError:
                message = b""  # refused as malformed, and said so
            await self._send(line, self._answers.answer(frame.command, message, monotonic_ms()))
            self._wake.set()
        elif frame.type == "stored":
            self.reports.stored(frame.number)
        elif frame.type == "ask_hold":
            self._ask_hold()
        elif frame.type == "error":
            self.last_error = f"{frame.code} {frame.detail}"

    def _ask_hold(self) -> None:
        if self._keeper is not None:
            self._keeper.ask_now()

    async def _send(self, line: ClientConnection, pending: Pending) -> None:
        pending.sent_at_ms = monotonic_ms()
        frame: dict[str, object] = {"type": "report", "number": pending.number, "command": pending.command}
        await line.send(encode_frame({**frame, "report": encode_base64url(pending.report)}))

    async def _upkeep(self, line: ClientConnection, clock: ClockKeeper) -> None:
        """Everything that happens by the clock: relocking, sending again, the time, the token."""
        while True:
            now = monotonic_ms()
            self.door.tick(now)
            if self._answers is not None:
                self._answers.report_door(now)
            try:
                for pending in self.reports.due(now):
                    await self._send(line, pending)
                if now >= clock.due_ms:
                    await clock.ask()
                if now >= self._token_due_ms:
                    await self._prolong(line)
            except ConnectionClosed:
                return
            deadlines = (self.door.next_deadline_ms(), self.reports.next_deadline_ms(), clock.due_ms, self._token_due_ms)
            pause = max(min(due for due in deadlines if due is not None) - monotonic_ms(), 1) / 1_000
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _prolong(self, line: ClientConnection) -> None:
        """Authenticate again before the token ends."""
        self._token_due_ms = monotonic_ms() + TOKEN_RETRY_MS
        try:
            self._token = await self._api.token()
        except (httpx.HTTPError, DeviceRefused, msgspec.MsgspecError) as error:
            self._note(error)
            return
        await line.send(encode_frame({"type": "authenticate", "token": self._token.token}))
        self._plan_token()

    def _plan_token(self) -> None:
        if self._token is not None:
            left_ms = self._token.expires_at_ms - time.time_ns() // 1_000_000
            self._token_due_ms = monotonic_ms() + max(left_ms - TOKEN_EARLY_MS, TOKEN_RETRY_MS)

    def _note(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}"


async def _frames(line: ClientConnection) -> AsyncIterator[ServerFrame]:
    """Whole frames; one that can't be read is passed over."""
    async for text in line:
        try:
            yield decode_frame(text)
        except msgspec.MsgspecError:
            continue
