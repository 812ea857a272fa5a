"""Whose roles are at stake: owners are out of reach of everybody else, and nobody comes by a role that they couldn't give.

Only owners make, unmake, change, suspend or delete owners, or end their sessions. Whoever decides which address a person has decides who
signs in as them: that takes what giving their roles takes.
"""

from __future__ import annotations

from py_service import _core_rs
from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.stores.mongo import Document


def guard_owner(view: View, person: Document) -> None:
    """Raises Problem 403 when somebody who is no owner would put an owner out."""
    if any(role["role"] == "owner" for role in person.get("roles") or []) and not view.actor_owns():
        raise Problem(403, "role_missing", "Only an owner can do that to an owner.")


def require_roles(view: View, roles: list[Document]) -> None:
    """Raises Problem 403 unless the caller holds every permission of these roles, where they hold."""
    allowed = dict(_core_rs.roles())
    for held in roles:
        for permission in allowed[str(held["role"])]:
            for site in held["sites"] if held["sites"] is not None else [None]:
                view.require(permission, site)


def guard_address(view: View, person: Document) -> None:
    """Who has a person's address comes by their roles. Raises Problem 403 when the caller may not give these."""
    if person.get("roles"):
        view.require("roles.write", None)
        guard_owner(view, person)
        require_roles(view, person["roles"])
