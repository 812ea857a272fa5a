"""A history: one record for each operation on access, in the manner of Jepsen: who asked, when it began and ended, what came of it.

All moments are nanoseconds of this machine's monotonic clock. What doesn't live here: what a history proves (history_checker.py).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

Kind = Literal["give", "take", "ask"]
Outcome = Literal["ok", "fail", "unknown"]
Decision = Literal["granted", "refused"]

DECIDED: dict[str, Decision] = {"authorized": "granted", "authorized.failed": "refused"}


class Operation(msgspec.Struct, frozen=True):
    """`cell`: one person's access in one way to one thing; operations on different cells have nothing to do with each other.

    `give` and `take` change the cell, `ask` reads it. `ok`: it took effect, or was decided. `fail`: it certainly had no effect.
    `unknown`: nobody heard how it ended (an error, a lost connection); `completed_ns` is None then. `decision` is of an ask that is ok, or
    of one whose answer was lost and that the journal knows; `command` is what a lock would get. `effective_by_ns` is of a take that is
    ok: the moment after which no lock moves on what was before it.
    """

    cell: str
    process: str
    kind: Kind
    invoked_ns: int
    completed_ns: int | None
    outcome: Outcome
    decision: Decision | None = None
    reason: str | None = None
    command: str | None = None
    effective_by_ns: int | None = None


class Moved(msgspec.Struct, frozen=True):
    """A bolt that was drawn back on a command."""

    command: str
    at_ns: int


class History:
    """What happened, in the order in which it was written down; and the clock that it is written by."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._wall_ahead_ns = time.time_ns() - time.monotonic_ns()

    @staticmethod
    def now() -> int:
        return time.monotonic_ns()

    def moment_of(self, wall_ms: int) -> int:
        """A moment of the machine's wall clock, as one of this history."""
        return wall_ms * 1_000_000 - self._wall_ahead_ns

    def wall_ms(self, moment_ns: int) -> int:
        return (moment_ns + self._wall_ahead_ns) // 1_000_000

    def note(self, operation: Operation) -> None:
        self.operations.append(operation)

    def count(self, kind: Kind, outcome: Outcome | None = None, decision: Decision | None = None) -> int:
        return sum(
            operation.kind == kind and outcome in (None, operation.outcome) and decision in (None, operation.decision)
            for operation in self.operations
        )

    def reasons(self, way: str) -> Counter[str]:
        """Why asks in this way were refused."""
        return Counter(
            str(operation.reason) for operation in self.operations if operation.decision == "refused" and way_of(operation.cell) == way
        )

    def with_journal(self, events: Mapping[str, Mapping[str, Any]]) -> list[Operation]:
        """The operations, with the decision of each ask whose answer was lost and that the journal knows all the same.

        `events` by id. One that no answer told belongs to the first lost ask of its person that was invoked before it was decided: when
        that is the wrong one of several, the right one was invoked later, so that nothing is held against an ask that isn't its own.
        """
        known = {operation.command for operation in self.operations if operation.command is not None}
        untold: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name, event in events.items():
            if event["kind"] in DECIDED and name not in known:
                untold[f"{event['org']}/{event['person']}"].append((event["at"], name))
        for found in untold.values():
            found.sort(reverse=True)
        return [self._as_journaled(operation, untold, events) for operation in sorted(self.operations, key=lambda one: one.invoked_ns)]

    def _as_journaled(
        self, operation: Operation, untold: Mapping[str, list[tuple[int, str]]], events: Mapping[str, Mapping[str, Any]]
    ) -> Operation:
        organization, _, subject = operation.cell.split("/")
        waiting = untold.get(f"{organization}/{subject}")
        if operation.kind != "ask" or operation.outcome != "unknown" or not waiting or waiting[-1][0] < self.wall_ms(operation.invoked_ns):
            return operation
        _, command = waiting.pop()
        decision = DECIDED[events[command]["kind"]]
        return msgspec.structs.replace(operation, decision=decision, command=command, reason=events[command].get("reason"))

    def write(self, path: Path, moves: list[Moved]) -> None:
        """One line of JSON for each operation and each move, in the order of time, for whoever looks at what went wrong."""
        lines = [(operation.invoked_ns, msgspec.json.encode(operation)) for operation in self.operations]
        lines += [(move.at_ns, msgspec.json.encode(move)) for move in moves]
        path.write_bytes(b"\n".join(line for _, line in sorted(lines)) + b"\n")


def cell_of(organization: str, way: str, subject: str) -> str:
    return f"{organization}/{way}/{subject}"


def way_of(cell: str) -> str:
    return cell.split("/")[1]
