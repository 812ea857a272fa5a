"""What is told of the access room's operations: the API's document is made from it."""

from __future__ import annotations

from typing import Literal

from py_service.access.messages import (
    ChangeResult,
    Entries,
    Explanation,
    Grant,
    GrantChanged,
    GrantPage,
    GrantPatch,
    GrantRequest,
    LockdownResult,
    Occupancy,
    OccupancyReset,
)
from py_service.exchange import Operation
from py_service.identifiers import AreaId, DoorId, GroupId, Moment, PassId, PersonId, ScheduleId, SiteId
from py_service.paging import Cursor, Limit
from py_service.permissions.pages import TimeSort

GRANTS, ACCESS, LOCKDOWN = "Grants", "Who may open what", "Lockdown"

LIST = Operation(
    "List grants", GRANTS, {200: GrantPage}, permission="grants.write",
    query={
        "limit": Limit, "cursor": Cursor, "sort": TimeSort, "person": PersonId, "group": GroupId, "door": DoorId, "area": AreaId,
        "site": SiteId, "schedule": ScheduleId, "effect": Literal["allow", "deny"], "pass": PassId,
    },
    detail="In the order in which they were given; those that a version before gave, and that weren't changed since, come first.",
)  # fmt: skip
GIVE = Operation(
    "Give access: a grant", GRANTS, {201: GrantChanged}, GrantRequest, permission="grants.write", etag=True,
    codes=("422 validity_invalid",),
    example={"group": "everyone", "door": "berlin-main-entrance", "schedule": "night-shift", "valid_until": "2027-12-31T22:00:00Z"},
)  # fmt: skip
READ = Operation("Read a grant", GRANTS, {200: Grant}, permission="grants.write", etag=True)
CHANGE = Operation(
    "Change when a grant holds", GRANTS, {200: GrantChanged}, GrantPatch, headers=("If-Match",), permission="grants.write", etag=True,
    codes=("422 field_fixed", "422 validity_invalid"), example={"valid_until": "2027-12-31T22:00:00Z"},
)  # fmt: skip
TAKE = Operation("Take access back: end a grant", GRANTS, {200: ChangeResult}, headers=("If-Match",), permission="grants.write")

LOCK_DOWN = {
    kind: Operation(f"Lock down a {kind}", LOCKDOWN, {200: LockdownResult}, headers=("If-Match",), permission="lockdown.write")
    for kind in ("door", "area", "site")
}  # fmt: skip
RELEASE = {
    kind: Operation(
        f"Let go of a {kind} that was locked down by hand", LOCKDOWN, {200: LockdownResult}, headers=("If-Match",),
        permission="lockdown.write",
    )
    for kind in LOCK_DOWN
}  # fmt: skip

OCCUPANCY = Operation(
    "Who is inside an area", ACCESS, {200: Occupancy}, permission="events.read", query={"limit": Limit, "cursor": Cursor},
)  # fmt: skip
RESET_OCCUPANCY = Operation(
    "Count everybody, or one person, as outside of an area", ACCESS, {200: ChangeResult}, OccupancyReset, permission="doors.write",
    body_needed=False, example={"person": None},
)  # fmt: skip

EXPLAIN = Operation(
    "Explain a decision, step by step", ACCESS, {200: Explanation}, permission="persons.read",
    query={"person": PersonId, "door": DoorId, "at": Moment}, needed=("person", "door"),
    detail=(
        "Without `at`, or within 5 seconds of now, it is what an unlock would be answered, with the right PIN if there is one: who is "
        "inside, what was used and who asked is read, and nothing is changed. At another moment it is what the permissions allow."
    ),
)  # fmt: skip
WHO = Operation(
    "Who may open a door", ACCESS, {200: Entries}, permission="persons.read",
    query={"door": DoorId, "at": Moment, "limit": Limit, "cursor": Cursor}, needed=("door",),
    detail="By the permissions alone: of an item with `stateful` `explain` says whether uses, an area, a PIN or a second person refuse it.",
)  # fmt: skip
WHAT = Operation(
    "What a person may open", ACCESS, {200: Entries}, permission="persons.read",
    query={"person": PersonId, "at": Moment, "limit": Limit, "cursor": Cursor}, needed=("person",),
    detail="Doors on which the person holds a rule, and those unlocked for everybody; by the permissions alone, as in `who`.",
)  # fmt: skip
