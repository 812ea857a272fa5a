"""Sign in with e-mail and password. An unknown e-mail and a wrong password can't be told apart, by answer or by time."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.identity.messages import SignedIn
from py_service.identity.passwords import Passwords
from py_service.identity.store import Account, IdentityStore
from py_service.identity.tokens import TokenIssuer
from py_service.permissions.text import spelled_email

_TRIES = 2


class SignIn:
    def __init__(self, store: IdentityStore, passwords: Passwords, issuer: TokenIssuer) -> None:
        self._store = store
        self._passwords = passwords
        self._issuer = issuer

    async def sign_in(self, email: str, password: str, client: str) -> SignedIn:
        """Raises Problem 401 `sign_in_failed`, 403 when suspended (told only to who knows the password), 503."""
        address = spelled_email(email)
        for _ in range(_TRIES):
            account = await self._store.account(address)
            proved = await self._passwords.verify(account.password if account else None, password)
            if account is None or not proved:
                break
            signed_in = await self._begin(address, account, await self._renewed(account, password), client)
            if signed_in is not None:
                return signed_in
        raise Problem(401, "sign_in_failed", "The e-mail or the password is wrong.")

    async def begin_with(self, address: str, account: Account, client: str) -> SignedIn:
        """For who has just chosen the password of this account. Raises Problem 401 `sign_in_failed` when it is another by now, 403, 503."""
        signed_in = await self._begin(address, account, None, client)
        if signed_in is None:
            raise Problem(401, "sign_in_failed", "The password was changed meanwhile.")
        return signed_in

    async def _begin(self, address: str, account: Account, renewed: str | None, client: str) -> SignedIn | None:
        """None when the hash that was proved isn't the account's any more: changed, or renewed by another sign-in."""
        session_id = self._issuer.new_session_id()
        now_ms = await self._issuer.check_standing(account.org, account.person, session_id)
        session, token, refresh_token = self._issuer.new_session(account.org, account.person, session_id, client, now_ms)
        if not await self._store.begin_session(address, account.password, renewed, session, token):
            return None
        return self._issuer.signed_in(token, refresh_token, now_ms)

    async def _renewed(self, account: Account, password: str) -> str | None:
        """The one moment when the password is at hand: bring its hash to today's parameters."""
        return await self._passwords.hash(password) if self._passwords.needs_rehash(account.password) else None
