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
from py_service.exchange import ShownKey, person_needed

if TYPE_CHECKING:
    from py_service._core_rs import Claims
    from py_service.exchange import Principal

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
KEY_PREFIX = "nxk_"  # no access token begins so: theirs is the base64 of a brace
_UNPROVED = frozenset({"api_key_unknown", "stores_unavailable"})
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


class ReadKey(Protocol):
    """What an API key says of itself."""

    @property
    def organization(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def secret_hash(self) -> str: ...


class ApiKeys(Protocol):
    """The form of API keys, and who hears of their use."""

    def read(self, text: str, /) -> ReadKey | None: ...
    def used(self, key: ReadKey, /) -> None: ...


Admit = Callable[["Principal"], None]
Doubt = Callable[[], None]


class Authenticator:
    """`reload_keys` is called on an unknown `kid` and says whether it loaded anything (it limits itself).

    Without `fence` every route is taken for an unfenced one: only to show that the revoke races then fail.
    """

    def __init__(
        self,
        ring: TokenVerifier,
        permissions: Permissions,
        reload_keys: Callable[[], Awaitable[bool]],
        api_keys: ApiKeys,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        fence: bool = True,
    ) -> None:
        self._ring = ring
        self._permissions = permissions
        self._reload_keys = reload_keys
        self._api_keys = api_keys
        self._clock_ms = clock_ms
        self._fence = fence

    async def authenticate(
        self, authorization: str | None, fenced: bool, takes_api_keys: bool, admit: Admit | None = None, doubt: Doubt | None = None
    ) -> Principal:
        """The claims of a person's token, or an API key. `admit` is asked when it is proved whose it is, and `doubt` before the store
        is asked about what memory doesn't know: both may raise a Problem.

        Raises Problem 401 with the cause as its code, 403 when suspended or for an API key where it isn't taken, or 503.
        """
        token = _bearer(authorization)
        if token.startswith(KEY_PREFIX):
            if not takes_api_keys:
                raise person_needed()
            return await self._of_key(token, fenced, admit, doubt)
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

    async def _of_key(self, text: str, fenced: bool, admit: Admit | None, doubt: Doubt | None) -> ShownKey:
        """A key proves itself against permissions only. Memory is asked first; what it doesn't know it may not have heard of yet."""
        read = self._api_keys.read(text)
        if read is None:
            raise not_standing("api_key_malformed")
        key = ShownKey(read.organization, read.subject, read.secret_hash, self._clock_ms())
        cause = self._cause(key)
        proved = cause not in _UNPROVED
        if admit is not None and proved:
            admit(key)
        if doubt is not None and not proved:
            doubt()
        if (fenced and self._fence) or cause is not None:
            await self._permissions.current(key.organization)
            cause = self._cause(key)
        if admit is not None and not proved and cause not in _UNPROVED:
            admit(key)
        if cause is not None:
            # Whose organization nobody has heard of hears what a wrong secret hears.
            raise not_standing("api_key_unknown" if cause in _UNPROVED else cause)
        self._api_keys.used(read)
        return key

    async def _verify_again(self, token: str, error: TokenError) -> Claims:
        if error.code != "token_key_unknown" or not await self._reload_keys():
            raise _refused(error.code) from None
        try:
            return self._ring.verify_access_token(token, _AUDIENCE, self._clock_ms())
        except TokenError as second:
            raise _refused(second.code) from None

    async def _stand(self, claims: Claims, fenced: bool) -> None:
        if fenced and self._fence:
            await self._permissions.current(claims.organization)
        cause = self._cause(claims)
        if cause is None:
            return
        if not (fenced and self._fence):
            if cause in _LEFT_TO_THE_ROOM:
                return
            await self._permissions.current(claims.organization)
            cause = self._cause(claims)
            if cause is None or cause in _LEFT_TO_THE_ROOM:
                return
        raise not_standing(cause)

    def _cause(self, claims: Principal) -> str | None:
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
