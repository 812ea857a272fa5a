"""The verb: ask for a door, and say honestly what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from py_service._core_rs import Claims, PermissionIndex
from py_service.errors import Problem, unknown
from py_service.stores.mongo import now_ms
from py_service.unlock.announcer import Announcer
from py_service.unlock.attempt import Attempt, Lanes, Outcome
from py_service.unlock.desk import Desk
from py_service.unlock.messages import REFUSED, UNCONFIRMED

DECIDE_SECONDS_MAX = 5.0
COMMAND_SECONDS_MAX = 2.0  # from the commit, so never before T + 2 s, when the announcer falls silent


@dataclass(slots=True)
class Finished:
    """An attempt, how it stands, and when each phase was over (perf_counter_ns)."""

    attempt: Attempt
    outcome: Outcome
    authorized_ns: int
    commanded_ns: int | None = None
    finished_ns: int | None = None


class RequestUnlock:
    """One per process."""

    def __init__(
        self,
        index: PermissionIndex,
        lanes: Lanes,
        current: Callable[[str], Awaitable[int]],
        announcer: Announcer,
        desk: Desk,
    ) -> None:
        self._index = index
        self._lanes = lanes
        self._current = current
        self._announcer = announcer
        self._desk = desk

    async def __call__(self, claims: Claims, door: str, wait_seconds: int, idempotency_key: str | None, pin: str | None) -> Finished:
        """Raises Problem (401, 404, 409, 503) and Replay."""
        started = time.monotonic()
        attempt = Attempt(
            self._index,
            claims,
            door,
            wait_seconds=wait_seconds,
            idempotency_key=idempotency_key,
            pin=pin,
            lanes=self._lanes,
            on_committed=self._after_commit,
        )
        if attempt.key is None:
            return await self._run(attempt, started)
        if not self._desk.begin(attempt.key):
            raise Problem(409, "idempotency_key_in_flight", "A request with this Idempotency-Key is under way.", retry_after_seconds=1)
        try:
            return await self._run(attempt, started)
        finally:
            self._desk.end(attempt.key)

    async def _run(self, attempt: Attempt, started: float) -> Finished:
        await self._judge(attempt)
        authorized_ns = time.perf_counter_ns()
        attempt.join()
        await self._decided(attempt)
        if not attempt.allowed:
            return Finished(attempt, Outcome(REFUSED, attempt.ruling.reason), authorized_ns)
        finished = Finished(attempt, await self._commanded(attempt), authorized_ns)
        finished.commanded_ns = time.perf_counter_ns()
        if finished.outcome.final or attempt.wait_seconds == 0:
            return finished
        left = attempt.wait_seconds - (time.monotonic() - started)
        finished.outcome = await _within(attempt.outcome, max(0.0, left))
        finished.finished_ns = time.perf_counter_ns()
        return finished

    async def _judge(self, attempt: Attempt) -> None:
        if attempt.judge(now_ms()) and attempt.door_is_unknown:
            # Memory may not know a door that was made a moment ago: ask the store before saying so.
            await self._current(attempt.organization)
            if attempt.judge(now_ms()) and attempt.door_is_unknown:
                raise unknown("door")
        if attempt.decided.done():
            await attempt.decided  # raises the 401

    async def _decided(self, attempt: Attempt) -> None:
        try:
            await asyncio.wait_for(attempt.decided, DECIDE_SECONDS_MAX)
        except TimeoutError:
            # wait_for has cancelled the future: the attempt counts as answered and never joins a group again.
            raise Problem(503, "outcome_unknown", "The decision took too long; nothing was commanded.", retry_after_seconds=1) from None

    async def _commanded(self, attempt: Attempt) -> Outcome:
        """`unconfirmed` only when a command may be out."""
        await asyncio.wait([attempt.commanded], timeout=COMMAND_SECONDS_MAX)
        self._announcer.withdraw(attempt)
        return attempt.commanded.result() if attempt.commanded.done() else Outcome(UNCONFIRMED)

    def _after_commit(self, attempt: Attempt) -> None:
        """Called by the committer, once the decision is in the store."""
        commit = attempt.recorded
        self._announcer.event(commit.identifier, attempt.event(commit.at_ms, commit.identifier))
        if attempt.allowed:
            self._desk.add(attempt)
            self._announcer.command(attempt)


async def _within(future: asyncio.Future[Outcome], seconds: float) -> Outcome:
    """The outcome, or `unconfirmed`: the future stays, somebody may still ask."""
    done, _ = await asyncio.wait([future], timeout=seconds)
    return future.result() if done else Outcome(UNCONFIRMED)
