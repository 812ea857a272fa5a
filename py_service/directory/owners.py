"""There is always an owner: somebody who can give every role, is active, and stays so."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.permissions.listing import listed_key
from py_service.stores.mongo import Document

OWNERS_READ_MAX = 200


async def keep_an_owner(view: View, after: Document) -> None:
    """`after` is the person as they will be. Raises Problem 409 `last_owner` when nobody else would own the organization."""
    if _owns_for_good(after, view.at_ms):
        return
    owners = await view.listed("person", listed_key(view.organization, "role", "owner"), OWNERS_READ_MAX)
    were_owner = any(owner["id"] == after["id"] and _owns_for_good(owner, view.at_ms) for owner in owners)
    if were_owner and not any(owner["id"] != after["id"] and _owns_for_good(owner, view.at_ms) for owner in owners):
        raise Problem(409, "last_owner", "The organization would have no owner left.")


def _owns_for_good(person: Document, now_ms: int) -> bool:
    """Active, begun, without an end, and an owner everywhere."""
    owner = any(role["role"] == "owner" and role["sites"] is None for role in person.get("roles") or [])
    stands = person["state"] == "active" and person.get("ended_at") is None
    return owner and stands and (person.get("valid_from") or 0) <= now_ms and person.get("valid_until") is None
