"""What is asked and shown of each object. A missing field of a PATCH is never touched, so every patch type is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from py_service.identifiers import IN_PATHS, AreaId, CalendarId, DoorId, FloorId, GroupId, Moment, NewIdentifier, ScheduleId, SiteId
from py_service.paging import NextCursor

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]  # cut to 200 characters' rule after normalization (text.py)
Text = Annotated[str, msgspec.Meta(max_length=400)]
Clock = Annotated[
    str,
    msgspec.Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z", description="Wall clock of the site, HH:MM.", examples=["08:00"]),
]
Date = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", description="ISO 8601 date at the site.", examples=["2027-12-24"])
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
PublicKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z",
        description="Ed25519, base64url without padding.",
        examples=["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"],  # of RFC 8037, appendix A.2
    ),
]


PersonState = Literal["active", "suspended"]
Role = Literal["owner", "admin", "site_manager", "reception", "auditor", "installer"]


class RoleToHold(msgspec.Struct, forbid_unknown_fields=True):
    """`sites` null: everywhere."""

    role: Role
    sites: Annotated[list[SiteId], msgspec.Meta(min_length=1, max_length=100)] | None


class OrganizationPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What isn't sent isn't touched."""

    name: Name | msgspec.UnsetType = msgspec.UNSET


class Fields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """Strict: an unknown field is a mistake of the caller's."""


class SiteFields(Fields):
    name: Name
    time_zone: Annotated[str, msgspec.Meta(max_length=64, description="IANA name.")]
    address: Text | None = None


class FloorFields(Fields):
    name: Name
    site: SiteId
    level: Annotated[int, msgspec.Meta(ge=-100, le=1_000)] = 0


class AreaFields(Fields):
    name: Name
    site: SiteId
    floor: FloorId | None = None
    anti_passback: Literal["off", "soft", "hard", "timed"] = "off"
    anti_passback_minutes: Annotated[int, msgspec.Meta(ge=1, le=10_080)] | None = None
    occupancy_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


DoorMode = Annotated[
    Literal["locked", "unlocked", "first_person_in", "card_and_pin"],
    msgspec.Meta(
        description="Whom a door lets in when they ask. `locked`: who has a grant. `unlocked`: every valid person who asks with a token; "
        "and its lock holds it open, so that nobody has to ask, but where persons are counted. `first_person_in`: as `locked`, and from "
        "the first of a day who came by a grant everybody who asks and isn't denied; its bolt stays out. `card_and_pin`: who has a grant, "
        "with the phone's token and a PIN; there is no card."
    ),
]


class ScheduledMode(msgspec.Struct, forbid_unknown_fields=True):
    """While the schedule is open; of several the first."""

    schedule: ScheduleId
    mode: DoorMode


class DoorFields(Fields):
    name: Name
    site: SiteId
    area: AreaId | None = None
    mode: DoorMode = "locked"
    modes: Annotated[list[ScheduledMode], msgspec.Meta(max_length=8)] = msgspec.field(default_factory=list)
    enters: AreaId | None = None
    leaves: AreaId | None = None
    two_persons_seconds: Annotated[int, msgspec.Meta(ge=2, le=300)] | None = None
    sharing: Annotated[bool, msgspec.Meta(description="Whoever may open it by a grant of their own may give passes for it.")] = False


class DeviceFields(Fields):
    public_key: PublicKey
    kind: Literal["lock"] = "lock"
    door: DoorId | None = None
    active: bool = True
    name: Name | None = None


class PersonFields(Fields):
    name: Name
    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    kind: Literal["employee", "resident", "contractor", "guest", "visitor"] = "employee"
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    groups: Annotated[list[GroupId], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=list)


class GroupFields(Fields):
    name: Name
    includes: Annotated[list[GroupId], msgspec.Meta(max_length=256)] = msgspec.field(default_factory=list)


class Span(msgspec.Struct, forbid_unknown_fields=True):
    """`end` at or before `start` reaches into the next day."""

    start: Clock
    end: Clock


class Window(msgspec.Struct, forbid_unknown_fields=True):
    """The same span on several days of the week."""

    days: Annotated[list[Day], msgspec.Meta(min_length=1, max_length=7)]
    start: Clock
    end: Clock


class ExceptionDay(msgspec.Struct, forbid_unknown_fields=True):
    """Replaces the week and the calendar on one date; no windows: closed."""

    date: Date
    windows: Annotated[list[Span], msgspec.Meta(max_length=24)]


class ScheduleFields(Fields):
    name: Name
    windows: Annotated[list[Window], msgspec.Meta(max_length=64)]
    calendar: CalendarId | None = None
    holiday_windows: Annotated[list[Span], msgspec.Meta(max_length=24)] = msgspec.field(default_factory=list)
    exceptions: Annotated[list[ExceptionDay], msgspec.Meta(max_length=400)] = msgspec.field(default_factory=list)


class CalendarFields(Fields):
    name: Name
    dates: Annotated[list[Date], msgspec.Meta(max_length=1_000)] = msgspec.field(default_factory=list)


def new_type(name: str, fields: type[Fields]) -> type[msgspec.Struct]:
    """A body of POST: the fields, and an identifier if the caller wants to choose it."""
    return msgspec.defstruct(f"New{name}", [("id", NewIdentifier | None, None)], bases=(fields,), kw_only=True, forbid_unknown_fields=True)


def patch_type(name: str, fields: type[Fields]) -> type[msgspec.Struct]:
    """A body of PATCH: every field may be missing, and then isn't touched; `null` only where the field takes it."""
    optional: list[tuple[str, Any, Any]] = [
        (field.name, field.type | msgspec.UnsetType, msgspec.UNSET) for field in msgspec.structs.fields(fields)
    ]
    return msgspec.defstruct(f"{name}Patch", optional, forbid_unknown_fields=True)


def shown_type(name: str, fields: type[Fields], more: dict[str, Any]) -> type[msgspec.Struct]:
    """An answer: identifier, fields, what else is known, and the revision that its ETag is made of."""
    own: list[tuple[str, Any]] = [
        ("id", IN_PATHS[name.lower()]),
        *((field.name, field.type) for field in msgspec.structs.fields(fields)),
        *more.items(),
    ]
    stamps: list[tuple[str, Any]] = [
        ("revision", int),
        ("created_at", Moment | None),
        ("changed_at", Moment | None),
        ("ended_at", Moment | None),
    ]
    return msgspec.defstruct(name, [*own, *stamps], kw_only=True)


def changed_type(name: str, shown: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The answer to a change: what the change took away is gone, for locks too after `effective_by`."""
    return msgspec.defstruct(f"{name}Changed", [("effective_by", Moment)], bases=(shown,), kw_only=True)


def page_type(name: str, item: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A page of a list."""
    return msgspec.defstruct(f"{name}Page", [("items", list[item]), ("next_cursor", NextCursor)])  # type: ignore[valid-type]  # made at run time
