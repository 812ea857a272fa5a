"""What comes out of the unlock room, and the states of an attempt."""

from __future__ import annotations

import datetime

import msgspec

COMMANDED = "commanded"
UNLOCKED = "unlocked"
UNLOCKED_FAILED = "unlocked.failed"
UNCONFIRMED = "unconfirmed"
REFUSED = "authorized.failed"


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
