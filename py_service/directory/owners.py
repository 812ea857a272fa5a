"""There is always an owner: somebody who can give every role, is active, stays so, and has an address to sign in with."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.permissions.listing import listed_key
from py_service.stores.mongo import Document

OWNERS_READ_MAX = 200
NO_OWNER, UNREACHABLE, OWNS = 0, 1, 2


async def keep_an_owner(view: View, after: Document) -> None:
    """`after` is the person as they will be. Raises Problem 409 `last_owner` when the organization would be owned worse than it is."""
    if (worth := _worth(after, view.at_ms)) == OWNS:
        return
    listed = await view.listed("person", listed_key(view.organization, "role", "owner"), OWNERS_READ_MAX)
    owners = [owner for owner in listed if await view.shows(owner)]
    before = max((_worth(owner, view.at_ms) for owner in owners if owner["id"] == after["id"]), default=NO_OWNER)
    others = max((_worth(owner, view.at_ms) for owner in owners if owner["id"] != after["id"]), default=NO_OWNER)
    if max(worth, others) < before:
        raise Problem(409, "last_owner", "The organization would have no owner left who can sign in.")


def _worth(person: Document, now_ms: int) -> int:
    """OWNS: an owner everywhere, active, begun, without an end; UNREACHABLE: without an address, too."""
    owner = any(role["role"] == "owner" and role["sites"] is None for role in person.get("roles") or [])
    stands = person["state"] == "active" and person.get("ended_at") is None
    if not owner or not stands or (person.get("valid_from") or 0) > now_ms or person.get("valid_until") is not None:
        return NO_OWNER
    return UNREACHABLE if person.get("email") is None else OWNS
