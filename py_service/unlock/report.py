"""What a lock says: verified, journaled once by (lock, number), and only then acknowledged with `stored`."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable

from py_service._core_rs import PermissionIndex, Report, ReportError, verify_report
from py_service.errors import Problem
from py_service.journal.event import COMMAND_REPLAYED, LOCK_CLOCK_ERROR_MS_MAX, Event, make_event
from py_service.stores.mongo import Document
from py_service.unlock.attempt import Outcome
from py_service.unlock.messages import HOLD_BEGUN, HOLD_FAILED, UNLOCKED, UNLOCKED_FAILED

LOCK_JAMMED = "lock_jammed"
REPORT_BYTES_MAX = 1_024
REPORT_CHARACTERS_MAX = 2_048


class ReportRefused(Exception):
    """A report that is nobody's word. Codes: those of the core's ReportError, `report_device_unknown`, `report_device_inactive`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class LockOff(ReportRefused):
    """Well signed, but by a lock that is switched off: its key may be in other hands. `report` is what it says."""

    def __init__(self, report: Report) -> None:
        super().__init__("report_device_inactive")
        self.report = report


def verify(index: PermissionIndex, organization: str, lock: str, text: str) -> Report:
    """The report in `text` (base64url without padding), if the lock signed it and is switched on. Raises ReportRefused."""
    signed = _decoded(text)
    if signed is None or len(signed) > REPORT_BYTES_MAX:
        raise ReportRefused("report_malformed")
    device = index.device(organization, lock)
    if device is None:
        raise ReportRefused("report_device_unknown")
    try:
        report = verify_report(device.public_key, signed, lock)
    except ReportError as error:
        raise ReportRefused(error.code) from None
    if not device.active:
        raise LockOff(report)
    return report


def _decoded(text: str) -> bytes | None:
    if len(text) > REPORT_CHARACTERS_MAX:
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def in_time(report: Report, at_ms: int, expires_at_ms: int) -> bool:
    """Whether the lock spoke while a command of `at_ms` was alive, by its own signed clock.

    A lock that keeps its law (docs/protocols/tokens.md) acts at no other time, whoever's clocks differ.
    """
    return at_ms - LOCK_CLOCK_ERROR_MS_MAX <= report.at_ms <= expires_at_ms + LOCK_CLOCK_ERROR_MS_MAX


def outcome_of(report: Report) -> Outcome:
    """done, refused or expired, as the states and reasons of an attempt."""
    if report.result == "done":
        return Outcome(UNLOCKED)
    if report.result == "expired":
        return Outcome(UNLOCKED_FAILED, "command_expired")
    return Outcome(UNLOCKED_FAILED, LOCK_JAMMED if report.reason == LOCK_JAMMED else "lock_refused")


def stayed_shut(report: Report) -> bool:
    """Whether it is certain that the command moved nothing: what was used before may have opened the door then."""
    return report.result in ("refused", "expired") and report.reason != COMMAND_REPLAYED


def outcome_event(organization: str, report: Report, door: object, person: object, sites: object) -> Event:
    """The end of an attempt, by the lock's own signed word."""
    return _told(organization, report, outcome_of(report), door, sites, person=person)


def hold_event(organization: str, report: Report, hold: Event) -> Event:
    """What the lock did with the first lease of a hold, by its own signed word."""
    outcome = outcome_of(report)
    told = _told(organization, report, outcome, hold.get("door"), hold.get("sites"))
    return {**told, "kind": HOLD_BEGUN if outcome.state == UNLOCKED else HOLD_FAILED}


def _told(organization: str, report: Report, outcome: Outcome, door: object, sites: object, person: object = None) -> Event:
    detail: dict[str, object] = {"number": report.number, "lock_at": report.at_ms}
    if report.reason is not None:
        detail["lock_reason"] = report.reason
    return make_event(
        outcome.state, organization, 0, attempt=report.command, door=door, person=person, lock=report.lock, sites=sites,
        reason=outcome.reason, detail=detail,
    )  # fmt: skip


class ReportMember:
    """A member of the commit group that stands behind no fence: it decides nothing."""

    fenced = False
    key_is_clients = False
    body_mark: str | None = None
    judged_revision = 0

    def __init__(
        self,
        organization: str,
        report: Report,
        event: Event,
        *,
        on_stored: Callable[[ReportMember], None],
        on_committed: Callable[[str, Event], None] | None = None,
        on_failed: Callable[[], None] | None = None,
    ) -> None:
        self.organization = organization
        self.lock = report.lock
        self.number = report.number
        self.key: str | None = f"report:{organization}:{report.lock}:{report.number}"
        self.judged_at_ms = 0
        self.waiting_since = time.monotonic()
        self.answered = False
        self._event = event
        self._on_stored = on_stored
        self._on_committed = on_committed
        self._on_failed = on_failed

    def judge(self, now_ms: int) -> bool:
        self.judged_at_ms = now_ms
        return True

    def event(self, at_ms: int, identifier: str) -> Event:
        self._event["at"] = at_ms
        return self._event

    def committed(self, at_ms: int, identifier: str) -> None:
        self.answered = True
        if self._on_committed is not None:
            self._on_committed(identifier, self._event)
        self._on_stored(self)

    def late(self, identifier: str) -> Event | None:
        # A report is as true late as in time.
        self.committed(0, identifier)
        return None

    def duplicate(self, journal_document: Document) -> None:
        self.answered = True
        self._on_stored(self)

    def failed(self, problem: Problem) -> None:
        # Not stored: the lock keeps it and says it again.
        self.answered = True
        if self._on_failed is not None:
            self._on_failed()
