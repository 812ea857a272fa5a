"""Sends what waits in the outbox, at least once: a letter goes out of it only after it was taken.

Who writes a letter is named by kind, by the process that runs this: rooms know what they have to say, nobody else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from py_service.errors import Problem
from py_service.mail.letter import Letter, Waiting
from py_service.mail.message import Mail, Mailer, MailRefused, MailWaits
from py_service.mail.outbox import Outbox

WriteMail = Callable[[Letter], Awaitable[Mail | None]]
"""What the letter says, with the link made for it; None when there is nothing to say any more. Raises Problem 503."""

PAUSE_SECONDS = 0.5
AWAY_SECONDS = 2.0

logger = structlog.get_logger(__name__)


class Postman:
    """`at_work` says whether this process is the one that sends. No address, no link and no text is logged."""

    def __init__(
        self, outbox: Outbox, mailer: Mailer, writers: Mapping[str, WriteMail], at_work: Callable[[], bool], clock_ms: Callable[[], int]
    ) -> None:
        self._outbox = outbox
        self._mailer = mailer
        self._writers = writers
        self._at_work = at_work
        self._clock_ms = clock_ms

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                sent = await self.send_due() if self._at_work() else 0
                await asyncio.sleep(0 if sent else PAUSE_SECONDS)
            except Problem as problem:
                logger.warning("mail_waits_for_the_store", error=problem.code)
                await asyncio.sleep(AWAY_SECONDS)

    async def send_due(self) -> int:
        """What is due now, side by side: a slow receiver holds nobody up for long. How many were tried. Raises Problem 503."""
        waiting = await self._outbox.due(self._clock_ms())
        outcomes = await asyncio.gather(*(self._send(one) for one in waiting), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(waiting)

    async def _send(self, waiting: Waiting) -> None:
        letter = waiting.letter
        writer = self._writers.get(letter.kind)
        try:
            if writer is None:
                raise MailRefused("nobody writes this kind")
            mail = await writer(letter)
            if mail is not None:
                await self._mailer.send(mail)
        except MailRefused as refused:
            logger.error("mail_given_up", kind=letter.kind, letter=letter.id, because=str(refused))
            await self._outbox.give_up(letter, self._clock_ms(), str(refused))
        except MailWaits as waits:
            later = await self._outbox.again(waiting, self._clock_ms(), str(waits))
            logger.log(
                30 if later else 40, "mail_waits" if later else "mail_given_up", kind=letter.kind, letter=letter.id, because=str(waits)
            )
        else:
            await self._outbox.sent(letter, self._clock_ms())
