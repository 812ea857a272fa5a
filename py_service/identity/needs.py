"""What this room needs of others, as types. `app` passes the real ones in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from py_service._core_rs import Decision, DoorRecord

ClockMs = Callable[[], int]
EndSession = Callable[[str, str, str, str], Awaitable[None]]
"""`(organization, person, session, because)`: the session is over, in every process, when this returns. Raises Problem 503."""


class Standing(Protocol):
    """The part of the core's PermissionIndex that identity uses."""

    def revision(self, organization: str) -> int: ...
    def authenticate(self, organization: str, subject: str, at_ms: int, session: str) -> str | None: ...
    def check_role(self, organization: str, subject: str, permission: str, site: str | None, now_ms: int) -> Decision: ...
    def doors_of(
        self, organization: str, person: str, now_ms: int, after: str, sites: Sequence[str] | None, limit: int
    ) -> list[tuple[DoorRecord, Decision]]: ...


class Permissions(Protocol):
    """Permissions in memory, and the way to bring them up to the store's revision (raises Problem 503)."""

    @property
    def index(self) -> Standing: ...
    async def current(self, organization: str, /) -> int: ...


class TokenSigner(Protocol):
    """The part of the core's KeyRing that signs tokens."""

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
