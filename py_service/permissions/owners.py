"""Owners are out of reach of everybody else: only owners make, unmake, change, suspend or delete owners, or end their sessions."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.stores.mongo import Document


def guard_owner(view: View, person: Document) -> None:
    """Raises Problem 403 when somebody who is no owner would put an owner out."""
    if any(role["role"] == "owner" for role in person.get("roles") or []) and not view.actor_owns():
        raise Problem(403, "role_missing", "Only an owner can do that to an owner.")
