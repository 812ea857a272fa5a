"""Sign in with e-mail and password. An unknown e-mail and a wrong password can't be told apart, by answer or by time."""

from __future__ import annotations

import secrets

from py_service.errors import Problem
from py_service.identity.messages import SignedIn
from py_service.identity.passwords import Passwords
from py_service.identity.store import Account, IdentityStore
from py_service.identity.tokens import TokenIssuer

_FAMILY_BYTES = 16


class SignIn:
    def __init__(self, store: IdentityStore, passwords: Passwords, issuer: TokenIssuer) -> None:
        self._store = store
        self._passwords = passwords
        self._issuer = issuer

    async def sign_in(self, email: str, password: str) -> SignedIn:
        """Raises Problem 401 `sign_in_failed`, 403 when suspended (told only to who knows the password), 503."""
        address = email.strip().lower()
        account = await self._store.account(address)
        proved = await self._passwords.verify(account.password if account else None, password)
        if account is None or not proved:
            raise Problem(401, "sign_in_failed", "The e-mail or the password is wrong.")
        now_ms = await self._issuer.check_standing(account.org, account.person)
        await self._refresh_hash(address, account, password)
        session, refresh_token = self._issuer.new_session(account.org, account.person, secrets.token_hex(_FAMILY_BYTES), now_ms)
        await self._store.insert_session(session)
        return self._issuer.signed_in(session, refresh_token, now_ms)

    async def _refresh_hash(self, address: str, account: Account, password: str) -> None:
        """The one moment when the password is at hand: bring its hash to today's parameters."""
        if self._passwords.needs_rehash(account.password):
            await self._store.replace_password(address, account.password, await self._passwords.hash(password))
