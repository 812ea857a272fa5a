"""An area that begins to count people again begins with nobody inside: where they went meanwhile nobody has counted."""

from __future__ import annotations

from py_service.permissions.change import View, Write
from py_service.permissions.whereabouts import begun_anew, read_records
from py_service.stores.mongo import Document


def counts(area: Document) -> bool:
    """As the core has it (`AreaTerms`)."""
    return area.get("anti_passback", "off") != "off" or area.get("occupancy_max") is not None


async def begin_to_count(view: View, after: Document, before: Document) -> list[Write]:
    """In the change that switches it on: an attempt that counts by the new terms comes after it, behind the fence."""
    if counts(before) or not counts(after):
        return []
    [counted] = await read_records(view, [f"area.{after['id']}"])
    return begun_anew(view, str(after["id"]), counted) if counted else []  # else it never counted anybody
