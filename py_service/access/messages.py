"""What goes in and out of the access room. Times are RFC 3339 in UTC outside, milliseconds inside."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import msgspec

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_-]{1,64}\Z")]  # not `$`: it lets a line feed through
Moment = Annotated[datetime.datetime, msgspec.Meta(tz=True)]


class GrantRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who x where x when. One of person and group; one of door, area and site."""

    effect: Literal["allow", "deny"] = "allow"
    person: Identifier | None = None
    group: Identifier | None = None
    door: Identifier | None = None
    area: Identifier | None = None
    site: Identifier | None = None
    schedule: Identifier | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class Grant(msgspec.Struct, kw_only=True):
    """A grant as it is read; `ended_at` when it was taken back."""

    id: str
    effect: str
    person: str | None
    group: str | None
    door: str | None
    area: str | None
    site: str | None
    schedule: str | None
    valid_from: datetime.datetime | None
    valid_until: datetime.datetime | None
    ended_at: datetime.datetime | None = None
    revision: int | None = None


class ChangeResult(msgspec.Struct, kw_only=True):
    """`effective_by`: after it not even a command signed before can move a lock."""

    id: str
    revision: int
    effective_by: datetime.datetime


def to_ms(moment: datetime.datetime | None) -> int | None:
    """Milliseconds since the epoch."""
    return None if moment is None else int(moment.timestamp() * 1000)
