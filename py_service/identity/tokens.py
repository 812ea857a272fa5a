"""What a sign-in hands out: a short access token and an opaque refresh token. Used by sign-in and refresh alike."""

from __future__ import annotations

import hashlib
import secrets

from py_service.errors import not_standing
from py_service.exchange import moment
from py_service.identity.messages import SignedIn
from py_service.identity.needs import ClockMs, Permissions, TokenSigner
from py_service.identity.sessions import Session
from py_service.identity.store import RefreshToken

ACCESS_TOKEN_MS = 300_000
REFRESH_TOKEN_MS = 30 * 86_400_000
_REFRESH_TOKEN_BYTES = 32
_SESSION_BYTES = 16


def refresh_token_id(refresh_token: str) -> str:
    """SHA-256 in hex. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(refresh_token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenIssuer:
    """Gives tokens to a person who has proved who they are, if the person may have any right now."""

    def __init__(self, signer: TokenSigner, permissions: Permissions, clock_ms: ClockMs) -> None:
        self._signer = signer
        self._permissions = permissions
        self._clock_ms = clock_ms

    async def check_standing(self, organization: str, person: str, session: str, began_ms: int | None = None) -> int:
        """A moment (ms) as of which a token of the session would stand; `began_ms` is when one that goes on began.

        Raises Problem 401 `token_revoked`, 403 when suspended, 503.

        INVARIANT: the clock is read before the fence. A session that ends after the fence is remembered for longer than any token of
        that moment lives, however long this process stands still in between.
        """
        now_ms = self._clock_ms()
        await self._permissions.current(organization)
        index = self._permissions.index
        cause = index.authenticate(organization, person, now_ms, session)
        if cause is None and began_ms is not None:
            cause = index.authenticate(organization, person, began_ms, session)  # the person was put out since, and is back
        if cause is None:
            return now_ms
        # `token_revoked`: the session has ended, or tokens are cut to a moment that this process's clock hasn't reached.
        raise not_standing(cause)

    def new_session_id(self) -> str:
        """Of a session that begins."""
        return secrets.token_hex(_SESSION_BYTES)

    def new_session(self, organization: str, person: str, session: str, client: str, now_ms: int) -> tuple[Session, RefreshToken, str]:
        """A session to store, with its first refresh token, which only the client will have."""
        token, refresh_token = self.new_token(organization, person, session, now_ms)
        return Session(session, organization, person, now_ms, now_ms, token.expires_at, client), token, refresh_token

    def new_token(self, organization: str, person: str, session: str, now_ms: int) -> tuple[RefreshToken, str]:
        """A refresh token to store, and as only the client will have it."""
        refresh_token = secrets.token_urlsafe(_REFRESH_TOKEN_BYTES)
        return RefreshToken(refresh_token_id(refresh_token), session, organization, person, now_ms + REFRESH_TOKEN_MS), refresh_token

    def signed_in(self, token: RefreshToken, refresh_token: str, now_ms: int) -> SignedIn:
        expires_at_ms = now_ms + ACCESS_TOKEN_MS
        access_token = self._signer.sign_access_token("api", token.org, token.person, "person", token.family, [], now_ms, expires_at_ms)
        return SignedIn(access_token, moment(expires_at_ms), refresh_token, token.person, token.org)
