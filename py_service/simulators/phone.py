"""A simulated phone: signs in, lists doors, unlocks, and hands back what the service said, phase by phase.

A real client of the HTTP API. What doesn't live here: printing (`run.py`) and judging (demo/round.py).
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import msgspec

REFUSED = "authorized.failed"


class PhoneError(Exception):
    """The service gave an answer that a phone can't use. `code` is the problem's."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code


class Phase(msgspec.Struct):
    """One phase of an attempt. `milliseconds` counts from the request's arrival."""

    phase: str
    ok: bool
    reason: str | None = None
    milliseconds: float | None = None


class PhoneDoor(msgspec.Struct):
    id: str
    name: str
    site: str
    allowed: bool
    area: str | None = None
    reason: str | None = None


class _Doors(msgspec.Struct):
    items: list[PhoneDoor]
    next_cursor: str | None


class _Session(msgspec.Struct):
    access_token: str
    refresh_token: str
    person: str
    organization: str


class _UnlockBody(msgspec.Struct):
    """Granted and refused answers in one: a refusal is a problem document whose `code` is the reason."""

    id: str = ""
    state: str = ""
    reason: str | None = None
    code: str = ""
    detail: str = ""
    phases: list[Phase] = []


class _RealtimeToken(msgspec.Struct):
    token: str
    topics: list[str]


@dataclass(frozen=True, slots=True)
class UnlockAnswer:
    """`milliseconds` is the whole call as the phone felt it. `reason` is the refusal's code, or why it did not open."""

    status: int
    id: str
    door: str
    state: str
    reason: str
    phases: list[Phase]
    milliseconds: float


class Phone:
    """One person's phone. The HTTP client brings the base address."""

    def __init__(self, http: httpx.AsyncClient, email: str, password: str) -> None:
        self._http = http
        self._email = email
        self._password = password
        self._session: _Session | None = None

    @property
    def organization(self) -> str:
        return "" if self._session is None else self._session.organization

    @property
    def person(self) -> str:
        return "" if self._session is None else self._session.person

    async def sign_in(self) -> None:
        """Raises PhoneError, httpx.HTTPError."""
        answer = await self._http.post("/v1/sign-in", json={"email": self._email, "password": self._password})
        self._session = msgspec.json.decode(_success(answer), type=_Session)

    async def doors(self) -> list[PhoneDoor]:
        """All of them, page after page. Raises PhoneError, httpx.HTTPError."""
        found: list[PhoneDoor] = []
        path: str | None = "/v1/me/doors?limit=200"
        while path is not None:
            page = msgspec.json.decode(_success(await self.call("GET", path)), type=_Doors)
            found += page.items
            path = None if page.next_cursor is None else f"/v1/me/doors?limit=200&cursor={quote(page.next_cursor, safe='')}"
        return found

    async def realtime_token(self) -> tuple[str, list[str]]:
        """A token for the gateway and the topics it may have."""
        body = msgspec.json.decode(_success(await self.call("POST", "/v1/me/realtime-token")), type=_RealtimeToken)
        return body.token, body.topics

    async def unlock(self, door: str, wait_seconds: int = 2, key: str | None = None) -> UnlockAnswer:
        """Ask a door to open. A refusal is an answer; raises PhoneError for everything that isn't decided."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex, "Prefer": f"wait={wait_seconds}"}
        began = time.perf_counter_ns()
        answer = await self.call("POST", f"/v1/doors/{door}/unlock", headers=headers)
        milliseconds = (time.perf_counter_ns() - began) / 1e6
        body = msgspec.json.decode(answer.content, type=_UnlockBody)
        if answer.status_code not in (200, 202) and body.state != REFUSED:
            raise PhoneError(answer.status_code, body.code, body.detail)
        reason = body.code if body.state == REFUSED else body.reason or ""
        return UnlockAnswer(answer.status_code, body.id, door, body.state, reason, body.phases, milliseconds)

    async def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, body: object = None) -> httpx.Response:
        """Any call with this person's token; an expired one is renewed once."""
        if self._session is None:
            await self.sign_in()
        answer = await self._send(method, path, headers, body)
        if answer.status_code == 401 and await self._refreshed():
            answer = await self._send(method, path, headers, body)
        return answer

    async def _send(self, method: str, path: str, headers: dict[str, str] | None, body: object) -> httpx.Response:
        token = "" if self._session is None else self._session.access_token
        named = {**(headers or {}), "Authorization": f"Bearer {token}"}
        if body is None:
            return await self._http.request(method, path, headers=named)
        return await self._http.request(method, path, headers=named, json=body)

    async def _refreshed(self) -> bool:
        if self._session is None:
            return False
        answer = await self._http.post("/v1/refresh", json={"refresh_token": self._session.refresh_token})
        if answer.status_code != 200:
            await self.sign_in()
        else:
            self._session = msgspec.json.decode(answer.content, type=_Session)
        return True


class _Problem(msgspec.Struct):
    code: str = "unknown"
    detail: str = ""


def _success(answer: httpx.Response) -> bytes:
    if 200 <= answer.status_code < 300:
        return answer.content
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem("unreadable", answer.text[:200])
    raise PhoneError(answer.status_code, problem.code, problem.detail)
