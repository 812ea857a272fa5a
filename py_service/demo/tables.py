"""The demonstration's two tables, as tall as the terminal allows: what happens at the doors, and what phones were told.

Rendering only; what stands in a row is decided in `live.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from py_service.demo.answers import PHASES

EVENTS_MAX = 18
ANSWERS_MAX = 8
ANSWERS_MIN = 2
FRAME_LINES = 9  # two titles, two heads (one of them may take two lines), two rules, a gap, and a line for the cursor
CLOCK_CHARACTERS = 12
FIGURE_CHARACTERS = 7
WIDE_CHARACTERS = 130
COLOURS = {"authorized": "cyan", "unlocked": "green", "door.state": "yellow", "report.unmatched": "bold red", "gap": "bold red"}


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event, as a person reads it. `took` is text with its unit, or empty."""

    clock: str
    kind: str
    who: str
    where: str
    reason: str
    took: str

    def plain(self) -> str:
        return f"{self.clock}  {self.kind:18} {self.who:22} {self.where:32} {self.reason:20} {self.took}".rstrip()


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """What one phone was told. `phases`: milliseconds that each took; `whole`: milliseconds of the call, as the phone felt it."""

    clock: str
    who: str
    where: str
    told: str
    phases: Mapping[str, float]
    whole: float

    def plain(self) -> str:
        phases = "  ".join(f"{name} {took:.1f} ms" for name, took in self.phases.items())
        return f"{self.clock}  {'phone':18} {self.who:22} {self.where:32} {self.told:20} {phases}  whole {self.whole:.1f} ms"


class Tables:
    """Takes rows; renders itself as often as it is asked to, by what fits then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._events: deque[EventRow] = deque(maxlen=EVENTS_MAX)
        self._answers: deque[AnswerRow] = deque(maxlen=ANSWERS_MAX)

    def add(self, row: EventRow | AnswerRow) -> None:
        if isinstance(row, EventRow):
            self._events.append(row)
        else:
            self._answers.append(row)

    def __rich__(self) -> Group:
        lines = max(self._console.height - FRAME_LINES, 2 * ANSWERS_MIN)
        answers = list(self._answers)[-max(min(ANSWERS_MAX, lines // 3), ANSWERS_MIN) :]
        events = list(self._events)[-max(lines - max(len(answers), ANSWERS_MIN), 1) :]
        return Group(_event_table(events), "", _answer_table(answers, wide=self._console.width >= WIDE_CHARACTERS))


def _table(title: str) -> Table:
    return Table(title=title, expand=True, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)


def _event_table(rows: list[EventRow]) -> Table:
    table = _table("Live: what happens at the doors")
    table.add_column("time", width=CLOCK_CHARACTERS)
    for column, ratio in (("event", 4), ("who", 4), ("where", 5), ("reason", 4), ("took", 7)):
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=ratio)
    for row in rows:
        table.add_row(row.clock, Text(row.kind, _colour(row.kind)), *map(Text, (row.who, row.where, row.reason, row.took)))
    return table


def _answer_table(rows: list[AnswerRow], *, wide: bool) -> Table:
    table = _table("Phones: what they were told, and the milliseconds that each phase took")
    table.add_column("time", width=CLOCK_CHARACTERS)
    for column in ("who", "where", "told"):
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1)
    for phase in (*PHASES, "whole"):
        heading = Text(phase, no_wrap=False, overflow="fold")  # two lines where a word is wider than its figures
        table.add_column(heading, no_wrap=True, justify="right", width=max(len(phase), FIGURE_CHARACTERS) if wide else FIGURE_CHARACTERS)
    for row in rows:
        took = (f"{row.phases[phase]:.1f}" if phase in row.phases else "-" for phase in PHASES)
        told = Text(row.told, "green" if row.told == "unlocked" else "red")
        table.add_row(row.clock, Text(row.who), Text(row.where), told, *took, f"{row.whole:.1f}")
    return table


def _colour(kind: str) -> str:
    return "red" if kind.endswith(".failed") else COLOURS.get(kind, "white")
