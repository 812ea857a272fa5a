"""Reports that no process waits for: what a lock says again, what happens at a door by itself, answers to a process that died."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from py_service._core_rs import PermissionIndex, Report, ReportError, verify_report
from py_service.errors import Problem
from py_service.journal.event import Event, make_event, parse_event_id
from py_service.journal.member import Member
from py_service.stores.bus import BUS_ERRORS, Bus, BusAway, BusUnknown
from py_service.stores.mongo import Mongo
from py_service.unlock.announcer import Stored
from py_service.unlock.listener import decode_report
from py_service.unlock.report import ReportMember, outcome_event
from py_service.unlock.store import read_event

READ_MAX = 128

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry:
    identifier: bytes
    organization: str
    lock: str
    report: str


class LateReports:
    """Lives in the worker. An entry stays in the stream until its event is in the journal."""

    def __init__(
        self, mongo: Mongo, bus: Bus, index: PermissionIndex, submit: Callable[[Member], None], current: Callable[[str], Awaitable[int]]
    ) -> None:
        self._mongo = mongo
        self._bus = bus
        self._index = index
        self._submit = submit
        self._current = current
        self._under_way: set[bytes] = set()
        self._stored: list[tuple[bytes, Stored]] = []

    async def step(self) -> int:
        """Take what is there; how many were taken. Raises BUS_ERRORS, pymongo errors."""
        entries = await self._read()
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
        report = await self._verified(entry)
        if report is None:
            await self._bus.forget_reports([entry.identifier])
            return
        event = await self._event(entry.organization, report)
        member = ReportMember(
            entry.organization,
            report,
            event,
            on_stored=lambda stored: self._done(entry, stored),
            on_failed=lambda: self._under_way.discard(entry.identifier),  # read again
        )
        self._under_way.add(entry.identifier)
        try:
            self._submit(member)
        except Problem:
            self._under_way.discard(entry.identifier)

    async def _verified(self, entry: _Entry) -> Report | None:
        signed = decode_report(entry.report)
        device = self._index.device(entry.organization, entry.lock)
        if device is None and entry.organization:
            with contextlib.suppress(Problem):
                await self._current(entry.organization)
            device = self._index.device(entry.organization, entry.lock)
        if signed is None or device is None:
            logger.warning("report_dropped", organization=entry.organization, lock=entry.lock)
            return None
        try:
            return verify_report(device.public_key, signed, entry.lock)
        except ReportError as error:
            logger.warning("report_refused", code=error.code, organization=entry.organization, lock=entry.lock)
            return None

    async def _event(self, organization: str, report: Report) -> Event:
        device = self._index.device(organization, report.lock)
        door = device.door if device is not None else None
        detail: dict[str, object] = {"number": report.number, "lock_at": report.at_ms}
        if report.kind == "door":
            return make_event("door.state", organization, 0, door=door, lock=report.lock, detail={**detail, "state": report.result})
        name = parse_event_id(report.command or "")
        decided = None if name is None else await read_event(self._mongo, name)
        if (
            decided is not None
            and decided["kind"] == "authorized"
            and decided["org"] == organization
            and decided.get("lock") == report.lock
        ):
            return outcome_event(organization, report, decided.get("door"), decided.get("person"))
        # ALARM: a lock acted on something that nobody decided.
        detail |= {"command": report.command, "result": report.result}
        logger.error("report_unmatched", organization=organization, lock=report.lock)
        return make_event("report.unmatched", organization, 0, door=door, lock=report.lock, detail=detail)

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
