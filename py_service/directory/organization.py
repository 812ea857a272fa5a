"""The organization itself: founded, suspended and resumed by the operator, renamed by its owners and admins."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.directory.create import Create
from py_service.directory.document import values_of
from py_service.directory.fields import PersonFields
from py_service.directory.kinds import BY_NAME
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.text import clean_name, clean_names
from py_service.stores.mongo import Document

READ, WRITE = "organization.read", "organization.write"


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
        owner = await Create(BY_NAME["person"], self.owner, values_of(person)).plan(view)
        for image in owner.images:
            if image["kind"] == "person" and image["document"] is not None:
                image["document"]["roles"] = [{"role": "owner", "sites": None}]
        plan.join(owner)
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
        return plan if self.active else plan.cut("organization")


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
