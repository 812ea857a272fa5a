"""What goes in and out of the access room. Times are RFC 3339 in UTC outside, milliseconds inside."""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from py_service.identifiers import AreaId, DoorId, GroupId, Moment, PersonId, ScheduleId, SiteId
from py_service.paging import NextCursor


class GrantRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who x where x when. One of person and group; one of door, area and site."""

    effect: Literal["allow", "deny"] = "allow"
    person: PersonId | None = None
    group: GroupId | None = None
    door: DoorId | None = None
    area: AreaId | None = None
    site: SiteId | None = None
    schedule: ScheduleId | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class GrantPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What isn't sent isn't touched. Who it is for and where are fixed: they may be sent as they are."""

    effect: Literal["allow", "deny"] | msgspec.UnsetType = msgspec.UNSET
    person: PersonId | msgspec.UnsetType | None = msgspec.UNSET
    group: GroupId | msgspec.UnsetType | None = msgspec.UNSET
    door: DoorId | msgspec.UnsetType | None = msgspec.UNSET
    area: AreaId | msgspec.UnsetType | None = msgspec.UNSET
    site: SiteId | msgspec.UnsetType | None = msgspec.UNSET
    schedule: ScheduleId | msgspec.UnsetType | None = msgspec.UNSET
    valid_from: Moment | msgspec.UnsetType | None = msgspec.UNSET
    valid_until: Moment | msgspec.UnsetType | None = msgspec.UNSET


class Grant(msgspec.Struct, kw_only=True):
    """A grant as it is read; `ended_at` when it was taken back. `pass`: which it came from; it changes with that only."""

    id: str
    effect: str
    person: str | None
    group: str | None
    door: str | None
    area: str | None
    site: str | None
    schedule: str | None
    valid_from: Moment | None
    valid_until: Moment | None
    pass_: str | None = msgspec.field(name="pass")
    revision: int
    created_at: Moment | None
    changed_at: Moment | None
    ended_at: Moment | None


class GrantChanged(Grant, kw_only=True):
    """What the change took away is gone: `effective_by` as in every answer to a revoke."""

    effective_by: Moment


class GrantPage(msgspec.Struct):
    """In the order of their identifiers: grants have no name."""

    items: list[Grant]
    next_cursor: NextCursor


class ChangeResult(msgspec.Struct, kw_only=True):
    """`effective_by`: after it not even a command signed before can move a lock."""

    id: str
    revision: int
    effective_by: Moment


class LockdownResult(ChangeResult, kw_only=True):
    """`held_by`: `manual`, and each lockdown plan that holds the place, as `plan:<id>`. It is locked down for as long as one does."""

    locked_down: bool
    held_by: list[str]


class Inside(msgspec.Struct):
    """Who is inside an area, since when."""

    person: str
    entered_at: Moment


class Occupancy(msgspec.Struct):
    """`count` is what `occupancy_max` is held against; `items`: who they are, page by page.

    Areas with neither a limit nor anti-passback count nobody.
    """

    area: str
    count: int
    occupancy_max: int | None
    reset_at: Moment | None
    items: list[Inside]
    next_cursor: NextCursor


class OccupancyReset(msgspec.Struct, forbid_unknown_fields=True):
    """`person`: only this one is outside from now on; null: everybody is."""

    person: PersonId | None = None


class Entry(msgspec.Struct):
    """`rule`: the grant that lets them in, or what refuses.

    `stateful`: that is by the permissions alone, and an unlock also asks what was used, who is inside, or who came (`explain` does).
    """

    id: str
    allowed: bool
    reason: str
    rule: str | None
    stateful: bool


class Entries(msgspec.Struct):
    """`at` is the moment that was asked about; `revision` the permissions that answered."""

    items: list[Entry]
    next_cursor: NextCursor
    at: Moment
    revision: int


class Step(msgspec.Struct):
    """One rule that was looked at; the first that isn't passed is the last."""

    step: str
    passed: bool
    detail: str


class RuleHeard(msgspec.Struct):
    """One rule that concerns the person at the door, and what it comes to at that moment."""

    grant: str
    effect: Literal["allow", "deny"]
    schedule: str | None
    verdict: Literal["holds", "not_yet_valid", "expired", "holiday", "outside_schedule", "giver_may_not"]


class StatefulRule(msgspec.Struct):
    """A rule that asks what was used, who is inside, who came: `verdict` is `holds`, the reason for which it refuses, or `unknown`.

    `of`: the area, the grant whose uses are counted, or the door. Of several grants (`uses`) one that holds is enough.
    """

    rule: Literal["first_person_in", "card_and_pin", "leaves", "anti_passback", "occupancy", "uses", "two_persons"]
    of: str
    verdict: str
    detail: str


class Explanation(msgspec.Struct):
    """As the core writes it. `local_time` (RFC 9557) is the wall clock of the door's site.

    `rules`: all of the person at the door, by grant, also where an earlier step has settled it; 1,000 at most, `rules_left_out` more.
    `state`: what the store knows was `read`, and the answer is that of an unlock now, with the right PIN where there is one; or it is
    `unknown`, as at any other moment, and the answer is what the permissions allow; or no rule asks for it (`none`).
    """

    allowed: bool
    reason: str
    rule: str | None
    revision: int
    local_time: str | None
    steps: list[Step]
    rules: list[RuleHeard]
    rules_left_out: int
    state: Literal["none", "read", "unknown"]
    stateful_rules: list[StatefulRule]


def to_ms(moment: datetime.datetime | None) -> int | None:
    """Milliseconds since the epoch."""
    return None if moment is None else int(moment.timestamp() * 1000)


def patch_values(patch: GrantPatch) -> dict[str, object]:
    """The fields that were sent, as they are stored."""
    sent = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    return {name: to_ms(value) if isinstance(value, datetime.datetime) else value for name, value in sent.items()}
