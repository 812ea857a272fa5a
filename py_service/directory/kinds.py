"""The table of objects: for each its fields, where they live, what they name, who may change them, and what must not vanish under them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from py_service.directory import fields as f
from py_service.directory import nesting, rules
from py_service.permissions.change import View
from py_service.stores.mongo import Document

Check = Callable[[View, Document, Document | None], Awaitable[None]]
"""`(view, after, before)`: what else must hold; may put `after` right. Raises Problem."""


Also = Callable[[View, Document | None, Document | None], Awaitable[list[tuple[str, Document]]]]
"""`(view, after, before)`: other objects (kind, document) that change with it; `after` None: it ends. Raises Problem."""


Place = Callable[[View, Document], Awaitable[None]]
"""`(view, document)`: writes into it at which site it is."""


async def where_it_says(view: View, document: Document) -> None:
    """Its `site` says it."""


async def nothing_else(view: View, after: Document, before: Document | None) -> None:
    """Its fields say it all."""


async def nobody_else(view: View, after: Document | None, before: Document | None) -> list[tuple[str, Document]]:
    """It changes alone."""
    return []


@dataclass(frozen=True, slots=True)
class Kind:
    """One noun. `references`: field -> the kind that it names (one, or a list of them). `fixed`: can't change after creation.

    `starts_as`: what is stored from the beginning and not the caller's to set; `more` are those of them that are shown.
    `used_by`: (kind, field) whose objects name this one: while there are any, it can't be deleted.
    `connects`: it holds connections of its own, which end with it, or when one of these fields changes.
    `at_site`: whether a role for a site reaches it. `filters`: what a list can be narrowed by.
    `authority`: a change can take somebody's authority, so nothing joins the group after it.
    `place`: says at which site it is, where that isn't a field of its own.
    `codes`: what `check` and `also` refuse, as "422 group_cycle". `example`: a body of POST that is taken.
    """

    name: str
    plural: str
    fields: type[f.Fields]
    write: str
    read: str
    references: dict[str, str] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    starts_as: dict[str, object] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    used_by: tuple[tuple[str, str], ...] = ()
    filters: tuple[str, ...] = ()
    at_site: bool = False
    authority: bool = False
    connects: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    example: dict[str, object] = field(default_factory=dict)
    place: Place = where_it_says
    check: Check = nothing_else
    also: Also = nobody_else

    def types(self) -> tuple[type[msgspec.Struct], type[msgspec.Struct], type[msgspec.Struct]]:
        """Of POST, of PATCH, of answers."""
        title = self.name.capitalize()
        return f.new_type(title, self.fields), f.patch_type(title, self.fields), f.shown_type(title, self.fields, self.more)

    def site_of(self, document: Document) -> str | None:
        """Where a role has to hold to change it; None: everywhere."""
        if not self.at_site:
            return None
        site = document["id"] if self.name == "site" else document.get("at_site") or document.get("site")
        return None if site is None else str(site)


# What may be locked down, when it is made, and what is shown of it (permissions/holders.py).
FREE: dict[str, object] = {"locked_down": False, "held_by": []}
HOLDING: dict[str, Any] = {"locked_down": bool, "held_by": list[str]}

KINDS = (
    Kind(
        "site", "sites", f.SiteFields, "sites.write", "doors.read",
        starts_as=FREE, more=HOLDING,
        used_by=(("floor", "site"), ("area", "site"), ("door", "site"), ("grant", "site"), ("lockdown_plan", "site")), at_site=True,
        check=rules.check_site,
        codes=("422 time_zone_unknown",),
        example={"name": "Oslo", "time_zone": "Europe/Oslo", "address": "Karl Johans gate 1, Oslo"},
    ),
    Kind(
        "floor", "floors", f.FloorFields, "doors.write", "doors.read",
        references={"site": "site"}, fixed=("site",), used_by=(("area", "floor"),), filters=("site",), at_site=True,
        example={"name": "First floor", "site": "berlin", "level": 1},
    ),
    Kind(
        "area", "areas", f.AreaFields, "doors.write", "doors.read",
        references={"site": "site", "floor": "floor"}, fixed=("site",), starts_as=FREE, more=HOLDING,
        used_by=(("door", "area"), ("door", "enters"), ("door", "leaves"), ("grant", "area"), ("lockdown_plan", "area")),
        filters=("site", "floor"), at_site=True, check=rules.check_area,
        codes=("422 site_differs",), example={"name": "Roof", "site": "berlin"},
    ),
    Kind(
        "door", "doors", f.DoorFields, "doors.write", "doors.read",
        references={"site": "site", "area": "area", "enters": "area", "leaves": "area"}, fixed=("site",),
        starts_as={**FREE, "lock": None}, more={**HOLDING, "lock": str | None},
        used_by=(("grant", "door"), ("device", "door"), ("lockdown_plan", "door"), ("pass", "door")),
        filters=("site", "area"), at_site=True,
        check=rules.check_door,
        codes=("409 locked_down", "422 site_differs", "422 areas_alike"),
        example={"name": "Roof door", "site": "berlin", "area": "berlin-lobby",
            "modes": [{"schedule": "night-shift", "mode": "card_and_pin"}]},
    ),
    Kind(
        "device", "devices", f.DeviceFields, "devices.write", "doors.read",
        references={"door": "door"}, fixed=("public_key", "kind"), filters=("door", "kind"), at_site=True,
        connects=("active", "door"), place=rules.at_site_of_door, check=rules.check_device, also=rules.link_door,
        codes=("409 door_has_lock", "409 locked_down", "409 public_key_taken", "422 public_key_invalid"),
        example={"name": "Roof lock", "public_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},  # RFC 8037, appendix A.2
    ),
    Kind(
        "person", "persons", f.PersonFields, "persons.write", "persons.read",
        references={"groups": "group"}, starts_as={"state": "active", "roles": [], "tokens_valid_after": 0},
        more={"state": f.PersonState, "roles": list[f.RoleToHold]},
        filters=("group", "state", "kind", "email", "role"),
        authority=True, connects=("valid_from", "valid_until"), check=rules.check_person,
        codes=("409 email_taken", "409 last_owner", "422 email_invalid", "422 validity_invalid"),
        example={"name": "Nora Lind", "email": "nora.lind@nordlicht.example", "kind": "employee", "groups": ["everyone"]},
    ),
    Kind(
        "group", "groups", f.GroupFields, "persons.write", "persons.read",
        references={"includes": "group"}, used_by=(("grant", "group"), ("person", "group"), ("group", "group")), filters=("group",),
        check=nesting.check_group, codes=("422 group_cycle", "422 group_too_deep"), example={"name": "Climbers", "includes": []},
    ),
    Kind(
        "schedule", "schedules", f.ScheduleFields, "schedules.write", "doors.read",
        references={"calendar": "calendar"}, used_by=(("grant", "schedule"), ("door", "schedule"), ("pass", "schedule")),
        filters=("calendar",),
        check=rules.check_schedule,
        codes=("422 date_invalid", "422 window_invalid"),
        example={
            "name": "Weekdays", "windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "18:00"}],
            "calendar": "berlin-holidays", "exceptions": [{"date": "2027-12-24", "windows": [{"start": "08:00", "end": "12:00"}]}],
        },
    ),
    Kind(
        "calendar", "calendars", f.CalendarFields, "schedules.write", "doors.read", used_by=(("schedule", "calendar"),),
        check=rules.check_calendar, codes=("422 date_invalid",),
        example={"name": "Holidays in Oslo", "dates": ["2027-05-17", "2027-12-25"]},
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
