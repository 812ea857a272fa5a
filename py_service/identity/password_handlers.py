"""HTTP operations of passwords: forgotten, set anew, changed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from py_service.exchange import Operation, Request, Response, Route, decoded, encoded, moment
from py_service.identity.change_password import ChangePassword, password_wrong
from py_service.identity.end_sessions import EndOtherSessions, EndSessionsOf
from py_service.identity.mailed_tokens import MailedTokens
from py_service.identity.messages import EndedSessions
from py_service.identity.needs import ClockMs
from py_service.identity.password_messages import NewPasswordBody, PasswordChange, PasswordForgotten
from py_service.identity.passwords import Passwords, check_new_password
from py_service.identity.reset_password import LETTER, ResetPassword, reset_letter, token_unknown
from py_service.identity.store import IdentityStore
from py_service.mail.outbox import Outbox
from py_service.permissions.change import Actor
from py_service.permissions.lane import ChangeLane
from py_service.permissions.text import spelled_email

_FORGOTTEN = msgspec.json.Decoder(PasswordForgotten)
_NEW = msgspec.json.Decoder(NewPasswordBody)
_CHANGE = msgspec.json.Decoder(PasswordChange)
BODY_BYTES_MAX = 4_096
FORGOTTEN = Operation(
    "Forgotten password: ask for a mail", "Sign-in", {202: None}, PasswordForgotten,
    detail="The same answer, in the same time, whether or not anybody signs in with this address. One mail in five minutes at most.",
)  # fmt: skip
RESET = Operation(
    "Set a new password with the link of the mail", "Sign-in", {204: None}, NewPasswordBody,
    codes=("401 reset_token_unknown", "403 person_suspended", "403 organization_suspended", "422 password_weak", "503 outcome_unknown"),
    detail="A link is good once, for 30 minutes. All sessions of the person end.",
)  # fmt: skip
CHANGE = Operation(
    "Change my password", "Me", {200: EndedSessions}, PasswordChange,
    codes=("403 password_wrong", "422 password_weak", "503 outcome_unknown"), detail="All sessions but the one that asks end.",
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class PasswordHandlers:
    """What is guessed at is metered like a sign-in."""

    lane: ChangeLane
    store: IdentityStore
    passwords: Passwords
    tokens: MailedTokens
    outbox: Outbox
    clock_ms: ClockMs

    def routes(self) -> list[Route]:
        """A change of a password is no POST: a body with a password in it is not to be remembered by an Idempotency-Key, hashed or not."""
        return [
            Route(
                "POST", "/v1/password-reset", self.forgotten, access="anyone", fenced=False, body_bytes_max=BODY_BYTES_MAX,
                own_quota="sign-in", about=FORGOTTEN,
            ),
            Route(
                "POST", "/v1/password-reset/confirm", self.reset, access="anyone", fenced=False, body_bytes_max=BODY_BYTES_MAX,
                own_quota="sign-in", about=RESET,
            ),
            Route("PUT", "/v1/me/password", self.change, fenced=False, body_bytes_max=BODY_BYTES_MAX, own_quota="sign-in", about=CHANGE),
        ]  # fmt: skip

    async def forgotten(self, request: Request) -> Response:
        """POST /v1/password-reset: whether there is an account is looked up when the mail is written."""
        email = spelled_email(decoded(_FORGOTTEN, request.body).email)
        await self.outbox.put(reset_letter(email, self.clock_ms()))
        return Response(202)

    async def reset(self, request: Request) -> Response:
        """POST /v1/password-reset/confirm"""
        body = decoded(_NEW, request.body)
        found = await self.tokens.find(LETTER, body.token)
        account = None if found is None else await self.store.account(found.about)
        if found is None or account is None or found.expires_at <= self.clock_ms():
            raise token_unknown()
        person = await self.store.person(found.org, account.person)
        check_new_password(body.password, found.about, "" if person is None else person.name)
        nobody: Actor | None = None
        change = ResetPassword(found.id, await self.passwords.hash(body.password))
        result = (await self.lane.submit(found.org, nobody, change)).result or {}
        while result["more"]:
            result = (await self.lane.submit(found.org, nobody, EndSessionsOf(account.person))).result or {}
        return Response(204)

    async def change(self, request: Request) -> Response:
        """PUT /v1/me/password"""
        body, claims = decoded(_CHANGE, request.body), request.person()
        found = await self.store.account_of(claims.organization, claims.subject)
        email, account = found or ("", None)
        if not await self.passwords.verify(None if account is None else account.password, body.old) or account is None:
            raise password_wrong()
        person = await self.store.person(claims.organization, claims.subject)
        check_new_password(body.new, email, "" if person is None else person.name)
        actor = Actor.of(claims)
        change = ChangePassword(email, account.password, await self.passwords.hash(body.new))
        changed = await self.lane.submit(actor.organization, actor, change)
        result = changed.result or {}
        ended = int(result["ended"])
        while result["more"]:
            changed = await self.lane.submit(actor.organization, actor, EndOtherSessions())
            result = changed.result or {}
            ended += int(result["ended"])
        return encoded(200, EndedSessions(ended, changed.revision, moment(changed.effective_by_ms)))
