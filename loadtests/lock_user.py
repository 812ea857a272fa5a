"""A lock as a Locust user: the real protocol over a real WebSocket, with the firmware's verifier, on gevent instead of asyncio.

Every verified command moves a bolt and is answered with a signed report; measured is how long it takes until the service says `stored`,
which is after the commit. What a lock decides lives in `py_service.simulators` (door, command, reports); here is only its line.
"""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec
from locust import FastHttpUser, task
from locust.exception import StopUser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtests.plan import PlannedLock
from py_service._core_rs import DeviceKey, LockVerifier
from py_service.simulators.command import ANSWERS_MAX, CommandAnswers
from py_service.simulators.device_api import ASSERTION_MS, Configuration, decode_base64url, encode_base64url
from py_service.simulators.door import Door
from py_service.simulators.frames import FRAME_BYTES_MAX, SUBPROTOCOL, ServerFrame, decode_frame, encode_frame
from py_service.simulators.lock import TOKEN_EARLY_MS, monotonic_ms
from py_service.simulators.moves import MoveLog
from py_service.simulators.reports import Pending, ReportBook

RECEIVE_SECONDS = 0.25
STORED = "a lock's report, stored"
TOKEN_LIFE_MS = 300_000

Answer = TypeVar("Answer")


class _Token(msgspec.Struct):
    token: str


class _Time(msgspec.Struct):
    message: str


class LockUser(FastHttpUser):
    """Takes one planned lock each. `ready` counts those that the gateway has authenticated."""

    organization: ClassVar[str]
    gateway_url: ClassVar[str]
    waiting: ClassVar[deque[PlannedLock]]
    moves_file: ClassVar[Path]
    ready: ClassVar[int] = 0
    max_retries = 0

    def on_start(self) -> None:
        try:
            planned = self.waiting.popleft()
        except IndexError:
            raise StopUser from None
        self._lock = planned.lock
        self._key = DeviceKey.from_seed(bytes.fromhex(planned.seed))
        self._door, self._reports, self._sent_at = Door(), ReportBook(), dict[int, float]()
        pinned = self._device("GET", f"configuration?organization={self.organization}", Configuration)
        self._verifier = LockVerifier(pinned.organization, self._lock, pinned.key_id, decode_base64url(pinned.public_key), ANSWERS_MAX)
        moves = MoveLog(self.moves_file)
        self._answers = CommandAnswers(self._lock, self._key, self._verifier, self._door, self._reports, moves)
        self._take_time()
        self._line = self._connect()
        LockUser.ready += 1

    @task
    def live(self) -> None:
        """Until the run is over. A line that breaks is a failure: nothing in a load test breaks it."""
        while True:
            try:
                self._take(decode_frame(self._line.recv(RECEIVE_SECONDS)))
            except TimeoutError:
                pass
            except ConnectionClosed as closed:
                self._measured(STORED, 0.0, closed)
                raise StopUser from None
            self._keep_up()

    def _connect(self) -> ClientConnection:
        line = connect(
            self.gateway_url, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None, max_size=FRAME_BYTES_MAX, ping_interval=None
        )
        self._authenticate(line)
        while decode_frame(line.recv(10)).type != "authenticated":
            pass
        return line

    def _authenticate(self, line: ClientConnection) -> None:
        token = self._device("POST", "token", _Token, {}).token
        line.send(encode_frame({"type": "authenticate", "token": token}))
        self._token_due_ms = monotonic_ms() + TOKEN_LIFE_MS - TOKEN_EARLY_MS

    def _take(self, frame: ServerFrame) -> None:
        if frame.type == "command":
            self._line.send(encode_frame({"type": "received", "command": frame.command}))
            self._send(self._answers.answer(frame.command, decode_base64url(frame.message), monotonic_ms()))
        elif frame.type == "stored":
            self._reports.stored(frame.number)
            began = self._sent_at.pop(frame.number, None)
            if began is not None:
                self._measured(STORED, (time.perf_counter() - began) * 1_000, None)

    def _keep_up(self) -> None:
        """Relock when it is time, say again what isn't stored, prolong the token."""
        now = monotonic_ms()
        self._door.tick(now)
        self._answers.report_door(now)
        for pending in self._reports.due(now):
            self._send(pending)
        if now >= self._token_due_ms:
            self._authenticate(self._line)

    def _send(self, pending: Pending) -> None:
        pending.sent_at_ms = monotonic_ms()
        self._sent_at.setdefault(pending.number, time.perf_counter())
        frame: dict[str, object] = {"type": "report", "number": pending.number, "command": pending.command}
        self._line.send(encode_frame({**frame, "report": encode_base64url(pending.report)}))

    def _take_time(self) -> None:
        nonce = os.urandom(16)
        self._verifier.begin_time(nonce, monotonic_ms())
        answer = self._device("POST", "time", _Time, {"nonce": encode_base64url(nonce)})
        self._verifier.accept_time(decode_base64url(answer.message), monotonic_ms())

    def _device(self, method: str, what: str, kind: type[Answer], body: dict[str, str] | None = None) -> Answer:
        """A device's own call, with its assertion. Raises msgspec.ValidationError on anything but the answer."""
        now_ms = time.time_ns() // 1_000_000
        assertion = self._key.sign_assertion(self.organization, self._lock, now_ms, now_ms + ASSERTION_MS)
        headers = {"X-Nexkey-Assertion": assertion} if body is None else {"Content-Type": "application/json"}
        content = (
            None if body is None else msgspec.json.encode({"organization": self.organization, "assertion": assertion, **body}).decode()
        )
        name = f"a lock's {what.partition('?')[0]}"
        response = self.client.request(method, f"/v1/devices/{self._lock}/{what}", name=name, headers=headers, data=content)
        return msgspec.json.decode(response.content or b"", type=kind)

    def _measured(self, name: str, milliseconds: float, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="WS", name=name, response_time=milliseconds, response_length=0, exception=error, context={},
            start_time=time.time() - milliseconds / 1_000,
        )  # fmt: skip
