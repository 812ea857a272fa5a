"""What goes in and out about lockdown plans, and what is told of their operations."""

from __future__ import annotations

from typing import Annotated

import msgspec

from py_service.access.messages import ChangeResult
from py_service.exchange import Operation
from py_service.identifiers import AreaId, DoorId, Moment, NewIdentifier, SiteId
from py_service.paging import Cursor, Limit, NextCursor
from py_service.permissions.pages import Sort

READ_PERMISSION, WRITE_PERMISSION = "doors.read", "lockdown.write"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
# All places of a plan change in one transaction, and travel in one change record.
Doors = Annotated[list[DoorId], msgspec.Meta(max_length=500)]
Areas = Annotated[list[AreaId], msgspec.Meta(max_length=200)]
Sites = Annotated[list[SiteId], msgspec.Meta(max_length=100)]


class NewLockdownPlan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """At least one place."""

    id: NewIdentifier | None = None
    name: Name
    doors: Doors = msgspec.field(default_factory=list)
    areas: Areas = msgspec.field(default_factory=list)
    sites: Sites = msgspec.field(default_factory=list)


class LockdownPlanPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What isn't sent isn't touched. While the plan is engaged its places are fixed."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    doors: Doors | msgspec.UnsetType = msgspec.UNSET
    areas: Areas | msgspec.UnsetType = msgspec.UNSET
    sites: Sites | msgspec.UnsetType = msgspec.UNSET


class LockdownPlan(msgspec.Struct, kw_only=True):
    """`engaged_by`: who engaged it last; null when the service did."""

    id: str
    name: str
    doors: list[str]
    areas: list[str]
    sites: list[str]
    engaged: bool
    engaged_at: Moment | None
    engaged_by: str | None
    revision: int
    created_at: Moment | None
    changed_at: Moment | None
    ended_at: Moment | None


class LockdownPlanSet(LockdownPlan, kw_only=True):
    """`effective_by`: after it no lock of the plan's doors moves on a command signed before the plan was engaged."""

    effective_by: Moment


class LockdownPlanPage(msgspec.Struct):
    """In the order of their names."""

    items: list[LockdownPlan]
    next_cursor: NextCursor


_TAG = "Lockdown"
_EXAMPLE: dict[str, object] = {"name": "Berlin, outer doors", "doors": ["berlin-main-entrance"], "areas": ["berlin-lobby"]}

LIST = Operation(
    "List lockdown plans", _TAG, {200: LockdownPlanPage}, permission=READ_PERMISSION,
    query={"limit": Limit, "cursor": Cursor, "sort": Sort, "name": str, "door": DoorId, "area": AreaId, "site": SiteId},
)  # fmt: skip
CREATE = Operation(
    "Create a lockdown plan", _TAG, {201: LockdownPlan}, NewLockdownPlan, permission=WRITE_PERMISSION, etag=True,
    codes=("409 id_taken", "422 name_invalid"), example=_EXAMPLE,
)  # fmt: skip
READ = Operation("Read a lockdown plan", _TAG, {200: LockdownPlan}, permission=READ_PERMISSION, etag=True)
CHANGE = Operation(
    "Change a lockdown plan", _TAG, {200: LockdownPlan}, LockdownPlanPatch, headers=("If-Match",), permission=WRITE_PERMISSION, etag=True,
    codes=("409 plan_engaged", "422 name_invalid"), example={"name": "Berlin, all outer doors"},
)  # fmt: skip
END = Operation(
    "Delete a lockdown plan", _TAG, {200: ChangeResult}, headers=("If-Match",), permission=WRITE_PERMISSION, codes=("409 plan_engaged",)
)
ENGAGE = Operation("Engage a lockdown plan", _TAG, {200: LockdownPlanSet}, headers=("If-Match",), permission=WRITE_PERMISSION, etag=True)
RELEASE = Operation("Release a lockdown plan", _TAG, {200: LockdownPlanSet}, headers=("If-Match",), permission=WRITE_PERMISSION, etag=True)
