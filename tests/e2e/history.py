"""A history: one record for each operation on access, in the manner of Jepsen: who asked, when it began and ended, what came of it.

All moments are nanoseconds of this machine's monotonic clock. What doesn't live here: what a history proves (history_checker.py).
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["give", "take", "ask"]
Outcome = Literal["ok", "fail", "unknown"]
Decision = Literal["granted", "refused"]


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

    def write(self, path: Path, moves: list[Moved]) -> None:
        """One line of JSON for each operation and each move, in the order of time, for whoever looks at what went wrong."""
        lines = [(operation.invoked_ns, msgspec.json.encode(operation)) for operation in self.operations]
        lines += [(move.at_ns, msgspec.json.encode(move)) for move in moves]
        path.write_bytes(b"\n".join(line for _, line in sorted(lines)) + b"\n")


def cell_of(organization: str, way: str, subject: str) -> str:
    return f"{organization}/{way}/{subject}"


def way_of(cell: str) -> str:
    return cell.split("/")[1]
