"""A forgotten password: asked for by anybody, mailed, set once with what came by mail. All sessions end with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from py_service.errors import Problem, not_standing
from py_service.identity.accounts import account_write, find_account, password_mark
from py_service.identity.end_sessions import end_all
from py_service.identity.mailed_tokens import COLLECTION, MailedTokens, find_token, link_of
from py_service.identity.needs import ClockMs
from py_service.identity.store import IdentityStore
from py_service.mail.letter import Letter
from py_service.mail.message import Mail
from py_service.permissions.change import Plan, View, Write

LETTER: Final = "password_reset"
LIFE_MS = 30 * 60_000
QUIET_MS = 5 * 60_000  # nobody fills somebody else's mailbox
PAGE = "reset-password"


def reset_letter(email: str, now_ms: int) -> Letter:
    """One for each address, whether or not anybody signs in with it: to ask tells nobody anything."""
    identifier = f"{LETTER}:{hashlib.sha256(email.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return Letter(LETTER, "", "", email, now_ms, QUIET_MS, identifier)


@dataclass(frozen=True, slots=True)
class WriteResetMail:
    """Writes the letter when it is sent, if there is an account."""

    store: IdentityStore
    tokens: MailedTokens
    public_url: str
    clock_ms: ClockMs

    async def __call__(self, letter: Letter) -> Mail | None:
        """Raises Problem 503."""
        account = await self.store.account(letter.to)
        if account is None:
            return None
        expires_at = self.clock_ms() + LIFE_MS
        token = await self.tokens.make(LETTER, account.org, letter.to, password_mark(account.password), expires_at)
        text = (
            f"Somebody, probably you, asked for a new password for {letter.to}.\n\n"
            f"Choose it here within 30 minutes:\n{link_of(self.public_url, PAGE, token)}\n\n"
            "It ends every session of yours. If it wasn't you, do nothing: your password stays as it is.\n"
        )
        return Mail(letter.to, "A new password for Nexkey", text)


@dataclass(frozen=True, slots=True)
class ResetPassword:
    """`token`: the hash of what was mailed; `password`: the new one's hash. `result`: {ended, more, person}."""

    token: str
    password: str
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        found = await find_token(view.mongo.database, LETTER, self.token, view.session)
        if found is None or found.org != view.organization or found.expires_at <= view.at_ms:
            raise token_unknown()
        account = await find_account(view, found.about)
        if account is None or account["org"] != view.organization or password_mark(account["password"]) != found.proves:
            raise token_unknown()  # the password was changed since: with another mail, or by whoever knew it
        person = str(account["person"])
        standing = view.index.authenticate(view.organization, person, view.at_ms, "")
        if standing in ("person_suspended", "organization_suspended"):
            raise not_standing(standing)
        if standing is not None:
            raise token_unknown()  # the person is gone
        plan = await end_all(view, person, "password_reset")
        plan.events.append(view.event("password_reset", person, person=person))
        plan.writes += [account_write(found.about, {**account, "password": self.password}), Write(COLLECTION, found.id, None)]
        plan.result = {**(plan.result or {}), "person": person}
        return plan


def token_unknown() -> Problem:
    """The same for one that was used, has expired, or never was."""
    return Problem(401, "reset_token_unknown", "This link was used, has expired, or is not the latest. Ask for another mail.")
