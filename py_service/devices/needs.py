"""What this room needs of others, as types. `app` passes the real ones in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from py_service._core_rs import DeviceRecord

ClockMs = Callable[[], int]
CommandKey = Callable[[str], Awaitable[str]]
"""`organization` -> `kid` of the key that signs its commands, made if there is none yet."""


class Devices(Protocol):
    """The part of the core's PermissionIndex that knows devices."""

    def revision(self, organization: str) -> int: ...
    def device(self, organization: str, device: str) -> DeviceRecord | None: ...
    def authenticate(self, organization: str, subject: str, at_ms: int, session: str) -> str | None: ...


class Permissions(Protocol):
    """Permissions in memory, and the way to bring them up to the store's revision (raises Problem 503)."""

    @property
    def index(self) -> Devices: ...
    async def current(self, organization: str, /) -> int: ...


class DeviceSigner(Protocol):
    """The part of the core's KeyRing that signs for devices."""

    def public_key(self, purpose: str, organization: str, key_id: str) -> bytes: ...
    def sign_access_token(
        self,
        audience: str,
        organization: str,
        subject: str,
        kind: str,
        session: str,
        topics: Sequence[str],
        issued_at_ms: int,
        expires_at_ms: int,
        revision: int = 0,
    ) -> str: ...
    def sign_command(
        self, organization: str, lock: str, door: str, action: str, command_id: str, issued_at_ms: int, expires_at_ms: int
    ) -> bytes: ...
    def sign_time(self, organization: str, lock: str, nonce: bytes, now_ms: int) -> bytes: ...


class BegunHold(Protocol):
    """A hold that is recorded: its id, the moment from which its first lease counts, and its door."""

    @property
    def hold(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def door(self) -> str: ...


class RecordedHolds(Protocol):
    """The unlock room's part: no lease is signed before its hold is in the journal."""

    async def begin(self, organization: str, lock: str) -> BegunHold | None: ...
    async def is_of(self, organization: str, lock: str, door: str, hold: str) -> bool: ...
