"""Invitations: a person is asked by mail to choose a password, and has an account from then on.

Inviting, sending again, taking back and accepting are changes like any other. The link is made when the mail is sent
(`invitation_letters.py`); `sent` counts how often that was asked for, and only the links of the last time are good.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from py_service.errors import Problem, not_standing, unknown
from py_service.identity.accounts import accounts_of, take_account
from py_service.identity.mailed_tokens import COLLECTION as TOKENS
from py_service.identity.mailed_tokens import MailedToken, find_token
from py_service.mail.letter import Letter
from py_service.mail.quiet import letter_writes
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_address
from py_service.permissions.text import clean_email
from py_service.stores.mongo import Document

KIND: Final = "invitation"
LETTER: Final = "invitation"
PERMISSION: Final = "persons.write"
LIFE_MS = 7 * 86_400_000

CreatePerson = Callable[[View, Document], Awaitable[Plan]]
"""`(view, values)`: the plan that creates a person with these fields; its `result` is the person. Raises Problem."""
WithRoles = Callable[[View, Document, list[Document]], Awaitable[Document]]
"""`(view, person, roles)`: the person with these roles, which the caller may give. Raises Problem."""


@dataclass(frozen=True, slots=True)
class Invite:
    """Somebody who is here (`person`), or somebody new (`values`: email, name, kind, groups; and `roles`)."""

    identifier: str | None
    person: str | None
    values: Document
    roles: list[Document] | None
    create_person: CreatePerson
    with_roles: WithRoles
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        plan = Plan()
        if self.person is not None:
            person = await view.get("person", self.person)
            if self.values or self.roles is not None:
                raise Problem(400, "field_invalid", "Somebody who is here already is invited by `person` alone.")
            guard_address(view, person)
        else:
            if "email" not in self.values or "name" not in self.values:
                raise Problem(400, "field_invalid", "Somebody new has an e-mail address and a name; somebody who is here, `person`.")
            if self.roles is not None:
                await self.with_roles(view, {"roles": []}, self.roles)  # whether they may be given is asked first
            plan = await self.create_person(view, self.values)
            person = plan.result or {}
        if self.roles is not None:
            person = {**person, "roles": self.roles}
            identified = str(person["id"])
            plan.images = [view.image("person", person)]
            plan.events.append(view.event("roles_set", identified, person=identified, detail={"roles": self.roles}))
        invited = await invite_person(view, person, self.identifier)
        plan.join(invited)
        plan.result = invited.result
        return plan


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Links that were sent before are void; seven days begin anew. `if_match`: the revision that the caller has seen, or None for any."""

    invitation: str
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        document = await view.get(KIND, self.invitation)
        check_match(document, self.if_match)
        if document["accepted_at"] is not None:
            raise Problem(409, "invitation_accepted", "This invitation was accepted: there is an account.")
        person = await view.get("person", str(document["person"]))
        guard_address(view, person)
        await _without_account(view, str(person["id"]))
        after = {**document, "sent": document["sent"] + 1, "expires_at": view.at_ms + LIFE_MS}
        return await _sent(view, after, person, "invitation_sent_again")


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Its link is void. An account that was made with it stays. To repeat it is safe.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    invitation: str
    if_match: int | None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require(PERMISSION, None)
        document = await view.find_ended_or_not(KIND, self.invitation)
        if document is None:
            raise unknown(KIND)
        if document.get("ended_at") is not None:
            return Plan()
        guard_address(view, await view.find("person", str(document["person"])) or {})
        check_match(document, self.if_match)
        return view.ended(KIND, document, "invitation_taken_back")


@dataclass(frozen=True, slots=True)
class Accept:
    """`token`: the hash of what was mailed; `password`: of what was chosen. `result`: the invitation."""

    token: str
    password: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        found = await find_token(view.mongo.database, LETTER, self.token, view.session)
        if found is None or found.org != view.organization:
            raise unknown(KIND)
        document = await standing_invitation(view, found)
        email, person = str(document["email"]), str(document["person"])
        standing = view.index.authenticate(view.organization, person, view.at_ms, "")
        if standing in ("person_suspended", "organization_suspended"):
            raise not_standing(standing)
        await _without_account(view, person)
        account = await take_account(view, person, email, self.password)
        plan = view.written(KIND, {**document, "accepted_at": view.at_ms}, "invitation_accepted")
        plan.writes += [account, Write(TOKENS, found.id, None)]
        return plan


async def invite_person(view: View, person: Document, identifier: str | None = None) -> Plan:
    """The invitation of somebody who is here or comes with this change, and the letter with its link.

    Raises Problem 409 `account_exists`, `id_taken`; 422 `email_invalid`; 429 `letters_too_many`.
    """
    email = clean_email(str(person.get("email") or ""))
    await _without_account(view, str(person["id"]))
    named = identifier or f"{KIND}_{secrets.token_hex(8)}"
    if await view.find_ended_or_not(KIND, named) is not None:
        raise Problem(409, "id_taken", "There is, or was, an invitation with this id.")
    document: Document = {
        "id": named, "person": person["id"], "name": person["name"], "email": email, "created_at": view.at_ms, "sent": 1,
        "expires_at": view.at_ms + LIFE_MS, "accepted_at": None, "invited_by": None if view.actor is None else view.actor.subject,
    }  # fmt: skip
    return await _sent(view, document, person, "invitation_made")


async def standing_invitation(view: View, token: MailedToken) -> Document:
    """What the token is for. Raises Problem 404 when it is void: used, taken back, sent again, or its person's address is another now."""
    document = await view.find(KIND, token.about)
    person = None if document is None else await view.find("person", str(document["person"]))
    if document is None or person is None or str(document["sent"]) != token.proves or document["accepted_at"] is not None:
        raise unknown(KIND)
    if person.get("email") != document["email"]:
        raise unknown(KIND)
    # What the roles of an account come to was judged when the mail was asked for: whoever asked mightn't have been let to for these.
    if document["expires_at"] <= view.at_ms or document.get("roles", []) != person.get("roles", []):
        raise Problem(410, "invitation_expired", "This invitation is over: ask for another one.")
    return document


async def _without_account(view: View, person: str) -> None:
    """Raises Problem 409: a second account of a person would outlive what ends the first."""
    if await accounts_of(view, person):
        raise Problem(409, "account_exists", "This person has an account already.")


async def _sent(view: View, document: Document, person: Document, what: str) -> Plan:
    document = {**document, "roles": person.get("roles") or []}
    plan = view.written(KIND, document, what)
    letter = Letter(LETTER, view.organization, str(document["id"]), str(document["email"]), view.at_ms)
    plan.writes += [Write(*one) for one in await letter_writes(view.mongo.database, view.session, letter)]
    return plan
