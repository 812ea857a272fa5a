"""What comes out of the unlock room, and the states of an attempt."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from py_service.identifiers import AttemptId, DoorId, Moment, PersonId

COMMANDED: Final = "commanded"
UNLOCKED: Final = "unlocked"
UNLOCKED_FAILED: Final = "unlocked.failed"
UNCONFIRMED: Final = "unconfirmed"
REFUSED: Final = "authorized.failed"
HOLD_AUTHORIZED: Final = "hold.authorized"
HOLD_BEGUN: Final = "hold.begun"
HOLD_FAILED: Final = "hold.failed"
State = Literal["commanded", "unlocked", "unlocked.failed", "unconfirmed", "authorized.failed"]
# Why a door stays shut, in the order of `check` (docs/protocols/documents.md).
REFUSALS = (
    "organization_suspended", "unknown_credential", "door_locked_down", "area_locked_down", "site_locked_down", "person_suspended",
    "not_yet_valid", "expired", "denied_by_rule", "no_grant", "holiday", "outside_schedule",
    "rate_limited", "pin_needed", "pin_wrong", "anti_passback", "occupancy_full", "pass_used_up", "second_person_needed",
)  # fmt: skip


class UnlockBody(msgspec.Struct, forbid_unknown_fields=True):
    """Only a door in the mode `card_and_pin` asks for it."""

    pin: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4,8}\Z", examples=["4711"])] | None = None


UNLOCK_BODY = msgspec.json.Decoder(UnlockBody)


class Phase(msgspec.Struct, kw_only=True):
    """One of authenticated, authorized, committed, commanded, unlocked; `milliseconds` since the request arrived."""

    phase: str
    ok: bool
    reason: str | None
    milliseconds: float


class RefusedAttempt(msgspec.Struct, kw_only=True):
    """What a refusal tells beside its code. The attempt is in the journal."""

    id: AttemptId
    door: DoorId
    state: Literal["authorized.failed"]
    revision: int
    rule: str | None
    phases: list[Phase]


class AttemptAnswer(msgspec.Struct, kw_only=True):
    """An attempt as its person sees it (docs/protocols/http.md)."""

    id: AttemptId
    door: DoorId
    person: PersonId
    state: State
    reason: str | None
    rule: str | None
    revision: int
    decided_at: Moment
    expires_at: Moment | None
    phases: list[Phase]
