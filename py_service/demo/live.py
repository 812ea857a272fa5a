"""The terminal while the demonstration runs: events as they come, with their reasons, and what phones were told, phase by phase.

On a terminal tables that move (`tables.py`), otherwise plain lines. What doesn't live here: where events (`feed.py`) and answers
(`answers.py`) come from.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.live import Live

from py_service.demo.answers import follow_answers, phase_milliseconds
from py_service.demo.feed import FeedEvent, FeedGap, follow_feed
from py_service.demo.tables import AnswerRow, EventRow, Tables
from py_service.simulators.answer_line import AnswerLine
from py_service.simulators.phone import Phone

ATTEMPTS_MAX = 512
LOCK_CLOCK_MS_MAX = 1_000  # a lock that is less sure of its time refuses

Row = EventRow | AnswerRow


@dataclass(frozen=True, slots=True)
class LiveSources:
    """Where what is shown comes from: the feed, as somebody who may see it, and the log of the phones."""

    api_url: str
    gateway_url: str
    email: str
    password: str = field(repr=False)
    phones_log: Path


class Rows:
    """Turns what comes into rows for people. Remembers when attempts were decided, to say when the bolt moved."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._decided: OrderedDict[str, int] = OrderedDict()

    def event(self, event: FeedEvent | FeedGap) -> EventRow:
        if isinstance(event, FeedGap):
            return EventRow(time.strftime("%H:%M:%S"), "gap", "", "", event.reason, "")
        attempt = event.attempt or event.id or ""
        who = self._name(event.person or event.actor)
        where = self._name(event.door or event.subject or event.lock)
        told = "passed back" if event.passed_back else str((event.detail or {}).get("state", ""))
        reason = event.reason or told
        return EventRow(_clock(event.at), event.kind, who, where, reason, self._took(event, attempt))

    def answer(self, line: AnswerLine) -> AnswerRow:
        answer = line.answer
        told = answer.reason if answer.reason and answer.reason != "granted" else answer.state
        return AnswerRow(_clock(line.at_ms), line.who, self._name(answer.door), told, phase_milliseconds(answer), answer.milliseconds)

    def _took(self, event: FeedEvent, attempt: str) -> str:
        if event.kind == "authorized":
            self._decided[attempt] = event.at
            while len(self._decided) > ATTEMPTS_MAX:
                self._decided.popitem(last=False)
            return f"seen {max(time.time_ns() // 1_000_000 - event.at, 0)} ms after the decision"
        if event.kind.startswith("unlocked") and (decided := self._decided.pop(attempt, None)) is not None:
            # When the lock acted, by its own word. The event's own time is that of its commit: much later after an outage.
            acted = (event.detail or {}).get("lock_at")
            if event.kind == "unlocked" and isinstance(acted, int):
                return _bolt_took(acted - decided, event.at - decided)
        return ""

    def _name(self, identifier: str | None) -> str:
        return "" if identifier is None else self._names.get(identifier, identifier)


async def show_live(sources: LiveSources, names: Mapping[str, str], console: Console) -> None:
    """Until cancelled."""
    rows = Rows(names)
    async with httpx.AsyncClient(base_url=sources.api_url, timeout=5.0, trust_env=False) as http:
        feed = follow_feed(Phone(http, sources.email, sources.password), sources.gateway_url)
        if not console.is_terminal:
            await _show(feed, sources.phones_log, rows, lambda row: _print(console, row.plain()))
            return
        tables = Tables(console)
        with Live(tables, console=console, refresh_per_second=8):
            await _show(feed, sources.phones_log, rows, tables.add)


async def _show(feed: AsyncIterator[FeedEvent | FeedGap], phones_log: Path, rows: Rows, show: Callable[[Row], None]) -> None:
    """Until the feed ends."""

    async def answers() -> None:
        async for line in follow_answers(phones_log):
            show(rows.answer(line))

    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(answers())
        async for event in feed:
            show(rows.event(event))
            await asyncio.sleep(0)  # a burst of events doesn't starve the supervisor
        beside.cancel()


def _bolt_took(lock_ms: int, told_ms: int) -> str:
    """Both since the decision. A lock's clock may be behind; then only a bound can be said."""
    if lock_ms > 0:
        return f"{lock_ms} ms from decision to bolt"
    return f"at most {max(min(told_ms, lock_ms + LOCK_CLOCK_MS_MAX), 0)} ms from decision to bolt"


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1_000)) + f".{at_ms % 1_000:03d}"
