"""A history: one record for each operation on access, in the manner of Jepsen: who asked, when it began and ended, what came of it.

All moments are nanoseconds of this machine's monotonic clock. What doesn't live here: what a history proves (history_checker.py).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

Kind = Literal["give", "take", "ask"]
Outcome = Literal["ok", "fail", "unknown"]
Decision = Literal["granted", "refused"]

# A group is committed within 2 s of its T, or by a process that stood still meanwhile (nemesis.py: 2.6 s) and whose grants come to nothing.
DECIDED_NS_MAX = 5_000_000_000
DECIDED: dict[str, Decision] = {"authorized": "granted", "authorized.failed": "refused"}


class Operation(msgspec.Struct, frozen=True):
    """`cell`: one person's access in one way to one thing; operations on different cells have nothing to do with each other.

    `give` and `take` change the cell, `ask` reads it. `ok`: it took effect, or was decided. `fail`: it certainly had no effect.
    `unknown`: nobody heard how it ended (an error, a lost connection); `completed_ns` is None then. `answered`: it was an error, and what
    the answer promises is that no bolt moves on it. `decision` is of an ask that is ok, or of one that heard nothing and that the journal
    knows (`completed_ns` is when it was decided at the latest); `command` is what a lock would get. `effective_by_ns` is of a take that is
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
    answered: bool = False


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

    def with_journal(
        self, events: Mapping[str, Mapping[str, Any]], moves: Iterable[Moved] = (), refusals: Mapping[str, frozenset[str]] | None = None
    ) -> list[Operation]:
        """The operations, with the decision of each ask whose answer was lost and that the journal knows all the same.

        `events` by id. It was decided between its T (the event's `at`) and whichever came first: the first move of a bolt on it, or
        `DECIDED_NS_MAX` after T. One that no answer told belongs to the first ask of its person that heard nothing and was invoked
        before it; when a bolt moved on it, only to one that has had no answer at all: whoever was told that nothing was commanded must
        be right. `refusals`: the reasons of each way that speak of access; others say nothing about it.
        """
        first_moves: dict[str, int] = {}
        for move in moves:
            first_moves[move.command] = min(move.at_ns, first_moves.get(move.command, move.at_ns))
        known = {operation.command for operation in self.operations if operation.command is not None}
        untold: dict[str, list[tuple[bool, int, str]]] = defaultdict(list)
        for name, event in events.items():
            if event["kind"] in DECIDED and name not in known:
                untold[f"{event['org']}/{event['person']}"].append((name not in first_moves, event["at"], name))
        operations = sorted(self.operations, key=lambda one: one.invoked_ns)
        waiting: dict[str, list[int]] = defaultdict(list)
        for place, operation in enumerate(operations):
            if operation.kind == "ask" and operation.outcome == "unknown":
                organization, _, subject = operation.cell.split("/")
                waiting[f"{organization}/{subject}"].append(place)
        for person, found in untold.items():
            for unmoved, at_ms, name in sorted(found):
                asks = ((place, operations[place]) for place in waiting[person])
                fitting = [place for place, ask in asks if self.wall_ms(ask.invoked_ns) <= at_ms and (unmoved or not ask.answered)]
                if fitting:
                    waiting[person].remove(fitting[0])
                    operations[fitting[0]] = self._as_journaled(operations[fitting[0]], name, events[name], first_moves.get(name), refusals)
        return operations

    def _as_journaled(
        self,
        operation: Operation,
        command: str,
        event: Mapping[str, Any],
        moved_ns: int | None,
        refusals: Mapping[str, frozenset[str]] | None,
    ) -> Operation:
        decision, reason = DECIDED[event["kind"]], event.get("reason")
        if decision == "refused" and refusals is not None and reason not in refusals[way_of(operation.cell)]:
            return operation
        begins = self.moment_of(event["at"])
        ends = begins + DECIDED_NS_MAX if moved_ns is None else min(moved_ns, begins + DECIDED_NS_MAX)
        return msgspec.structs.replace(
            operation, invoked_ns=max(operation.invoked_ns, begins), completed_ns=ends, decision=decision, command=command, reason=reason
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
