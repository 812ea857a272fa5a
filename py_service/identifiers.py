"""Identifiers and moments in bodies and queries: their form, and what kind of object an identifier names.

The kind stands in the schema as `x-nexkey-kind`, and the API's document carries it on: the tests that put another organization's
identifiers wherever one fits are made from it, so a field that names an object takes one of these types.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any

import msgspec

KIND = "x-nexkey-kind"
IDENTIFIER_CHARACTERS_MAX = 64
PATTERN = rf"^[a-z0-9_-]{{1,{IDENTIFIER_CHARACTERS_MAX}}}\Z"  # not `$`: it lets a line feed through


def naming(kind: str, example: str) -> msgspec.Meta:
    """What makes a string the identifier of an object of this kind. `example` is one of the demonstration's."""
    return msgspec.Meta(pattern=PATTERN, examples=[example], extra_json_schema={KIND: kind})


NewIdentifier = Annotated[str, msgspec.Meta(pattern=PATTERN, description="Chosen by the caller, or made by the service.")]
OrganizationId = Annotated[str, naming("organization", "nordlicht")]
SiteId = Annotated[str, naming("site", "berlin")]
FloorId = Annotated[str, naming("floor", "berlin-ground")]
AreaId = Annotated[str, naming("area", "berlin-lobby")]
DoorId = Annotated[str, naming("door", "berlin-main-entrance")]
DeviceId = Annotated[str, naming("device", "lock-berlin-main-entrance")]
PersonId = Annotated[str, naming("person", "p-0002")]
GroupId = Annotated[str, naming("group", "everyone")]
ScheduleId = Annotated[str, naming("schedule", "night-shift")]
CalendarId = Annotated[str, naming("calendar", "berlin-holidays")]
LockdownPlanId = Annotated[str, naming("lockdown_plan", "berlin-outer-doors")]
PassId = Annotated[str, naming("pass", "visitors-of-clara")]
GrantId = Annotated[str, naming("grant", "g-0002")]
ImportId = Annotated[str, naming("import", "import_5f1c2d4e8b1a7c60")]
PartNumber = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]?\Z", examples=["1"])]

ApiKeyId = Annotated[str, naming("api_key", "key_5f0c1a7be2d94386")]
InvitationId = Annotated[str, naming("invitation", "invitation_5f0c1a7be2d94386")]
SessionId = Annotated[str, naming("session", "5f0c1a7be2d94386a1b2c3d4e5f60718")]

Moment = Annotated[datetime.datetime, msgspec.Meta(tz=True, examples=["2027-01-31T18:00:00Z"], description="RFC 3339, with its offset.")]

AttemptId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9_:-]{1,96}\Z", examples=["unlocks-6bf1c2a09d3e4f58:000000000042:000"], extra_json_schema={KIND: "attempt"}
    ),
]

# What stands in a path between braces, by its name there. A new one has to be here.
IN_PATHS: dict[str, Any] = {
    "organization": OrganizationId,
    "site": SiteId,
    "floor": FloorId,
    "area": AreaId,
    "door": DoorId,
    "device": DeviceId,
    "person": PersonId,
    "group": GroupId,
    "schedule": ScheduleId,
    "calendar": CalendarId,
    "grant": GrantId,
    "pass": PassId,
    "lockdown_plan": LockdownPlanId,
    "session": SessionId,
    "api_key": ApiKeyId,
    "invitation": InvitationId,
    "attempt": AttemptId,
    "import": ImportId,
    "part": PartNumber,
}
