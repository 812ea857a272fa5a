"""Say which roles a person has, and at which sites. Only owners make and unmake owners, and nobody gives more than they may do."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.directory.owners import keep_an_owner
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.owners import require_roles
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class SetRoles:
    """Replaces all of them. `roles`: [{role, sites: [id] or None}]."""

    person: str
    roles: list[Document]
    if_match: int | None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require("roles.write", None)
        before = await view.get("person", self.person)
        check_match(before, self.if_match)
        after = await with_roles(view, before, self.roles)
        if before["roles"] == self.roles:
            return Plan(result=before)
        await keep_an_owner(view, after)
        plan = view.written("person", after, "roles_set", roles=self.roles)
        return plan.cut(self.person)  # a connection holds what its token allowed when it was opened


async def with_roles(view: View, before: Document, roles: list[Document]) -> Document:
    """The person with these roles instead, which the caller may give. Raises Problem 403, 404, 422."""
    view.require("roles.write", None)
    known = {site for held in before["roles"] for site in held["sites"] or []}
    for held in roles:
        if held["role"] == "owner" and held["sites"] is not None:
            raise Problem(422, "role_invalid", "An owner owns everything: no sites.")
        for site in held["sites"] or []:
            if site not in known:  # one that was deleted since gives nothing, and keeps nobody from changing the rest
                await view.get("site", str(site))
    names = [held["role"] for held in roles]
    if len(set(names)) != len(names):
        raise Problem(422, "role_invalid", "A role is named twice; name its sites once.")
    if _owner(before["roles"]) != _owner(roles) and not view.actor_owns():
        raise Problem(403, "role_missing", "Only an owner makes or unmakes an owner.")
    require_roles(view, [held for held in roles if held not in before["roles"]])
    return {**before, "roles": roles}


def _owner(roles: list[Document]) -> bool:
    return any(held["role"] == "owner" for held in roles)
