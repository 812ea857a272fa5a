"""Reports that no process waits for: what a lock says again, what happens at a door by itself, what became of a hold, answers to a process
that died."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import structlog

from py_service._core_rs import PermissionIndex, Report
from py_service.errors import Problem
from py_service.journal.event import Event, command_expires_at_ms, make_event, parse_event_id
from py_service.journal.member import Member
from py_service.stores.bus import BUS_ERRORS, Bus, BusAway, BusUnknown
from py_service.stores.mongo import Mongo, plain
from py_service.unlock.announcer import Stored
from py_service.unlock.give_back import GiveBack
from py_service.unlock.messages import HOLD_AUTHORIZED, HOLD_BEGUN, UNLOCKED
from py_service.unlock.report import LockOff, ReportMember, ReportRefused, hold_event, in_time, outcome_event, stayed_shut, verify
from py_service.unlock.store import NOT_COMMANDED, read_attempt, read_event

READ_MAX = 128
UNMATCHED = "report.unmatched"
REFUSED_BY_LOCK = "command.refused"
NORMAL = "NORMAL"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    identifier: bytes
    organization: str
    lock: str
    report: str


class LateReports:
    """Lives in the worker. An entry stays in the stream until its event is in the journal, and before it that what the grant took is back.

    `settle` is the lane of what changes `states`.
    """

    def __init__(
        self,
        mongo: Mongo,
        bus: Bus,
        index: PermissionIndex,
        submit: Callable[[Member], None],
        settle: Callable[[Member], None],
        current: Callable[[str], Awaitable[int]],
    ) -> None:
        self._mongo = mongo
        self._bus = bus
        self._index = index
        self._submit = submit
        self._settle = settle
        self._current = current
        self._under_way: set[bytes] = set()
        self._stored: list[tuple[bytes, Stored]] = []

    async def step(self) -> int:
        """Take what is there; how many were taken. Raises BUS_ERRORS, pymongo errors."""
        entries = await self._read()
        for organization in {entry.organization for entry in entries if entry.organization}:
            with contextlib.suppress(Problem):  # a lock that was made, or switched off, a moment ago
                await self._current(organization)
        for entry in entries:
            await self._take(entry)
        await self._acknowledge()
        return len(entries)

    async def _read(self) -> list[_Entry]:
        found = await self._bus.left_reports(READ_MAX)
        return [
            _Entry(name, fields.get("org", ""), fields.get("lock", ""), fields.get("report", ""))
            for name, fields in found
            if name not in self._under_way
        ]

    async def _take(self, entry: _Entry) -> None:
        lock_off = False
        try:
            report = verify(self._index, entry.organization, entry.lock, entry.report)
        except LockOff as error:
            report, lock_off = error.report, True
        except ReportRefused as error:
            logger.warning("report_refused", code=error.code, organization=entry.organization, lock=entry.lock)
            await self._bus.forget_reports([entry.identifier])
            return
        event, undone = await self._event(entry.organization, report, lock_off)
        member = ReportMember(
            entry.organization,
            report,
            event,
            on_stored=lambda stored: self._done(entry, stored),
            on_committed=_sound,
            on_failed=lambda: self._under_way.discard(entry.identifier),  # read again
        )
        self._under_way.add(entry.identifier)
        if undone is None:
            self._join(self._submit, member, entry)
            return

        def given_back(in_journal: bool) -> None:
            if in_journal:
                self._join(self._submit, member, entry)
            else:
                self._under_way.discard(entry.identifier)

        person, door, at_ms = str(undone["person"]), str(undone["door"]), int(undone["at"])
        taken = msgspec.json.encode(undone["taken"], enc_hook=plain)
        back = GiveBack(entry.organization, str(event["attempt"]), person, door, undone.get("sites"), at_ms, taken, given_back)
        self._join(self._settle, back, entry)

    def _join(self, submit: Callable[[Member], None], member: Member, entry: _Entry) -> None:
        try:
            submit(member)
        except Problem:
            self._under_way.discard(entry.identifier)

    async def _event(self, organization: str, report: Report, lock_off: bool) -> tuple[Event, Event | None]:
        """What is journaled, and the grant that is undone before that, when it took something."""
        device = self._index.device(organization, report.lock)
        door = device.door if device is not None else None
        placed = None if door is None else self._index.door(organization, door)
        sites = None if placed is None else [placed.site]
        detail: dict[str, object] = {"number": report.number, "lock_at": report.at_ms}
        # A lock that is switched off while it holds its door lets go and says so: no alarm, and its word is marked.
        if report.kind == "door" and (not lock_off or report.result == NORMAL):
            state = {**detail, "state": report.result, **({"lock_off": True} if lock_off else {})}
            return make_event("door.state", organization, 0, door=door, lock=report.lock, sites=sites, detail=state), None
        decided = None if lock_off else await self._attempt(organization, report)
        if decided is not None:
            undone = decided if decided.get("taken") is not None and stayed_shut(report) else None
            if decided["kind"] == HOLD_AUTHORIZED:
                return hold_event(organization, report, decided), None
            return outcome_event(organization, report, decided.get("door"), decided.get("person"), decided.get("sites")), undone
        said = {"command": report.command, "result": report.result, "lock_reason": report.reason, "lock_off": lock_off or None}
        detail |= {name: value for name, value in said.items() if value is not None}
        kind = UNMATCHED if lock_off or report.result == "done" else REFUSED_BY_LOCK
        return make_event(kind, organization, 0, door=door, lock=report.lock, sites=sites, detail=detail), None

    async def _attempt(self, organization: str, report: Report) -> Event | None:
        """The grant that the report is the end of, or the hold that it is the beginning of: for this lock, while its command was alive, and
        not told yet (as far as projected).

        So a grant explains one move of the bolt, however often a lock, or who has its key, says `done`.
        """
        identifier = report.command or ""
        name = parse_event_id(identifier)
        decided = None if name is None else await read_event(self._mongo, name)
        if decided is None or decided["kind"] not in ("authorized", HOLD_AUTHORIZED):
            return None
        if (decided["org"], decided.get("lock")) != (organization, report.lock):
            return None
        if not in_time(report, int(decided["at"]), command_expires_at_ms(int(decided["at"]), decided.get("wait"))):
            return None
        known = await read_attempt(self._mongo, organization, identifier)
        return None if any(event["kind"] in (UNLOCKED, NOT_COMMANDED, HOLD_BEGUN) for event in known) else decided

    def _done(self, entry: _Entry, member: ReportMember) -> None:
        self._stored.append((entry.identifier, Stored(member.organization, member.lock, member.number)))

    async def _acknowledge(self) -> None:
        """`stored` to the locks, then out of the stream; a lock that misses it says its report again."""
        done, self._stored = self._stored, []
        if not done:
            return
        with contextlib.suppress(BusAway, BusUnknown):
            await self._bus.publish([stored.delivery() for _, stored in done], [])
        with contextlib.suppress(*BUS_ERRORS):
            await self._bus.forget_reports([identifier for identifier, _ in done])
        for identifier, _ in done:
            self._under_way.discard(identifier)


def _sound(identifier: str, event: Event) -> None:
    """ALARM: a lock acted on something that nobody decided. Once it is in the journal, so that a report said twice sounds once."""
    if event["kind"] == UNMATCHED:
        logger.error("report_unmatched", event_id=identifier, organization=event["org"], lock=event.get("lock"))
