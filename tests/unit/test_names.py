"""Names: what is not seen is refused wherever it isn't needed, and what people write is taken. Held against what Unicode calls things."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_service.errors import Problem
from py_service.permissions.text import NAME_CHARACTERS_MAX, clean_email, clean_name, spelled_email

# By their names in Unicode, not by their numbers: the service has the numbers. (Gap fillers and line fillers are punctuation, and seen.)
UNSEEN_NAMES = re.compile(r"VARIATION SELECTOR|(?<!GAP )(?<!LINE )FILLER|GRAPHEME JOINER|PATTERN BLANK|NULL NOTEHEAD|VOWEL INHERENT")
UNSEEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

ZWNJ, ZWJ, TEXT, EMOJI = "\u200c", "\u200d", "\ufe0e", "\ufe0f"
# Latin, Persian (also behind a mark); Devanagari, Malayalam (a joiner ends the word); Bengali, Sinhala; emoji; Chinese, Korean, Braille.
WRITTEN = [
    "Ada Lovelace", "\u00c9lodie d'Arc", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0628\u0651\u200c\u0628",
    "\u0915\u094d\u200d\u0937", "\u0915\u094d\u200c\u0937", "\u0d05\u0d35\u0d28\u0d4d\u200d",
    "\u09b0\u200d\u09cd\u09af\u09be\u09ac", "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "\u2764\ufe0f", "\u2764\ufe0e", "\u203c\ufe0f", "\u2139\ufe0f", "1\ufe0f\u20e3", "Room #\ufe0f\u20e3", "\U0001f44d\U0001f3fd",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f9d1\U0001f3fd\u200d\U0001f680",
    "\U0001f441\ufe0f\u200d\U0001f5e8\ufe0f", "\U0001f642\u200d\u2194\ufe0f", "\u5ddd\u5cf6", "\ud55c\uae00", "\u2801\u2803",
]  # fmt: skip
DECEIVING = [
    *(f"A{unseen}da" for unseen in (ZWJ, ZWNJ, EMOJI, TEXT, "\ufe00", "\U000e0100", "\u034f", "\u115f", "\u3164", "\uffa0", "\u2800")),
    *(f"{unseen}{unseen}" for unseen in (ZWJ, ZWNJ, EMOJI, "\u3164", "\u2800", "\u1160", "\u180b")),
    f"Ada{ZWJ}", f"{ZWNJ}Ada", f"Ada {EMOJI}", f"1{EMOJI}", f"\U0001f469{ZWJ}", f"\U0001f469{ZWJ}a", f"\U0001f469{ZWJ}{ZWJ}\U0001f469",
    f"\u2764{EMOJI}{EMOJI}", f"\u0645{ZWNJ}{ZWNJ}\u0645", f"\u0645{ZWNJ}", f"\u0915{ZWJ}\u0915", f"\u0915\u094d{ZWJ}{ZWJ}",
    f"\u5ddd{EMOJI}", f"\U0001f469{ZWNJ}\U0001f469", f"{ZWJ}\u094d", "\u0915\u094d\u034f", f" {ZWJ}\u094d",
    f"a {ZWJ}\u094d", f"\u0915\u094d{ZWJ}{ZWJ}\u094d", f"\u2764{EMOJI}{ZWJ}\u094d",
]  # fmt: skip


def taken(name: str) -> bool:
    try:
        clean_name(name)
    except Problem as problem:
        assert (problem.status, problem.code) == (422, "name_invalid")
        return False
    return True


@pytest.mark.parametrize("name", WRITTEN)
def test_what_people_write_is_taken_as_it_is(name: str) -> None:
    assert clean_name(f" {name} ") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", DECEIVING)
def test_what_would_look_like_another_name_or_like_none_is_refused(name: str) -> None:
    assert not taken(name)


def test_no_character_that_is_not_seen_is_taken_between_letters() -> None:
    """Every character that has a name, or is a control character, between two letters that need nothing of the kind."""
    wrong = [
        f"{code:04X} {unicodedata.name(character, '')}"
        for code in range(0x110000)
        if (category := unicodedata.category(character := chr(code))) not in ("Cn", "Co", "Cs")
        and taken(f"a{character}b") != (category not in UNSEEN_CATEGORIES and not UNSEEN_NAMES.search(unicodedata.name(character, "")))
    ]
    assert wrong == []


# One of each part that is judged differently; the oracle knows what they are, not how the service tells.
SYMBOLS, TONE, ARABIC, MARK, INDIC, VIRAMA = (
    "\u2764\U0001f469\u2194\u203c",
    "\U0001f3fd",
    "\u0645\u06cc",
    "\u0651",
    "\u0915\u0d28",
    "\u094d\u0d4d",
)
PARTS = [*SYMBOLS, TONE, *ARABIC, MARK, *INDIC, *VIRAMA, "a", "1", "\u20e3", " ", "\u5ddd", ZWNJ, ZWJ, TEXT, EMOJI, "\u3164", "\ufe00"]
SYMBOL, SELECTOR = f"[{SYMBOLS}{TONE}]", f"[{TEXT}{EMOJI}]"
NEEDED = re.compile(
    "(?:"
    f"{SYMBOL}{SELECTOR}?(?:{ZWJ}(?={SYMBOL}))?"
    f"|1{SELECTOR}\u20e3"
    f"|[{VIRAMA}][{ZWNJ}{ZWJ}]?"
    f"|[{ARABIC}{MARK}{INDIC}a][{ZWNJ}{ZWJ}](?=[{VIRAMA}])"
    f"|[{ARABIC}]{MARK}*[{ZWNJ}{ZWJ}](?={MARK}*[{ARABIC}])"
    f"|[^{ZWNJ}{ZWJ}{TEXT}{EMOJI}\u3164\ufe00]"
    ")+"
)


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join))
@settings(max_examples=1_500, derandomize=True, database=None, deadline=None)
def test_a_name_is_taken_where_it_is_made_of_what_is_seen_and_what_that_needs(name: str) -> None:
    assert taken(name) == (NEEDED.fullmatch(unicodedata.normalize("NFC", name).strip()) is not None)


@given(st.text(max_size=NAME_CHARACTERS_MAX))
def test_a_name_that_was_taken_is_taken_again_as_it_is(text: str) -> None:
    if taken(text):
        assert clean_name(clean_name(text)) == clean_name(text)


def test_an_address_is_ascii_as_it_was_sent() -> None:
    """A character whose lower case is ASCII (U+212A, KELVIN SIGN) makes another address of it, that somebody else may have."""
    becoming = [character for character in map(chr, range(0x80, 0x110000)) if character.lower().isascii()]
    assert "\u212a" in becoming
    for character in becoming:
        for address in (f"a@ex{character}ample.test", f"{character}a@example.test", f"a@example.{character}test"):
            with pytest.raises(Problem) as refused:
                clean_email(address)
            assert refused.value.code == "email_invalid"
            assert not spelled_email(address).isascii()  # nor does it sign in, or find anybody
    assert clean_email(" Ada.Lovelace@Example.TEST ") == "ada.lovelace@example.test"
