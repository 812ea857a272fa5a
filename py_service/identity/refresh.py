"""Trade a refresh token for new tokens.

Each is good once; one that is shown again was copied, and ends its family (RFC 9700 section 4.14.2).
"""

from __future__ import annotations

from py_service.errors import Problem
from py_service.identity.messages import SignedIn
from py_service.identity.needs import ClockMs, CutTokens
from py_service.identity.store import IdentityStore, Session
from py_service.identity.tokens import TokenIssuer, refresh_token_id
from py_service.telemetry import logger

_LOG = logger("identity")


class Refresh:
    def __init__(self, store: IdentityStore, issuer: TokenIssuer, cut_tokens: CutTokens, clock_ms: ClockMs) -> None:
        self._store = store
        self._issuer = issuer
        self._cut_tokens = cut_tokens
        self._clock_ms = clock_ms

    async def refresh(self, refresh_token: str) -> SignedIn:
        """Raises Problem 401 `refresh_token_unknown`, `refresh_token_expired`, `refresh_token_reused`; 403 when suspended; 503."""
        session = await self._store.session(refresh_token_id(refresh_token))
        if session is None:
            raise Problem(401, "refresh_token_unknown", "This refresh token is not known. Sign in again.")
        if session.used:
            raise await self._end_family(session)
        if session.expires_at <= self._clock_ms():
            raise Problem(401, "refresh_token_expired", "This refresh token has expired. Sign in again.")
        now_ms = await self._issuer.check_standing(session.org, session.person)
        # The next session is stored before the old one is used up: if the store fails between, the client can ask again.
        following, following_token = self._issuer.new_session(session.org, session.person, session.family, now_ms)
        await self._store.insert_session(following)
        if not await self._store.use_session(session.id):
            await self._store.delete_session(following.id)
            raise await self._end_family(session)
        return self._issuer.signed_in(following, following_token, now_ms)

    async def _end_family(self, shown: Session) -> Problem:
        """Idempotent up to its last step: the shown session goes last, so a repeat after a failure finds it and goes on."""
        _LOG.warning("refresh token reused", organization=shown.org, person=shown.person, family=shown.family)
        await self._store.delete_family(shown.family, keep=shown.id)
        await self._cut_tokens(shown.org, shown.person)
        await self._store.delete_family(shown.family)
        return Problem(
            401, "refresh_token_reused", "This refresh token was used before; every session that came from it has ended. Sign in again."
        )
