"""What comes out of the unlock room, and the states of an attempt."""

from __future__ import annotations

import datetime

import msgspec

COMMANDED = "commanded"
UNLOCKED = "unlocked"
UNLOCKED_FAILED = "unlocked.failed"
UNCONFIRMED = "unconfirmed"
REFUSED = "authorized.failed"
# Why a door stays shut, in the order of `check` (docs/protocols/documents.md).
REFUSALS = (
    "organization_suspended", "unknown_credential", "door_locked_down", "area_locked_down", "site_locked_down", "person_suspended",
    "not_yet_valid", "expired", "denied_by_rule", "no_grant", "holiday", "outside_schedule",
)  # fmt: skip


class Phase(msgspec.Struct, kw_only=True):
    """One of authenticated, authorized, committed, commanded, unlocked; `milliseconds` since the request arrived."""

    phase: str
    ok: bool
    reason: str | None
    milliseconds: float


class AttemptAnswer(msgspec.Struct, kw_only=True):
    """An attempt as its person sees it (docs/protocols/http.md)."""

    id: str
    door: str
    person: str
    state: str
    reason: str | None
    rule: str | None
    revision: int
    decided_at: datetime.datetime
    expires_at: datetime.datetime | None
    phases: list[Phase]
