"""The headers of an unlock: Prefer (RFC 7240) and Idempotency-Key; and the cursor of the events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_service.errors import Problem
from py_service.events.list import make_cursor, read_cursor
from py_service.exchange import key_of
from py_service.journal.event import event_id, parse_event_id
from py_service.paging import read_limit
from py_service.unlock.handlers import wait_of


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [(None, 0), ("wait=2", 2), ("respond-async, wait=3", 3), ("Wait = 4", 4), ("wait=0", 0), ("wait=10;x=y", 10), ("return=minimal", 0)],
)
def test_wait_is_read_from_prefer(prefer: str | None, seconds: int) -> None:
    assert wait_of(prefer) == seconds


@pytest.mark.parametrize("prefer", ["wait=11", "wait=-1", "wait=1.5", "wait=", "wait=\u0663", "wait=9999"])
def test_a_wait_that_is_none_is_refused(prefer: str) -> None:
    with pytest.raises(Problem) as refused:
        wait_of(prefer)
    assert refused.value.code == "header_invalid"


@pytest.mark.parametrize("key", ["", "a b", "\x00", "é", "x" * 129, "a\n"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(Problem):
        key_of(key)


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128))
def test_every_visible_key_is_taken(key: str) -> None:
    assert key_of(key) == key


@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_a_cursor_comes_back(position: int) -> None:
    assert read_cursor(make_cursor(position)) == position


@given(st.text(max_size=80))
def test_any_text_as_a_cursor_is_a_position_or_refused(text: str) -> None:
    try:
        assert 0 <= read_cursor(text) < 10**12
    except Problem as problem:
        assert problem.code == "cursor_invalid"


@given(st.text(max_size=8))
def test_any_text_as_a_limit_is_bounded_or_refused(text: str) -> None:
    try:
        assert 1 <= read_limit(text) <= 200
    except Problem as problem:
        assert problem.code == "query_invalid"


@given(st.integers(1, 10**12 - 1), st.integers(0, 255))
def test_an_event_id_comes_back(seq: int, index: int) -> None:
    name = parse_event_id(event_id("unlocks-00ff", seq, index))
    assert name is not None
    assert (name.log, name.seq, name.index) == ("unlocks-00ff", seq, index)


@given(st.text(max_size=120))
def test_any_text_as_an_event_id_is_refused_or_read(text: str) -> None:
    name = parse_event_id(text)
    assert name is None or event_id(name.log, name.seq, name.index) == text
