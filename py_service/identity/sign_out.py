"""End a session: its whole family of refresh tokens. Access tokens that are out live for their last minutes."""

from __future__ import annotations

from py_service.identity.store import IdentityStore
from py_service.identity.tokens import refresh_token_id


class SignOut:
    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    async def sign_out(self, refresh_token: str) -> None:
        """An unknown token is signed out already."""
        session = await self._store.session(refresh_token_id(refresh_token))
        if session is not None:
            await self._store.delete_family(session.family)
