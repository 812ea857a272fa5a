"""Carry out a request with an Idempotency-Key once, and answer it the same way every time for 24 hours.

claim -> the handler, whose changes are recorded in their own transactions -> the answer is kept -> it goes out.
Whoever comes while the claim stands is told so; whoever comes after a process that died carries out what is left: the changes that took
effect are recalled, so the handler makes of them the answer that nobody has heard.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from py_service.errors import Problem
from py_service.exchange import Handler, Request, Response
from py_service.idempotency.keyed import Keyed, StepRecords, digest_of, identifier_of, under_way
from py_service.idempotency.store import Claim, Found

CLAIM_TRIES_MAX = 3
REPLAYED = "Idempotent-Replayed"

logger = structlog.get_logger(__name__)


class Records(StepRecords, Protocol):
    """The part of the store that this needs."""

    async def claim(self, keyed: Keyed) -> str | None: ...
    async def find(self, keyed: Keyed) -> Found: ...
    async def take_over(self, keyed: Keyed, claim: Claim) -> str | None: ...
    async def release(self, keyed: Keyed, token: str) -> bool: ...
    async def keep_answer(self, keyed: Keyed, answer: Response) -> Response | None: ...


class CarryOutOnce:
    """One per api process."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._here: dict[str, Keyed] = {}  # under way in this process, by identifier

    async def __call__(self, key: str, request: Request, handler: Handler) -> Response:
        """The handler's answer, or the first one's. Raises Problem 409 while it is under way, 422 for another request, 503; the handler's.

        The caller is known, and their token stands at the store's revision: a repeat passes no other fence.
        """
        caller = request.caller()
        identifier = identifier_of(caller.organization, caller.subject, key)
        keyed = Keyed(caller.organization, identifier, digest_of(request), self._records)
        if (first := self._here.get(identifier)) is not None:
            return await self._beside(keyed, first)
        self._here[identifier] = keyed
        try:
            claimed = await self._claim(keyed)
            if isinstance(claimed, Response):
                return claimed
            return await self._carry_out(keyed, claimed, request, handler)
        finally:
            keyed.over = True
            del self._here[identifier]

    async def _claim(self, keyed: Keyed) -> str | Response:
        """The token of our claim, or the answer that was given. Raises Problem 409, 422, 503."""
        for _ in range(CLAIM_TRIES_MAX):
            token = await self._records.claim(keyed)
            if token is not None:
                return token
            found = await self._records.find(keyed)
            if (answer := _answer_in(found, keyed)) is not None:
                return answer
            if found.claim is None:
                continue  # forgotten between the two: it was refused
            if found.claim.request is not None:
                keyed.check_same(found.claim.request)
            if not found.claim.over:
                raise _in_flight()
            token = await self._records.take_over(keyed, found.claim)
            if token is not None:
                return token
        raise _in_flight()

    async def _beside(self, keyed: Keyed, first: Keyed) -> Response:
        """Another one is at work here; it may be no more than a repeat that reads its answer. Raises Problem 409, 422, 503."""
        answer = _answer_in(await self._records.find(keyed), keyed)
        if answer is None:
            keyed.check_same(first.request)
            raise _in_flight()
        return answer

    async def _carry_out(self, keyed: Keyed, token: str, request: Request, handler: Handler) -> Response:
        outside = under_way.set(keyed)
        try:
            answer = await handler(request)
        except Problem as problem:
            await self._refused(keyed, token, problem)
            raise
        except Exception:
            await self._records.release(keyed, token)
            raise
        finally:
            under_way.reset(outside)
        answer = await self._kept(keyed, token, answer)
        return _replayed(answer) if keyed.recalled else answer

    async def _kept(self, keyed: Keyed, token: str, answer: Response) -> Response:
        """The answer that stands. One that can't be kept is given all the same: a repeat makes it again, of the recorded changes."""
        try:
            kept = await self._records.keep_answer(keyed, answer)
        except Problem as problem:
            logger.warning("answer_not_kept", code=problem.code)
            kept = None
        if kept is None:
            await self._records.release(keyed, token)
        return kept or answer

    async def _refused(self, keyed: Keyed, token: str, problem: Problem) -> None:
        """A refusal is not remembered: nothing took effect. Raises Problem 409 when something had, at an earlier try."""
        took_effect = await self._records.release(keyed, token)
        if took_effect and keyed.submitted == 0 and problem.status < 500:
            logger.error("answer_lost", code=problem.code)
            raise Problem(409, "idempotent_answer_lost", "The change was made, but its answer can't be made again.") from problem


def _answer_in(found: Found, keyed: Keyed) -> Response | None:
    """The first answer, when there is one. Raises Problem 422."""
    if found.answer is None or found.request is None:
        return None
    keyed.check_same(found.request)
    return _replayed(found.answer)


def _replayed(answer: Response) -> Response:
    return Response(answer.status, answer.body, {**answer.headers, REPLAYED: "true"}, answer.content_type)


def _in_flight() -> Problem:
    return Problem(409, "idempotency_key_in_flight", "The first request with this Idempotency-Key is under way.", retry_after_seconds=1)
