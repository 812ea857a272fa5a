"""Trade a refresh token for new tokens.

Each is good once; one that is shown again was copied, and ends its session (RFC 9700 section 4.14.2).
"""

from __future__ import annotations

from py_service.errors import Problem
from py_service.identity.messages import SignedIn
from py_service.identity.needs import ClockMs, EndSession
from py_service.identity.sessions import SessionStore
from py_service.identity.store import IdentityStore, RefreshToken
from py_service.identity.tokens import TokenIssuer, refresh_token_id
from py_service.telemetry import logger

_LOG = logger("identity")


class Refresh:
    def __init__(self, store: IdentityStore, sessions: SessionStore, issuer: TokenIssuer, end: EndSession, clock_ms: ClockMs) -> None:
        self._store = store
        self._sessions = sessions
        self._issuer = issuer
        self._end = end
        self._clock_ms = clock_ms

    async def refresh(self, refresh_token: str, client: str) -> SignedIn:
        """Raises Problem 401 `refresh_token_unknown`, `refresh_token_expired`, `refresh_token_reused`; 403 when suspended; 503."""
        shown = await self._store.token(refresh_token_id(refresh_token))
        session = None if shown is None else await self._sessions.find(shown.org, shown.family)
        if shown is None or session is None:
            raise _unknown()
        if shown.used:
            raise await self._reused(shown)
        if shown.expires_at <= self._clock_ms():
            raise Problem(401, "refresh_token_expired", "This refresh token has expired. Sign in again.")
        now_ms = await self._issuer.check_standing(shown.org, shown.person, shown.family, session.created_at)
        # The next token is stored before the old one is used up: if the store fails between, the client can ask again.
        following, following_token = self._issuer.new_token(shown.org, shown.person, shown.family, now_ms)
        await self._store.insert_token(following)
        if not await self._store.use_token(shown.id):
            await self._store.delete_token(following.id)
            raise await self._reused(shown)
        if not await self._sessions.seen(session, now_ms, following.expires_at, client):
            raise _unknown()  # it ended meanwhile, and what was just stored is void
        return self._issuer.signed_in(following, following_token, now_ms)

    async def _reused(self, shown: RefreshToken) -> Problem:
        """Ends the session in one change; a repeat after a failure finds it and goes on."""
        _LOG.warning("refresh token reused", organization=shown.org, person=shown.person, session=shown.family)
        await self._end(shown.org, shown.person, shown.family, "refresh_token_reused")
        return Problem(401, "refresh_token_reused", "This refresh token was used before; the session that it came from has ended.")


def _unknown() -> Problem:
    return Problem(401, "refresh_token_unknown", "This refresh token is not known, or its session has ended. Sign in again.")
