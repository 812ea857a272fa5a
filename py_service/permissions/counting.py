"""An area that begins to count people again begins with nobody inside: where they went meanwhile nobody has counted."""

from __future__ import annotations

from py_service.permissions.change import View, Write
from py_service.permissions.states import STATES, record_of, state_document, state_name
from py_service.permissions.whereabouts import stale_write
from py_service.stores.mongo import Document, find_by_ids


def counts(area: Document) -> bool:
    """As the core has it (`AreaTerms`)."""
    return area.get("anti_passback", "off") != "off" or area.get("occupancy_max") is not None


async def begin_to_count(view: View, after: Document, before: Document) -> list[Write]:
    """In the change that switches it on: an attempt that counts by the new terms comes after it, behind the fence."""
    if counts(before) or not counts(after):
        return []
    key = f"area.{after['id']}"
    name = state_name(view.organization, key)
    found = await find_by_ids(view.mongo.database, STATES, [name], session=view.session)
    if not found:
        return []  # it never counted anybody
    # No earlier than the latest entry, which a clock that is ahead may have dated.
    record = {"count": 0, "reset_at": max(view.at_ms, int(record_of(found[0]).get("last_at", 0)))}
    begun = Write(STATES, name, state_document(view.organization, key, record))
    return [begun, stale_write(view.organization, str(after["id"]), record["reset_at"])]
