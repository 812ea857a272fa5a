"""The organization itself: founded, suspended and resumed by the operator, renamed by its owners and admins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

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

OpenAccount = Callable[[View, str, str], Awaitable[list[Write]]]
"""`(view, person, email)`: the one account that this person signs in with from now on. Raises Problem 409 `email_taken`."""


@dataclass(frozen=True, slots=True)
class FoundOrganization:
    """The organization and its first owner. Its revision stands already, at 0: that is what the lane counts on."""

    name: str
    owner: str
    owner_name: str
    owner_email: str
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        if await view.find_ended_or_not("organization", view.organization) is not None:
            raise Problem(409, "id_taken", "There is an organization with this id.")
        document: Document = {"id": view.organization, "name": clean_name(self.name), "active": True, "created_at": view.at_ms}
        plan = view.written("organization", document, "organization_created")
        person = PersonFields(name=self.owner_name, email=self.owner_email)
        plan.join(_owning(await Create(BY_NAME["person"], self.owner, values_of(person)).plan(view)))
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
        await view.get("organization", view.organization)
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
    """While it is suspended everything in it is refused, and it has no connections."""

    active: bool
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        document = await view.get("organization", view.organization)
        if bool(document["active"]) == self.active:
            return Plan(result=document)
        what = "organization_resumed" if self.active else "organization_suspended"
        plan = view.written("organization", {**document, "active": self.active}, what)
        return plan if self.active else plan.cut(view.organization, "organization")


@dataclass(frozen=True, slots=True)
class ChangeOrganization:
    """`values`: the fields that were sent. `if_match`: the revision that the caller has seen, or None for any."""

    values: Document
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require(WRITE, None)
        before = await view.get("organization", view.organization)
        check_match(before, self.if_match)
        after = {**before, **self.values}
        clean_names(after, self.values)
        if after == before:
            return Plan(result=before)
        return view.written("organization", after, "organization_changed", changed=sorted(self.values))
