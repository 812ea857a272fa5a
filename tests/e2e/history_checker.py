"""Judges a history of access given, taken and asked for: every answer has to fit some order in which everything took effect at once.

Each operation takes effect at one moment between its invocation and its completion (linearizability of one cell, a register that holds
"granted" or "refused"). The rules are what that demands of one answer, given all others; they accept every history that has such an order.

* What takes effect before an answer explains it: a give (or take) explains "granted" ("refused") if it was invoked before the answer came.
* Evidence against it: a change to the contrary that had returned, or an answer to the contrary that somebody had, before it was asked.
* The answer stands if what explains it can have come after all the evidence. Before there is any, it may be what it likes.

A change whose outcome is unknown obliges nothing. If it took effect, then before the next change of the same cell that is ok: every
change of an organization counts its revision up in its transaction, so one that is under way when another commits is undone.
Changes of one cell are made one after the other by whoever writes the history.

Pure: no sockets, no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import accumulate

from tests.e2e.history import Decision, Moved, Operation

NEVER, ALWAYS = -(2**63), 2**63
VALUE: dict[str, Decision] = {"give": "granted", "take": "refused"}
CONTRARY: dict[Decision, Decision] = {"granted": "refused", "refused": "granted"}


@dataclass(slots=True)
class Verdict:
    """What breaks the promise.

    `stale`: granted although taken before it was asked. `withheld`: refused although given before it was asked. `late`: a bolt moved
    after `effective_by` of a take that came after all that could have allowed it. `unexplained`: a bolt moved, and nobody was granted
    that, or the journal has no grant of it, or says that it wasn't commanded. `repeated`: a bolt moved twice on one command. `bound`: how
    many answers there were that could only be one thing, by that thing.
    """

    stale: list[Operation] = field(default_factory=list)
    withheld: list[Operation] = field(default_factory=list)
    late: list[Moved] = field(default_factory=list)
    unexplained: list[Moved] = field(default_factory=list)
    repeated: list[Moved] = field(default_factory=list)
    bound: dict[Decision, int] = field(default_factory=lambda: {"granted": 0, "refused": 0})

    @property
    def holds(self) -> bool:
        return not (self.stale or self.withheld or self.late or self.unexplained or self.repeated)


class Cell:
    """What is known of one cell, arranged for asking."""

    def __init__(self, operations: list[Operation]) -> None:
        changes = [operation for operation in operations if operation.kind != "ask" and operation.outcome != "fail"]
        sure = sorted((change.invoked_ns, end) for change in changes if (end := change.completed_ns) is not None)
        self._sources = {value: _Sources([change for change in changes if VALUE[change.kind] == value], sure) for value in CONTRARY}
        self._evidence = {value: _Evidence(_known(operations, value)) for value in CONTRARY}
        self._takes = _Takes([change for change in changes if change.kind == "take" and change.outcome == "ok"])

    def possible(self, value: Decision, invoked_ns: int, completed_ns: int) -> bool:
        """Whether an ask in this time can have been answered so."""
        latest, sources = self._evidence[CONTRARY[value]].latest_before(invoked_ns), self._sources[value]
        return latest == NEVER or sources.reach_before(completed_ns) >= latest or sources.open_in(invoked_ns, completed_ns)

    def taken_for_good_by(self, decided_ns: int) -> int:
        """When the first take that came after all that can have allowed a decision of that moment was to hold of locks too."""
        return self._takes.effective_after(self._sources["granted"].reach_before(decided_ns))


class _Sources:
    """Changes to one value. `sure`: every change of the cell that is ok, as (invoked, completed), in order."""

    def __init__(self, changes: list[Operation], sure: list[tuple[int, int]]) -> None:
        spans: list[tuple[int, int]] = []
        self._open: list[tuple[int, int]] = []  # unknown ones: invoked, and when the next that is ok had returned
        for change in changes:
            reach = change.completed_ns
            if reach is None:
                following = bisect_left(sure, (change.invoked_ns, NEVER))
                begins, ends = sure[following] if following < len(sure) else (ALWAYS, ALWAYS)
                reach = begins - 1
                self._open.append((change.invoked_ns, ends))
            spans.append((change.invoked_ns, reach))
        spans.sort()
        self._invoked = [invoked for invoked, _ in spans]
        self._reach = list(accumulate((reach for _, reach in spans), max))

    def reach_before(self, moment: int) -> int:
        """The latest moment at which one of those invoked before can have taken effect, as far as changes that are ok are concerned."""
        found = bisect_left(self._invoked, moment)
        return self._reach[found - 1] if found else NEVER

    def open_in(self, invoked_ns: int, completed_ns: int) -> bool:
        """Whether an unknown one can have taken effect during this time, or just before."""
        return any(begins < completed_ns and invoked_ns <= ends for begins, ends in self._open)


class _Evidence:
    """What had certainly one value at some moment, as (completed, invoked)."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        spans.sort()
        self._completed = [completed for completed, _ in spans]
        self._invoked = list(accumulate((invoked for _, invoked in spans), max))

    def latest_before(self, moment: int) -> int:
        """The latest invocation among those that were completed before."""
        found = bisect_left(self._completed, moment)
        return self._invoked[found - 1] if found else NEVER


class _Takes:
    """Takes that are ok, by their invocation."""

    def __init__(self, takes: list[Operation]) -> None:
        takes.sort(key=lambda take: take.invoked_ns)
        self._invoked = [take.invoked_ns for take in takes]
        by = [ALWAYS if take.effective_by_ns is None else take.effective_by_ns for take in takes]
        self._effective = list(accumulate(reversed(by), min))[::-1]

    def effective_after(self, moment: int) -> int:
        """The earliest `effective_by` of those invoked after."""
        found = bisect_right(self._invoked, moment)
        return self._effective[found] if found < len(self._invoked) else ALWAYS


def _known(operations: list[Operation], value: Decision) -> list[tuple[int, int]]:
    return [
        (operation.completed_ns, operation.invoked_ns)
        for operation in operations
        if operation.completed_ns is not None and operation.outcome != "fail" and value in (operation.decision, VALUE.get(operation.kind))
    ]


def judge(operations: list[Operation], moves: list[Moved], commanded: Container[str] | None = None) -> Verdict:
    """Hold every answer against the rest of its cell, and every move against the answers and what the journal says was commanded."""
    verdict = Verdict()
    by_cell: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_cell[operation.cell].append(operation)
    cells = {name: Cell(found) for name, found in by_cell.items()}
    for ask in operations:
        if ask.kind != "ask" or ask.decision is None:
            continue
        cell, completed_ns = cells[ask.cell], ask.completed_ns or ALWAYS
        if not cell.possible(ask.decision, ask.invoked_ns, completed_ns):
            (verdict.stale if ask.decision == "granted" else verdict.withheld).append(ask)
        elif not cell.possible(CONTRARY[ask.decision], ask.invoked_ns, completed_ns):
            verdict.bound[ask.decision] += 1
    _judge_moves(verdict, operations, moves, cells, commanded)
    return verdict


def _judge_moves(
    verdict: Verdict, operations: list[Operation], moves: list[Moved], cells: dict[str, Cell], commanded: Container[str] | None
) -> None:
    asked = {operation.command: operation for operation in operations if operation.command is not None}
    moved: set[str] = set()
    for move in moves:
        ask = asked.get(move.command)
        if move.command in moved:
            verdict.repeated.append(move)
        moved.add(move.command)
        if ask is None or ask.decision != "granted" or (commanded is not None and move.command not in commanded):
            verdict.unexplained.append(move)
        elif move.at_ns > cells[ask.cell].taken_for_good_by(min(move.at_ns, ask.completed_ns or move.at_ns)):
            verdict.late.append(move)
