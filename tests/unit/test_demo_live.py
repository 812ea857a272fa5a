"""What the demonstration's terminal says: when the bolt moved, how long each phase took, and what fits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from py_service.demo.answers import follow_answers, phase_milliseconds
from py_service.demo.feed import FeedEvent
from py_service.demo.live import Rows
from py_service.demo.tables import Tables
from py_service.simulators.answer_line import AnswerLine, encode_answer
from py_service.simulators.phone import Phase, UnlockAnswer

NOW = 1_800_000_000_000


def answer(state: str = "unlocked", reason: str = "", until: int = 5) -> UnlockAnswer:
    names = ("authenticated", "authorized", "committed", "commanded", "unlocked")
    ends = zip(names, (0.5, 0.75, 6.0, 7.0, 19.5), strict=True)
    phases = [Phase(name, ok=True, milliseconds=end) for name, end in list(ends)[:until]]
    return UnlockAnswer(200, "log:000000000001:0", "front", state, reason, phases, 21.25)


def test_a_report_that_was_sent_again_says_when_the_bolt_moved_and_not_when_it_was_committed() -> None:
    rows = Rows({"front": "Front door"})
    rows.event(FeedEvent("authorized", NOW, id="a:1:0", door="front"))
    late = rows.event(FeedEvent("unlocked", NOW + 20_000, attempt="a:1:0", door="front", detail={"number": 1, "lock_at": NOW + 12}))
    assert late.took == "12 ms from decision to bolt"
    assert late.where == "Front door"


def test_a_lock_whose_clock_is_behind_gives_a_bound() -> None:
    rows = Rows({})
    for number, (committed, lock_at, took) in enumerate([(14, -30, 14), (20_000, -30, 970)]):
        rows.event(FeedEvent("authorized", NOW, id=f"a:{number}:0"))
        event = FeedEvent("unlocked", NOW + committed, attempt=f"a:{number}:0", detail={"lock_at": NOW + lock_at})
        assert rows.event(event).took == f"at most {took} ms from decision to bolt"


def test_an_end_without_the_locks_word_claims_no_time() -> None:
    rows = Rows({})
    rows.event(FeedEvent("authorized", NOW, id="a:1:0"))
    assert rows.event(FeedEvent("unlocked.failed", NOW + 7_000, attempt="a:1:0", reason="unconfirmed")).took == ""


def test_phases_are_told_by_what_each_took() -> None:
    took = phase_milliseconds(answer())
    assert took == {"authenticated": 0.5, "authorized": 0.25, "committed": 5.25, "commanded": 1.0, "unlocked": 12.5}
    assert list(phase_milliseconds(answer(until=3))) == ["authenticated", "authorized", "committed"]
    row = Rows({"front": "Front door"}).answer(AnswerLine(NOW, "Mei Tan", answer()))
    assert "Mei Tan" in row.plain() and "Front door" in row.plain() and "committed 5.2 ms" in row.plain()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (160, 50)])
def test_phases_and_the_newest_rows_fit_on_the_terminal(width: int, height: int) -> None:
    console = Console(width=width, height=height, force_terminal=True)
    tables = Tables(console)
    rows = Rows({"front": "Front door"})
    for number in range(30):
        tables.add(rows.event(FeedEvent("authorized", NOW + number, id=f"a:{number}:0", door="front", reason=f"reason-{number}")))
        tables.add(rows.answer(AnswerLine(NOW + number, f"Person-{number}", answer())))
    with console.capture() as captured:
        console.print(tables)
    shown = captured.get().rstrip("\n").split("\n")
    assert len(shown) < height
    newest = shown[-1]
    assert "00.029" in newest
    for took in ("0.5", "0.2", "5.2", "1.0", "12.5", "21.2"):
        assert took in newest, (took, newest)


async def test_answers_are_followed_as_they_are_appended(tmp_path: Path) -> None:
    log = tmp_path / "phones.log"
    log.write_text(encode_answer("of an earlier run", answer()) + "\n")
    seen: list[str] = []

    async def follow() -> None:
        async for line in follow_answers(log):
            seen.append(line.who)  # noqa: PERF401 - watched while it fills

    async def until_seen(*names: str) -> None:
        async with asyncio.timeout(5):
            while seen != list(names):  # noqa: ASYNC110 - what fills it is the code under test
                await asyncio.sleep(0.01)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    try:
        await until_appended(log, seen)
        first = len(seen)
        assert "of an earlier run" not in seen
        with log.open("a") as file:
            half = encode_answer("Mei", answer())
            file.write("not an answer\n" + half[:20])
            file.flush()
            file.write(half[20:] + "\n")
        await until_seen(*["mark"] * first, "Mei")
        log.write_text(encode_answer("new", answer()) + "\n")  # replaced, and shorter
        await until_seen(*["mark"] * first, "Mei", "new")
    finally:
        task.cancel()


async def until_appended(log: Path, seen: list[str]) -> None:
    """Marks the log until the follower has begun to read."""
    async with asyncio.timeout(5):
        while not seen:
            with log.open("a") as file:
                file.write(encode_answer("mark", answer()) + "\n")
            await asyncio.sleep(0.3)
