"""The terminal while the demonstration runs: events as they come, with their reasons and how long each phase took.

On a terminal a table that moves (rich), otherwise plain lines. What doesn't live here: where the events come from (`feed.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from py_service.demo.feed import FeedEvent, FeedGap, follow_feed
from py_service.simulators.phone import Phone

ROWS = 18
ATTEMPTS_MAX = 512
COLOURS = {"authorized": "cyan", "unlocked": "green", "door.state": "yellow", "report.unmatched": "bold red", "gap": "bold red"}


@dataclass(frozen=True, slots=True)
class Line:
    """One event, as a person reads it. `took` is text with its unit, or empty."""

    clock: str
    kind: str
    who: str
    where: str
    reason: str
    took: str

    def plain(self) -> str:
        return f"{self.clock}  {self.kind:18} {self.who:22} {self.where:32} {self.reason:20} {self.took}".rstrip()


class EventLines:
    """Turns events into lines. Remembers when attempts were decided, to say how long the rest took."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._decided: OrderedDict[str, int] = OrderedDict()

    def line(self, event: FeedEvent | FeedGap) -> Line:
        if isinstance(event, FeedGap):
            return Line(time.strftime("%H:%M:%S"), "gap", "", "", event.reason, "")
        attempt = event.attempt or event.id or ""
        who = self._name(event.person or event.actor)
        where = self._name(event.door or event.subject or event.lock)
        reason = event.reason or str((event.detail or {}).get("state", ""))
        return Line(_clock(event.at), event.kind, who, where, reason, self._took(event, attempt))

    def _took(self, event: FeedEvent, attempt: str) -> str:
        if event.kind == "authorized":
            self._decided[attempt] = event.at
            while len(self._decided) > ATTEMPTS_MAX:
                self._decided.popitem(last=False)
            return f"seen {max(time.time_ns() // 1_000_000 - event.at, 0)} ms after the decision"
        if event.kind.startswith("unlocked") and (decided := self._decided.pop(attempt, None)) is not None:
            return f"{max(event.at - decided, 0)} ms from decision to bolt"
        return ""

    def _name(self, identifier: str | None) -> str:
        return "" if identifier is None else self._names.get(identifier, identifier)


async def show_live(api_url: str, gateway_url: str, email: str, password: str, names: Mapping[str, str], console: Console) -> None:
    """Until cancelled."""
    lines = EventLines(names)
    async with httpx.AsyncClient(base_url=api_url, timeout=5.0, trust_env=False) as http:
        events = follow_feed(Phone(http, email, password), gateway_url)
        if not console.is_terminal:
            async for event in events:
                console.print(lines.line(event).plain(), markup=False, highlight=False, soft_wrap=True)
            return
        shown: deque[Line] = deque(maxlen=ROWS)
        with Live(_table(shown), console=console, refresh_per_second=8) as live:
            async for event in events:
                shown.append(lines.line(event))
                live.update(_table(shown))
                await asyncio.sleep(0)  # a burst of events doesn't starve the supervisor


def _table(lines: deque[Line]) -> Table:
    table = Table(title="Live: what happens at the doors", expand=True, title_justify="left")
    for column in ("time", "event", "who", "where", "reason", "took"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for line in lines:
        colour = "red" if line.kind.endswith(".failed") else COLOURS.get(line.kind, "white")
        table.add_row(line.clock, f"[{colour}]{line.kind}[/]", line.who, line.where, line.reason, line.took)
    return table


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1_000)) + f".{at_ms % 1_000:03d}"
