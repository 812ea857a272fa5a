"""Numbered reports: none is given twice, none is lost before `stored`, the first answer stays the answer; and when a lock comes back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_service.simulators.door import Move
from py_service.simulators.moves import MoveLog, read_moves
from py_service.simulators.reconnect import LAST_SECONDS, Reconnect
from py_service.simulators.reports import PENDING_MAX, RESEND_MS, ReportBook


def test_a_report_is_sent_again_after_three_seconds_until_it_is_stored() -> None:
    book = ReportBook(boot_ms=5)
    pending = book.keep(book.take_number(), "c1", b"signed")
    assert book.due(1_000) == [pending]
    pending.sent_at_ms = 1_000
    assert book.due(1_000 + RESEND_MS - 1) == []
    assert book.due(1_000 + RESEND_MS) == [pending]
    assert book.next_deadline_ms() == 1_000 + RESEND_MS
    assert book.stored(pending.number)
    assert book.due(99_999) == []
    assert not book.stored(pending.number)


def test_a_new_connection_sends_everything_pending_at_once() -> None:
    book = ReportBook(boot_ms=5)
    for name in ("c1", "c2"):
        book.keep(book.take_number(), name, b"signed").sent_at_ms = 1_000
    book.unsent()
    assert [item.command for item in book.due(1_001)] == ["c1", "c2"]


def test_without_a_file_a_later_boot_numbers_above_an_earlier_one() -> None:
    earlier, later = ReportBook(boot_ms=1_000), ReportBook(boot_ms=1_001)
    numbers = [earlier.take_number() for _ in range(999)]
    assert numbers[0] == 1_000_000
    assert later.take_number() > max(numbers)


@given(steps=st.lists(st.sampled_from(["take", "keep", "store", "restart"]), max_size=40))
def test_with_a_file_numbers_and_unstored_reports_survive_every_restart(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    path = tmp_path_factory.mktemp("lock") / "state.json"
    book, given_out, unstored = ReportBook(path, boot_ms=1), [], dict[int, bytes]()
    for step in steps:
        if step == "restart":
            book = ReportBook(path, boot_ms=0)  # a clock that went back does no harm
        elif step == "store" and unstored:
            number = next(iter(unstored))
            assert book.stored(number)
            del unstored[number]
        else:
            given_out.append(book.take_number())
            if step == "keep":
                unstored[given_out[-1]] = bytes([len(given_out)])
                book.keep(given_out[-1], None, unstored[given_out[-1]])
        assert {item.number: item.report for item in book.due(10**9)} == unstored
    assert len(set(given_out)) == len(given_out)


def test_a_full_book_lets_the_oldest_go_and_counts_it() -> None:
    book = ReportBook(boot_ms=0)
    for _ in range(PENDING_MAX + 2):
        book.keep(book.take_number(), None, b"signed")
    assert (len(book), book.dropped) == (PENDING_MAX, 2)
    assert book.due(0)[0].number == 2


def test_moves_are_on_disk_when_the_bolt_has_moved(tmp_path: Path) -> None:
    log = MoveLog(tmp_path / "moves")
    log.write("lock-1", 1_700, Move(12, "unlocked", "c1"))
    (line,) = read_moves(tmp_path / "moves")
    assert (line.lock, line.at_ms, line.what, line.command) == ("lock-1", 1_700, "unlocked", "c1")


@settings(deadline=None)  # a busy machine is not a defect
@given(st.randoms(use_true_random=False), st.integers(0, 60))
def test_pauses_grow_with_jitter_and_stay_bounded(chance: random.Random, failures: int) -> None:
    reconnect = Reconnect(chance)
    pauses = [reconnect.pause_seconds() for _ in range(failures + 1)]
    assert all(0.1 <= pause <= LAST_SECONDS for pause in pauses)
    assert 0.1 <= pauses[0] <= 0.2
    if failures > 8:
        assert pauses[-1] >= LAST_SECONDS / 2
    reconnect.worked()
    assert reconnect.pause_seconds() <= 0.2


@pytest.mark.parametrize(
    ("code", "reason", "seconds"),
    [(4007, "draining reconnect_after_ms=1234", 1.234), (4007, "reconnect_after_ms=999999", 60.0), (4010, "replaced", 10.0)],
)
def test_what_the_server_asks_for_goes_before_our_own_pause(code: int, reason: str, seconds: float) -> None:
    assert Reconnect().pause_seconds(code, reason) == seconds


def test_a_reconnect_time_under_another_code_is_not_obeyed() -> None:
    assert Reconnect().pause_seconds(1006, "reconnect_after_ms=9999") <= 0.2
