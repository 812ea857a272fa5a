"""HTTP operations of the unlock room: decode, one call, encode."""

from __future__ import annotations

import re
import time

from py_service.errors import Problem
from py_service.exchange import Request, Response, Route, decoded, encoded, key_of, moment
from py_service.unlock.attempt import Replay
from py_service.unlock.messages import REFUSED, UNLOCK_BODY, UNLOCKED, UNLOCKED_FAILED, AttemptAnswer, Phase
from py_service.unlock.operations import READ, UNLOCK
from py_service.unlock.recall import RecallAttempt, Recalled, Repeats
from py_service.unlock.request import Finished, RequestUnlock

WAIT_SECONDS_MAX = 10
_WAIT = re.compile(r"wait=([0-9]{1,3})\Z")


class UnlockHandlers:
    """The routes of the unlock room."""

    def __init__(self, unlock: RequestUnlock, recall: RecallAttempt) -> None:
        self._unlock = unlock
        self._recall = recall
        self._repeats = Repeats()

    def routes(self) -> list[Route]:
        """The unlock isn't fenced at the edge: its commit group is."""
        return [
            Route(
                "POST",
                "/v1/doors/{door}/unlock",
                self.unlock,
                fenced=False,
                body_bytes_max=4_096,
                own_key=True,
                own_quota="unlock",
                about=UNLOCK,
            ),
            Route("GET", "/v1/attempts/{attempt}", self.read, body_bytes_max=0, about=READ),
        ]

    async def unlock(self, request: Request) -> Response:
        """POST /v1/doors/{door}/unlock"""
        authenticated_ns = time.perf_counter_ns()
        door = request.parameters["door"]
        wait_seconds = wait_of(request.headers.get("prefer"))
        key = key_of(request.headers.get("idempotency-key"))
        try:
            finished = await self._unlock(request.person(), door, wait_seconds, key, pin_of(request.body))
        except Replay as replay:
            self._repeats.check(replay, door)
            return _recalled(await self._recall.of_event(replay.event, replay.identifier, wait_seconds))
        answer = _answer(finished, _phases(request.received_ns, authenticated_ns, finished))
        return _respond(answer)

    async def read(self, request: Request) -> Response:
        """GET /v1/attempts/{attempt}"""
        recalled = await self._recall.by_id(request.caller(), request.parameters["attempt"])
        return encoded(200, _recalled_answer(recalled))


def pin_of(body: bytes) -> str | None:
    """The PIN of the body, which most requests don't have. Raises Problem 400."""
    return decoded(UNLOCK_BODY, body).pin if body else None


def wait_of(prefer: str | None) -> int:
    """Seconds of `Prefer: wait=n` (RFC 7240); 0 without it. Other preferences are ignored, as the RFC wants. Raises Problem 400."""
    if prefer is None:
        return 0
    for part in prefer.split(","):
        preference = part.partition(";")[0].replace(" ", "")
        if not preference.lower().startswith("wait="):
            continue
        match = _WAIT.match(preference.lower())
        if match is None or int(match[1]) > WAIT_SECONDS_MAX:
            raise Problem(400, "header_invalid", f"Prefer: wait takes 0 to {WAIT_SECONDS_MAX} seconds.")
        return int(match[1])
    return 0


def _phases(received_ns: int, authenticated_ns: int, finished: Finished) -> list[Phase]:
    outcome = finished.outcome
    commit = finished.attempt.recorded
    allowed = finished.attempt.allowed

    def phase(name: str, at_ns: int, ok: bool = True, reason: str | None = None) -> Phase:
        return Phase(phase=name, ok=ok, reason=reason, milliseconds=round((at_ns - received_ns) / 1e6, 3))

    refusal = None if allowed else outcome.reason
    phases = [
        phase("authenticated", authenticated_ns),
        phase("authorized", finished.authorized_ns, allowed, refusal),
        phase("committed", commit.committed_ns),
    ]
    if finished.commanded_ns is not None:
        unsent = outcome.state == UNLOCKED_FAILED and finished.finished_ns is None
        phases.append(phase("commanded", finished.commanded_ns, not unsent, outcome.reason if unsent else None))
    if finished.finished_ns is not None and outcome.final:
        phases.append(phase("unlocked", finished.finished_ns, outcome.state == UNLOCKED, outcome.reason))
    return phases


def _answer(finished: Finished, phases: list[Phase]) -> AttemptAnswer:
    attempt, commit, decision = finished.attempt, finished.attempt.recorded, finished.attempt.ruling
    return AttemptAnswer(
        id=commit.identifier,
        door=attempt.door,
        person=attempt.person,
        state=finished.outcome.state,
        reason=finished.outcome.reason,
        rule=decision.rule,
        revision=decision.revision,
        decided_at=moment(commit.at_ms),
        expires_at=moment(attempt.expires_at_ms) if decision.allowed else None,
        phases=phases,
    )


def _recalled_answer(recalled: Recalled) -> AttemptAnswer:
    event = recalled.event
    rule = event.get("rule")
    return AttemptAnswer(
        id=recalled.identifier,
        door=str(event["door"]),
        person=str(event["person"]),
        state=recalled.outcome.state,
        reason=recalled.outcome.reason,
        rule=None if rule is None else str(rule),
        revision=int(event["revision"]),
        decided_at=moment(event["at"]),
        expires_at=None if recalled.outcome.state == REFUSED else moment(recalled.expires_at_ms),
        phases=[],
    )


def _recalled(recalled: Recalled) -> Response:
    response = _respond(_recalled_answer(recalled))
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _respond(answer: AttemptAnswer) -> Response:
    if answer.state == REFUSED:
        members: dict[str, object] = {
            "id": answer.id, "door": answer.door, "state": answer.state, "revision": answer.revision, "rule": answer.rule,
            "phases": answer.phases,
        }  # fmt: skip
        raise Problem(403, answer.reason or "no_grant", "The door stays shut.", members=members)
    return encoded(200 if answer.state in (UNLOCKED, UNLOCKED_FAILED) else 202, answer)
