"""What a device asks of the HTTP API: its configuration, a token for the gateway, and the time. No state, no retry: that is `lock.py`'s."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

import httpx
import msgspec

from py_service._core_rs import DeviceKey

ASSERTION_MS = 30_000


class DeviceRefused(Exception):
    """The API answered, and not with a success. `code` is the problem's."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


class Configuration(msgspec.Struct):
    """What a lock pins at enrolment. `public_key` is base64url, Ed25519."""

    organization: str
    lock: str
    door: str | None
    key_id: str
    public_key: str


class HoldLease(msgspec.Struct):
    """`message` is COSE in base64url; None: the door isn't to be held open."""

    hold: str | None
    message: str | None
    ask_again_in_ms: int


class _Token(msgspec.Struct):
    token: str
    expires_at: datetime


class _Time(msgspec.Struct):
    message: str


class _Problem(msgspec.Struct):
    code: str = "unknown"


@dataclass(frozen=True, slots=True)
class GatewayToken:
    """A token with `aud: gateway`. `expires_at_ms` is Unix time."""

    token: str
    expires_at_ms: int


def decode_base64url(text: str) -> bytes:
    """Base64url with or without padding (RFC 7515 leaves it out)."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


class DeviceApi:
    """The calls of one device. The HTTP client is shared by a whole fleet."""

    def __init__(self, http: httpx.AsyncClient, organization: str, device: str, key: DeviceKey) -> None:
        self._http = http
        self._organization = organization
        self._device = device
        self._key = key

    async def configuration(self) -> Configuration:
        """Raises DeviceRefused, httpx.HTTPError."""
        answer = await self._http.get(
            f"/v1/devices/{self._device}/configuration",
            params={"organization": self._organization},
            headers={"X-Nexkey-Assertion": self._assertion()},
        )
        return msgspec.json.decode(_success(answer), type=Configuration)

    async def token(self) -> GatewayToken:
        """Raises DeviceRefused, httpx.HTTPError."""
        body = {"organization": self._organization, "assertion": self._assertion()}
        answer = await self._http.post(f"/v1/devices/{self._device}/token", json=body)
        token = msgspec.json.decode(_success(answer), type=_Token)
        return GatewayToken(token.token, int(token.expires_at.timestamp() * 1_000))

    async def hold(self, hold: str | None) -> HoldLease:
        """A lease to keep the door open; `hold` is the one to renew. Raises DeviceRefused, httpx.HTTPError."""
        body = {"organization": self._organization, "assertion": self._assertion(), "hold": hold}
        answer = await self._http.post(f"/v1/devices/{self._device}/hold", json=body)
        return msgspec.json.decode(_success(answer), type=HoldLease)

    async def time(self, nonce: bytes) -> bytes:
        """The signed time (COSE) that echoes `nonce`. Raises DeviceRefused, httpx.HTTPError."""
        body = {"organization": self._organization, "assertion": self._assertion(), "nonce": encode_base64url(nonce)}
        answer = await self._http.post(f"/v1/devices/{self._device}/time", json=body)
        return decode_base64url(msgspec.json.decode(_success(answer), type=_Time).message)

    def _assertion(self) -> str:
        now_ms = time.time_ns() // 1_000_000
        return self._key.sign_assertion(self._organization, self._device, now_ms, now_ms + ASSERTION_MS)


def _success(answer: httpx.Response) -> bytes:
    if answer.status_code == 200:
        return answer.content
    try:
        code = msgspec.json.decode(answer.content, type=_Problem).code
    except msgspec.MsgspecError:
        code = "unreadable"
    raise DeviceRefused(answer.status_code, code)
