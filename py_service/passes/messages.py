"""What goes in and out of the room of passes. Times are RFC 3339 in UTC outside, milliseconds inside."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from py_service.identifiers import DoorId, Moment, ScheduleId
from py_service.paging import NextCursor

DOORS_MAX, USES_MAX, PASSES_ON_MAX = 16, 10_000, 3

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Doors = Annotated[list[DoorId], msgspec.Meta(min_length=1, max_length=DOORS_MAX)]
Uses = Annotated[int, msgspec.Meta(ge=1, le=USES_MAX, description="How often it opens in all; null: as often as one likes.")]
PassesOn = Annotated[int, msgspec.Meta(ge=0, le=PASSES_ON_MAX, description="How many times in a row it may be passed on; 0: not at all.")]
Token = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=128, description="What stands behind `#` in the link.", examples=["nobody-was-ever-given-this-token"]
    ),
]
Email = Annotated[str, msgspec.Meta(max_length=254)]
Phone = Annotated[str, msgspec.Meta(pattern=r"^\+[1-9][0-9]{6,14}\Z", description="E.164.", examples=["+493012345678"])]
State = Literal["issued", "active", "used_up", "expired", "revoked"]
ListedState = Literal["issued", "active", "used_up", "expired"]  # what was taken back is in no list
QrSvg = Annotated[str, msgspec.Meta(description="The link as a QR code: a whole SVG document.")]


class Receiver(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one: an address, a number, or whoever has the link."""

    email: Email | None = None
    phone: Phone | None = None
    link: Literal[True] | None = None


class NewPass(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`valid_from` null: from now on. At most 366 days. `receiver` null: whoever has the link."""

    name: Name
    doors: Doors
    valid_from: Moment | None = None
    valid_until: Moment
    schedule: ScheduleId | None = None
    uses: Uses | None = None
    passes_on_max: PassesOn = 0
    receiver: Receiver | None = None


class PassedOn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out (or null) is as the pass has it that is passed on, but `passes_on_max`."""

    name: Name
    doors: Doors | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    schedule: ScheduleId | None = None
    uses: Uses | None = None
    passes_on_max: PassesOn = 0
    receiver: Receiver | None = None


class PassPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What isn't sent isn't touched. An earlier end holds for all that was passed on from it, too."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    valid_until: Moment | msgspec.UnsetType = msgspec.UNSET


class PassToken(msgspec.Struct, forbid_unknown_fields=True):
    token: Token


class PassAcceptance(PassToken, forbid_unknown_fields=True):
    """`name`: what the receiver wants to be called; else the pass's name."""

    name: Name | None = None


class Pass(msgspec.Struct, kw_only=True):
    """A pass as it is read. `given_by`: the person without whose own access it opens nothing; null when a manager gave it.

    `uses_left`: also of the passes from which it was passed on; null when nothing is counted. `parent`: which it was passed on from.
    `receiver`: null for whoever only gave a pass above it.
    """

    id: str
    name: str
    doors: list[str]
    valid_from: Moment
    valid_until: Moment
    schedule: str | None
    uses: int | None
    uses_left: int | None
    passes_on_max: int
    given_by: str | None
    parent: str | None
    receiver: Receiver | None
    state: State
    accepted_by: str | None
    accepted_at: Moment | None
    revision: int
    created_at: Moment | None
    changed_at: Moment | None
    ended_at: Moment | None


class PassGiven(Pass, kw_only=True):
    """`delivery`: `email`, its link is mailed to the receiver and told to nobody else; `link`, the giver hands it on. Then it is told here,
    once: only a hash of its token is stored."""

    link: str | None
    qr_svg: QrSvg | None
    delivery: Literal["link", "email"]


class PassLink(msgspec.Struct, kw_only=True):
    """A new link; the one before it is void."""

    id: str
    revision: int
    link: str
    qr_svg: QrSvg
    delivery: Literal["link"]


class PassSent(msgspec.Struct, kw_only=True):
    """A new link goes to the receiver; those before it are void."""

    id: str
    revision: int
    delivery: Literal["email"]


class PassChanged(Pass, kw_only=True):
    """What the change took away is gone: `effective_by` as in every answer to a revoke."""

    effective_by: Moment


class PassTaken(msgspec.Struct, kw_only=True):
    """`passes`: how many ended, with those that were passed on from it. After `effective_by` no command signed before moves a lock."""

    id: str
    revision: int
    effective_by: Moment
    passes: int


class PassAccepted(msgspec.Struct, kw_only=True):
    """`pass`, and whose it is now."""

    pass_: Pass = msgspec.field(name="pass")
    person: str
    organization: str


class PassAcceptedByGuest(PassAccepted, kw_only=True):
    """With tokens as from a sign-in."""

    access_token: str
    expires_at: Moment
    refresh_token: str


class PassPage(msgspec.Struct):
    """In the order of their names."""

    items: list[Pass]
    next_cursor: NextCursor
