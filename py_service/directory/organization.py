"""The organization itself: founded, suspended, resumed and archived by the operator, renamed by its owners and admins, too."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from py_service.directory.create import Create
from py_service.directory.document import values_of
from py_service.directory.fields import PersonFields
from py_service.directory.kinds import BY_NAME
from py_service.directory.suspend import cut_moment
from py_service.errors import Problem
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.listing import listed_key
from py_service.permissions.match import check_match
from py_service.permissions.text import clean_name, clean_names
from py_service.stores.mongo import Document

READ, WRITE = "organization.read", "organization.write"
OWNER: Document = {"role": "owner", "sites": None}
MADE_OF_NAME_CHARACTERS_MAX = 40  # of an identifier
OrganizationState = Literal["active", "suspended", "archived"]

OpenAccount = Callable[[View, str, str], Awaitable[list[Write]]]
"""`(view, person, email)`: the one account that this person signs in with from now on. Raises Problem 409 `email_taken`."""
LetIn = Callable[[View, Document], Awaitable[Plan]]
"""`(view, person)`: the plan by which this person can sign in: an account, or an invitation, which is its `result` then.

Raises Problem 409 `email_taken`.
"""


def identifier_of_name(name: str) -> str:
    """A readable id from a name. Raises Problem 422 when nothing of it can stand in one."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    identifier = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MADE_OF_NAME_CHARACTERS_MAX].strip("-")
    if not identifier:
        raise Problem(422, "name_invalid", "No id can be made from this name: choose one.")
    return identifier


def state_of(document: Mapping[str, Any]) -> OrganizationState:
    """Of a stored organization."""
    if document["active"]:
        return "active"
    return "suspended" if document.get("archived_at") is None else "archived"


def _by(operator: str | None) -> dict[str, str]:
    """What an event tells of the person at the operator who asked over HTTP; nothing of who had the store's address."""
    return {} if operator is None else {"operator": operator}


@dataclass(frozen=True, slots=True)
class FoundOrganization:
    """The organization and its first owner. Its revision stands already, at 0: that is what the lane counts on.

    `operator`: the person who asked, over HTTP.
    `result`: the organization with its owner's `person`, and the `invitation` if there is one.
    """

    name: str
    owner: str
    owner_name: str
    owner_email: str
    let_in: LetIn
    operator: str | None = None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        if await view.find_ended_or_not("organization", view.organization) is not None:
            raise Problem(409, "id_taken", "There is an organization with this id.")
        document: Document = {"id": view.organization, "name": clean_name(self.name), "active": True, "created_at": view.at_ms}
        plan = view.written("organization", document, "organization_created", **_by(self.operator))
        person = PersonFields(name=self.owner_name, email=self.owner_email)
        made = _owning(await Create(BY_NAME["person"], self.owner, values_of(person)).plan(view))
        plan.join(made)
        let_in = await self.let_in(view, made.images[0]["document"] or {})
        plan.join(let_in)
        plan.result = {**(plan.result or {}), "person": self.owner, "invitation": (let_in.result or {}).get("id")}
        return plan


@dataclass(frozen=True, slots=True)
class AppointOwner:
    """By the operator, when no owner can sign in any more: whoever has this address is an owner from now on, or somebody new is.

    What they could sign in with before is void: it may be the reason.
    """

    name: str
    email: str
    open_account: OpenAccount
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        await _standing(view)
        found = await view.listed("person", listed_key(view.organization, "email", self.email), 1)
        if found and not await view.shows(found[0]):
            raise Problem(409, "email_taken", "An import that is under way makes somebody with this address: stop it first.")
        if found:
            reachable = {"state": "active", "valid_from": None, "valid_until": None, "tokens_valid_after": cut_moment(view, found[0])}
            plan = _owning(view.written("person", {**found[0], **reachable}, "roles_set", roles=[OWNER])).cut(str(found[0]["id"]))
        else:
            person = PersonFields(name=self.name, email=self.email)
            plan = _owning(await Create(BY_NAME["person"], None, values_of(person)).plan(view))
        identifier = plan.images[0]["id"]
        plan.events.append(view.event("owner_appointed", identifier, person=identifier))
        plan.writes += await self.open_account(view, identifier, self.email)
        return plan


def _owning(plan: Plan) -> Plan:
    """The person that is written is the owner."""
    for image in plan.images:
        if image["kind"] == "person" and image["document"] is not None:
            image["document"]["roles"] = [OWNER]
    return plan


@dataclass(frozen=True, slots=True)
class SetOrganizationState:
    """While it is suspended everything in it is refused, and it has no connections.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    active: bool
    if_match: int | None = None
    operator: str | None = None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        # To suspend one is never refused: a version that knows of no archive may have resumed it.
        document = await (_standing(view) if self.active else view.get("organization", view.organization))
        check_match(document, self.if_match)
        if bool(document["active"]) == self.active:
            return Plan(result=document)
        what = "organization_resumed" if self.active else "organization_suspended"
        plan = view.written("organization", {**document, "active": self.active}, what, **_by(self.operator))
        return plan if self.active else plan.cut(view.organization, "organization")


@dataclass(frozen=True, slots=True)
class ArchiveOrganization:
    """For good: a suspended organization stays as it is, with its journal, and others may invite its people.

    To repeat it is safe.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    if_match: int | None = None
    operator: str | None = None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        document = await view.get("organization", view.organization)
        if state_of(document) == "archived":
            return Plan(result=document)
        check_match(document, self.if_match)
        if document["active"]:
            raise Problem(409, "organization_active", "Suspend the organization first: to archive it can't be taken back.")
        return view.written("organization", {**document, "archived_at": view.at_ms}, "organization_archived", **_by(self.operator))


async def _standing(view: View) -> Document:
    """Raises Problem 404, 409 when it is archived."""
    document = await view.get("organization", view.organization)
    if document.get("archived_at") is not None:
        raise Problem(409, "organization_archived", "The organization is archived, for good.")
    return document


@dataclass(frozen=True, slots=True)
class ChangeOrganization:
    """`values`: the fields that were sent. `if_match`: the revision that the caller has seen, or None for any.

    `operator`: the person at the operator who asks; their right to was asked before, it isn't of this organization.
    """

    values: Document
    if_match: int | None
    operator: str | None = None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require(WRITE, None)
        before = await _standing(view)
        check_match(before, self.if_match)
        after = {**before, **self.values}
        clean_names(after, self.values)
        if after == before:
            return Plan(result=before)
        return view.written("organization", after, "organization_changed", changed=sorted(self.values), **_by(self.operator))
