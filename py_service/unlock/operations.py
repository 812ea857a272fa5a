"""What is told of the unlock room's operations: the API's document is made from it."""

from __future__ import annotations

from py_service.exchange import Operation
from py_service.unlock.messages import REFUSALS, AttemptAnswer, RefusedAttempt, UnlockBody


def _phase(name: str, milliseconds: float, reason: str | None = None) -> dict[str, object]:
    return {"phase": name, "ok": reason is None, "reason": reason, "milliseconds": milliseconds}


_DECIDED = [_phase("authenticated", 0.214), _phase("authorized", 0.3), _phase("committed", 4.217)]
UNLOCK = Operation(
    "Open a door", "Unlock", {200: AttemptAnswer, 202: AttemptAnswer}, UnlockBody, body_needed=False, example={"pin": "4711"},
    headers=("Idempotency-Key", "Prefer"),
    codes=(
        *(f"403 {reason}" for reason in REFUSALS), "409 conflict", "409 idempotency_key_in_flight", "422 idempotency_key_reused",
        "503 outcome_unknown",
    ),
    members={403: RefusedAttempt},
    shows={
        200: {"state": "unlocked", "reason": None, "phases": [*_DECIDED, _phase("commanded", 6.108), _phase("unlocked", 412.75)]},
        202: {"state": "commanded", "reason": None, "phases": [*_DECIDED, _phase("commanded", 6.108)]},
        403: {
            "code": "outside_schedule", "rule": "night-shift",
            "phases": [_phase("authenticated", 0.214), _phase("authorized", 0.3, "outside_schedule"), _phase("committed", 4.217)],
        },
    },
    detail="200 when the outcome is known, 202 while it isn't; what each `state` means is in docs/protocols/http.md. A refusal says why.",
)  # fmt: skip
READ = Operation(
    "Read an attempt and its latest outcome", "Unlock", {200: AttemptAnswer}, api_keys=True, shows={200: {"reason": None, "phases": []}}
)
