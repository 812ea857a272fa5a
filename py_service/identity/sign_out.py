"""End the session of a refresh token: once this has returned, no process takes an access token of it either."""

from __future__ import annotations

from py_service.identity.needs import EndSession
from py_service.identity.sessions import SessionStore
from py_service.identity.store import IdentityStore
from py_service.identity.tokens import refresh_token_id


class SignOut:
    def __init__(self, store: IdentityStore, sessions: SessionStore, end: EndSession) -> None:
        self._store = store
        self._sessions = sessions
        self._end = end

    async def sign_out(self, refresh_token: str) -> None:
        """A token that is unknown, or whose session has ended, is signed out already. Raises Problem 503."""
        shown = await self._store.token(refresh_token_id(refresh_token))
        if shown is not None and await self._sessions.find(shown.org, shown.family) is not None:
            await self._end(shown.org, shown.person, shown.family, "signed_out")
