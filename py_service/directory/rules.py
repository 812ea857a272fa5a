"""What must hold of an object beyond the form of its fields. Each is asked inside the transaction of the change."""

from __future__ import annotations

import base64
import datetime

from py_service._core_rs import DeviceAssertionError, check_device_key
from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.permissions.listing import listed_key
from py_service.permissions.text import clean_email
from py_service.permissions.validity import check_validity
from py_service.stores.mongo import Document

NO_TIME_ZONE = "Factory"  # in the database of time zones the name of what nobody has set


async def check_site(view: View, after: Document, before: Document | None) -> None:
    zone = after["time_zone"]
    if before is not None and before["time_zone"] == zone:
        return
    if zone == NO_TIME_ZONE or not view.index.knows_time_zone(zone):
        raise Problem(422, "time_zone_unknown", "time_zone is not an IANA name.")


async def check_area(view: View, after: Document, before: Document | None) -> None:
    await _same_site(view, after, "floor")


async def check_door(view: View, after: Document, before: Document | None) -> None:
    """Its areas are at its site, and every schedule of its modes exists."""
    for field in ("area", "enters", "leaves"):
        await _same_site(view, after, "area", field)
    if after.get("enters") is not None and after.get("enters") == after.get("leaves"):
        raise Problem(422, "areas_alike", "A door can't enter the area that it leaves.")
    for scheduled in after.get("modes") or []:
        await view.get("schedule", str(scheduled["schedule"]))
    await _lets_go_of_no_lockdown(view, after, before)


async def _lets_go_of_no_lockdown(view: View, after: Document, before: Document | None) -> None:
    """A lockdown of its area, or of the one that it leads into, ends for a door by being released, where everybody sees it, and not by
    a move. One that is over goes along: who asked first, or opened for everybody, before it doesn't count elsewhere either."""
    if before is None:
        return
    left = {before.get("area"), before.get("enters")} - {after.get("area"), after.get("enters"), None}
    for name in sorted(str(one) for one in left):
        area = await view.find("area", name)
        if area is not None and area["locked_down"]:
            raise Problem(409, "locked_down", "The area that the door would leave is locked down: release it first.")
        if area is not None and (since := max(int(place.get("lockdown_revision") or 0) for place in (after, area))):
            after["lockdown_revision"] = since


async def _same_site(view: View, document: Document, kind: str, field: str | None = None) -> None:
    identifier = document.get(field or kind)
    if identifier is None:
        return
    holder = await view.get(kind, str(identifier))
    if holder["site"] != document["site"]:
        raise Problem(422, "site_differs", f"The {kind} is at another site.")


async def check_device(view: View, after: Document, before: Document | None) -> None:
    """A key of its own with which it can prove itself: two devices with one would be each other. It never changes."""
    if before is not None:
        return
    key = str(after["public_key"])
    try:
        check_device_key(base64.urlsafe_b64decode(key + "="))
    except DeviceAssertionError:
        raise Problem(422, "public_key_invalid", "Nothing can be proved with this key: it isn't a sound Ed25519 public key.") from None
    if await view.listed("device", listed_key(view.organization, "public_key", key), 1):
        raise Problem(409, "public_key_taken", "Another device of this organization has this key.")


async def check_person(view: View, after: Document, before: Document | None) -> None:
    """A validity that ends after it begins, and an address that nobody else here has."""
    check_validity(after)
    if after.get("email") is not None and (before is None or before.get("email") != after["email"]):
        after["email"] = clean_email(str(after["email"]))
        if before is None or before.get("email") != after["email"]:
            await _nobody_else_has(view, str(after["email"]), str(after["id"]))
    after["groups"] = sorted(set(after["groups"]))


async def _nobody_else_has(view: View, email: str, person: str) -> None:
    found = await view.listed("person", listed_key(view.organization, "email", email), 2)
    if any(document["id"] != person for document in found):
        raise Problem(409, "email_taken", "Another person of this organization has this e-mail address.")


async def check_schedule(view: View, after: Document, before: Document | None) -> None:
    for window in after["windows"]:
        _check_span(window)
        if len(set(window["days"])) != len(window["days"]):
            raise Problem(422, "window_invalid", "A window names a day twice.")
    for span in after["holiday_windows"]:
        _check_span(span)
    for exception in after["exceptions"]:
        _check_date(exception["date"])
        for span in exception["windows"]:
            _check_span(span)


def _check_span(span: Document) -> None:
    if span["start"] == "24:00":
        raise Problem(422, "window_invalid", "A window can't begin at 24:00; 00:00 of the next day is meant.")
    if span["start"] == span["end"]:
        raise Problem(422, "window_invalid", "A window is empty: a whole day is 00:00 to 24:00.")


async def check_calendar(view: View, after: Document, before: Document | None) -> None:
    for date in after["dates"]:
        _check_date(date)
    after["dates"] = sorted(set(after["dates"]))


def _check_date(text: str) -> None:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        raise Problem(422, "date_invalid", f"{text} is not a date.") from None


async def at_site_of_door(view: View, document: Document) -> None:
    """A device is where its door is; without a door it is nowhere, and only who looks after everything may change it."""
    door = None if document.get("door") is None else await view.find("door", str(document["door"]))
    document["at_site"] = None if door is None else door["site"]


async def _refuse_while_locked_down(view: View, door: Document) -> None:
    """A bolt isn't taken out of a lockdown by saying that it is another door's. Raises Problem 409."""
    holders = [("area", door.get("area")), ("area", door.get("enters")), ("site", door["site"])]
    places = [door, *[await view.find(kind, str(name)) for kind, name in holders if name is not None]]
    if any(place is not None and place["locked_down"] for place in places):
        raise Problem(409, "locked_down", "The door of this device is locked down: release it first.")


async def link_door(view: View, after: Document | None, before: Document | None) -> list[tuple[str, Document]]:
    """A door and its lock name each other: the door that a device leaves forgets it, the one that it comes to must be free."""
    left = None if before is None else before.get("door")
    reached = None if after is None else after.get("door")
    if left == reached:
        return []
    device = str((after or before or {})["id"])
    changed: list[tuple[str, Document]] = []
    if left is not None:
        door = await view.find("door", str(left))
        if door is not None:
            await _refuse_while_locked_down(view, door)
        if door is not None and door.get("lock") == device:
            changed.append(("door", {**door, "lock": None}))
    if reached is not None:
        door = await view.get("door", str(reached))
        if door.get("lock") not in (None, device):
            raise Problem(409, "door_has_lock", "Another device is this door's lock.")
        changed.append(("door", {**door, "lock": device}))
    return changed
