"""What a sign-in hands out: a short access token and an opaque refresh token. Used by sign-in and refresh alike."""

from __future__ import annotations

import hashlib
import secrets

from py_service.errors import not_standing
from py_service.exchange import moment
from py_service.identity.messages import SignedIn
from py_service.identity.needs import ClockMs, Permissions, TokenSigner
from py_service.identity.store import Session

ACCESS_TOKEN_MS = 300_000
REFRESH_TOKEN_MS = 30 * 86_400_000
_REFRESH_TOKEN_BYTES = 32


def refresh_token_id(refresh_token: str) -> str:
    """SHA-256 in hex. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(refresh_token.encode("utf-8", "surrogatepass")).hexdigest()


class TokenIssuer:
    """Gives tokens to a person who has proved who they are, if the person may have any right now."""

    def __init__(self, signer: TokenSigner, permissions: Permissions, clock_ms: ClockMs) -> None:
        self._signer = signer
        self._permissions = permissions
        self._clock_ms = clock_ms

    async def check_standing(self, organization: str, person: str) -> int:
        """Now, in ms, if a token issued now would stand. Raises Problem 401 `token_revoked`, 403 when suspended, 503."""
        await self._permissions.current(organization)
        now_ms = self._clock_ms()
        cause = self._permissions.index.authenticate(organization, person, now_ms)
        if cause is None:
            return now_ms
        # `token_revoked`: they are cut to a moment that this process's clock hasn't reached.
        raise not_standing(cause)

    def new_session(self, organization: str, person: str, family: str, now_ms: int) -> tuple[Session, str]:
        """A session to store and the refresh token that only the client will have."""
        refresh_token = secrets.token_urlsafe(_REFRESH_TOKEN_BYTES)
        return Session(refresh_token_id(refresh_token), family, organization, person, now_ms + REFRESH_TOKEN_MS), refresh_token

    def signed_in(self, session: Session, refresh_token: str, now_ms: int) -> SignedIn:
        expires_at_ms = now_ms + ACCESS_TOKEN_MS
        token = self._signer.sign_access_token("api", session.org, session.person, "person", session.family, [], now_ms, expires_at_ms)
        return SignedIn(token, moment(expires_at_ms), refresh_token, session.person, session.org)
