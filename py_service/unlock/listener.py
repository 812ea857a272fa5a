"""Hears what locks answer to this process's commands, over Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem
from py_service.journal.member import Member
from py_service.stores.bus import BUS_ERRORS, Bus
from py_service.unlock.announcer import Announcer, Stored
from py_service.unlock.attempt import Attempt
from py_service.unlock.desk import Desk
from py_service.unlock.report import LockOff, ReportMember, ReportRefused, in_time, outcome_event, outcome_of, stayed_shut, verify

LISTEN_AGAIN_SECONDS = 0.2

logger = structlog.get_logger(__name__)


class LockMessage(msgspec.Struct):
    """From a gateway; nothing in it is believed before the lock's signature is verified."""

    type: str
    org: str
    lock: str
    number: int = 0
    command: str | None = None
    report: str = ""


_DECODER = msgspec.json.Decoder(LockMessage)


class ReplyListener:
    """One per process; reports that aren't for it go on to the worker."""

    def __init__(
        self, bus: Bus, process: str, index: PermissionIndex, desk: Desk, announcer: Announcer, submit: Callable[[Member], None]
    ) -> None:
        self._bus = bus
        self._process = process
        self._index = index
        self._desk = desk
        self._announcer = announcer
        self._submit = submit

    async def run(self) -> None:
        """Until cancelled; a lost bus is tried again, and what was missed comes again from the lock."""
        while True:
            with contextlib.suppress(*BUS_ERRORS):
                await self._listen()
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def _listen(self) -> None:
        client = self._bus.listener()
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(f"nk:process:{self._process}")
                async for message in subscription.listen():
                    await self._hear(message["data"])
        finally:
            await client.aclose()

    async def _hear(self, data: bytes) -> None:
        try:
            message = _DECODER.decode(data)
        except msgspec.MsgspecError:
            logger.warning("reply_malformed")
            return
        attempt = self._desk.find(message.command or "")
        if message.type == "received" and attempt is not None:
            self._desk.received += 1  # nobody's proof: only how many commands reach a lock
        if message.type != "report":
            return
        is_ours = attempt is not None and attempt.organization == message.org and attempt.lock == message.lock
        if attempt is None or not is_ours or not self._answer(attempt, message):
            await self._pass_on(message)

    def _answer(self, attempt: Attempt, message: LockMessage) -> bool:
        """Whether it was dealt with here. What doesn't end this attempt is the worker's: it may be an alarm."""
        try:
            report = verify(self._index, message.org, message.lock, message.report)
        except LockOff:
            return False
        except ReportRefused as error:
            logger.warning("report_refused", code=error.code, organization=message.org, lock=message.lock)
            return True
        if report.kind != "outcome" or report.command != message.command:
            return False
        if report.result == "done" and not in_time(report, attempt.recorded.at_ms, attempt.expires_at_ms):
            return False
        # The person hears it now: the lock keeps its signed word until it is in the journal.
        attempt.settled(outcome_of(report), stayed_shut(report))
        event = outcome_event(message.org, report, attempt.door, attempt.person, attempt.sites)
        member = ReportMember(message.org, report, event, on_stored=self._stored, on_committed=self._announcer.event)
        try:
            self._submit(member)
        except Problem:
            return True  # the queue is full: the lock says it again
        self._desk.remove(message.command or "")
        return True

    def _stored(self, member: ReportMember) -> None:
        self._announcer.stored(Stored(member.organization, member.lock, member.number))

    async def _pass_on(self, message: LockMessage) -> None:
        with contextlib.suppress(*BUS_ERRORS):
            await self._bus.leave_report(message.org, message.lock, message.report)
