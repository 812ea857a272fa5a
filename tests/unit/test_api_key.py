"""The form of API keys: what is made is read, and what was mistyped, cut or made up isn't."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_service.identity.api_key import CHARACTERS_MAX, make_key, read_key

IDENTIFIERS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=64)
KEY = "nxk_nordlicht.payroll.00000000000000000000000000000000000000000002CGYsZ"


def test_a_key_that_never_changes_is_read_as_ever() -> None:
    """Written down once: keys that are out there must be read by every later version."""
    read = read_key(KEY)
    assert read is not None
    assert (read.organization, read.key, read.subject) == ("nordlicht", "payroll", "api_key:payroll")
    assert read.secret_hash == hashlib.sha256(b"0" * 43).hexdigest()


@given(IDENTIFIERS, IDENTIFIERS)
def test_what_is_made_is_read(organization: str, key: str) -> None:
    text = make_key(organization, key)
    read = read_key(text)
    assert read is not None
    assert (read.organization, read.key) == (organization, key)
    assert read.secret_hash not in text
    assert len(text) <= CHARACTERS_MAX


def test_no_two_are_alike() -> None:
    assert len({make_key("acme", "k") for _ in range(1_000)}) == 1_000


@given(st.integers(0, len(KEY) - 1), st.sampled_from("0aZ.-_ \n\u0130"))
def test_one_other_character_is_no_key(place: int, character: str) -> None:
    changed = KEY[:place] + character + KEY[place + 1 :]
    assert (read_key(changed) is None) == (changed != KEY)


@pytest.mark.parametrize(
    "text", ["", "nxk_", KEY[:-1], KEY + "0", KEY + "\n", " " + KEY, KEY.upper(), KEY.replace(".", "", 1), "x" * 1_000_000]
)
def test_what_was_cut_is_no_key(text: str) -> None:
    assert read_key(text) is None


@given(st.text(max_size=CHARACTERS_MAX + 5))
def test_whatever_comes_is_read_or_not(text: str) -> None:
    assert read_key(text) is None
