"""Sign in somebody who has proved by other means than a password who they are: whoever has just accepted a pass."""

from __future__ import annotations

from py_service.identity.messages import SignedIn
from py_service.identity.sessions import client_name
from py_service.identity.store import IdentityStore
from py_service.identity.tokens import TokenIssuer


class SignInKnown:
    def __init__(self, store: IdentityStore, issuer: TokenIssuer) -> None:
        self._store = store
        self._issuer = issuer

    async def __call__(self, organization: str, person: str, user_agent: str | None) -> SignedIn:
        """Raises Problem 401 `token_revoked`, 403 when suspended, 503."""
        session_id = self._issuer.new_session_id()
        now_ms = await self._issuer.check_standing(organization, person, session_id)
        session, token, refresh_token = self._issuer.new_session(organization, person, session_id, client_name(user_agent), now_ms)
        await self._store.add_session(session, token)
        return self._issuer.signed_in(token, refresh_token, now_ms)
