"""Who is asking: a bearer token becomes claims, or a 401 whose code says why.

On a fenced route the token is held against permissions that are current when the handler runs. On an unfenced one (the unlock, whose
commit group has its own fence) memory is asked first; only a refusal makes the edge look at the store, because a refusal from old memory
could be wrong. There a suspended person or organization is left to the room, which journals the attempt and says why.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from py_service._core_rs import TokenError
from py_service.errors import Problem, not_standing

if TYPE_CHECKING:
    from py_service._core_rs import Claims

_AUDIENCE = "api"
_DETAILS = {
    "token_malformed": "The access token is not well formed.",
    "token_algorithm": "The access token names an algorithm that is not taken.",
    "token_key_unknown": "The access token was signed with a key that is not known here.",
    "token_signature": "The access token's signature does not fit.",
    "token_expired": "The access token has expired.",
    "token_not_yet_valid": "The access token is not valid yet.",
    "token_audience": "The access token was made for another service.",
    "token_issuer": "The access token was made by another issuer.",
    "token_too_long": "The access token is too long.",
}
TOKEN_CODES = ("token_missing", *_DETAILS, "token_revoked")
_LEFT_TO_THE_ROOM = frozenset({"person_suspended", "organization_suspended"})


class TokenVerifier(Protocol):
    """The part of the core's KeyRing that the edge uses."""

    def verify_access_token(self, token: str, audience: str, now_ms: int) -> Claims: ...


class Standing(Protocol):
    """The part of the core's PermissionIndex that the edge uses."""

    def authenticate(self, organization: str, subject: str, at_ms: int, session: str) -> str | None: ...


class Permissions(Protocol):
    """Permissions in memory, and the way to bring them up to the store's revision (raises Problem 503)."""

    @property
    def index(self) -> Standing: ...
    async def current(self, organization: str, /) -> int: ...


class Authenticator:
    """`reload_keys` is called on an unknown `kid` and says whether it loaded anything (it limits itself)."""

    def __init__(
        self,
        ring: TokenVerifier,
        permissions: Permissions,
        reload_keys: Callable[[], Awaitable[bool]],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._ring = ring
        self._permissions = permissions
        self._reload_keys = reload_keys
        self._clock_ms = clock_ms

    async def authenticate(self, authorization: str | None, fenced: bool, admit: Callable[[Claims], None] | None = None) -> Claims:
        """The claims of a person's token. `admit` is asked when its signature is good, before the store is: it may raise a Problem.

        Raises Problem 401 with the cause as its code, 403 when suspended, or 503.
        """
        token = _bearer(authorization)
        try:
            claims = self._ring.verify_access_token(token, _AUDIENCE, self._clock_ms())
        except TokenError as error:
            claims = await self._verify_again(token, error)
        if claims.kind != "person":
            raise _refused("token_audience")
        if admit is not None:
            admit(claims)
        await self._stand(claims, fenced)
        return claims

    async def _verify_again(self, token: str, error: TokenError) -> Claims:
        if error.code != "token_key_unknown" or not await self._reload_keys():
            raise _refused(error.code) from None
        try:
            return self._ring.verify_access_token(token, _AUDIENCE, self._clock_ms())
        except TokenError as second:
            raise _refused(second.code) from None

    async def _stand(self, claims: Claims, fenced: bool) -> None:
        if fenced:
            await self._permissions.current(claims.organization)
        cause = self._cause(claims)
        if cause is None:
            return
        if not fenced:
            if cause in _LEFT_TO_THE_ROOM:
                return
            await self._permissions.current(claims.organization)
            cause = self._cause(claims)
            if cause is None or cause in _LEFT_TO_THE_ROOM:
                return
        raise not_standing(cause)

    def _cause(self, claims: Claims) -> str | None:
        """Why they don't stand, by what is in memory."""
        return self._permissions.index.authenticate(claims.organization, claims.subject, claims.issued_at_ms, claims.session)


def _bearer(authorization: str | None) -> str:
    if authorization is None:
        raise Problem(401, "token_missing", "This needs an access token.")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(401, "token_malformed", "The Authorization header has to be `Bearer <access token>`.")
    return token


def _refused(code: str) -> Problem:
    return Problem(401, code, _DETAILS.get(code, "The access token was refused."))
