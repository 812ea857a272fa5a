"""Text that people type: names and e-mail addresses, in one normal form, without characters that deceive."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from py_service.errors import Problem

NAME_CHARACTERS_MAX = 200
EMAIL_CHARACTERS_MAX = 254  # RFC 5321, 4.5.3.1.3
# A dot-atom of 64 characters at most, and host names (RFC 5321, 4.1.2 and 4.5.3.1.1; RFC 1123, 2.1). Nothing else that RFC 5322 knows:
# a comma, a comment or angle brackets make another address of it where a mail is addressed.
_LOCAL = re.compile(r"(?=.{1,64}\Z)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# What turns the reading direction, joins or is not seen: a name with them can look like another (Unicode TR 36, 3.3).
_FORBIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Of categories that are written else: fillers, blanks, vowels and selectors of which nothing is seen.
_UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U00016fe4\U0001d159"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
# What is not seen and yet needed to write some scripts and emoji: taken where it does that, and nowhere else.
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_AS_TEXT, _AS_EMOJI = "\ufe0e", "\ufe0f"
_KEYCAP = "\u20e3"
_EMOJI_OF_OTHER_CATEGORIES = frozenset("\u203c\u2049\u2139\u3030\u303d") | frozenset(map(chr, range(0x1F3FB, 0x1F400)))  # and skin tones
_VIRAMA_CLASS = 9  # the canonical combining class of what joins consonants in Indic scripts


def spelled_name(text: str) -> str:
    """As a name is stored and compared, if it is one."""
    return unicodedata.normalize("NFC", text).strip()


def clean_name(text: str, field: str = "name") -> str:
    """NFC, without spaces around it. Raises Problem 422 `name_invalid`."""
    name = spelled_name(text)
    if not name:
        raise Problem(422, "name_invalid", f"{field} is empty.")
    if len(name) > NAME_CHARACTERS_MAX:
        raise Problem(422, "name_invalid", f"{field} is longer than {NAME_CHARACTERS_MAX} characters.")
    for at, character in enumerate(name):
        unseen = character in _UNSEEN or unicodedata.category(character) in _FORBIDDEN_CATEGORIES
        if unseen and not _is_needed(name, at):
            raise Problem(422, "name_invalid", f"{field} has a character that is not seen or changes the reading direction.")
    return name


def clean_names(document: dict[str, Any], sent: Collection[str], fields: Collection[str] = ("name",)) -> None:
    """Those of `fields` that were sent, in normal form: one that is stored was good when it was. Raises Problem 422 `name_invalid`."""
    for field in fields:
        if field in sent and isinstance(document.get(field), str):
            document[field] = clean_name(document[field], field)


def _is_needed(name: str, at: int) -> bool:
    """Whether what isn't seen at this place changes how its neighbours are written.

    Without it a joiner in a Latin name, or a selector behind a letter, would make two names of what looks like one.
    """
    character, before, after = name[at], name[:at], name[at + 1 :]
    if not before:
        return False
    if character in (_AS_TEXT, _AS_EMOJI):
        return _is_symbol(before[-1]) or (before[-1] in "0123456789#*" and after.startswith(_KEYCAP))
    if character == _JOINER and after and _is_symbol(before.rstrip(_AS_TEXT + _AS_EMOJI)[-1:]) and _is_symbol(after[0]):
        return True
    if character not in (_JOINER, _NON_JOINER):
        return False
    if unicodedata.combining(before[-1]) == _VIRAMA_CLASS:  # also at the end of a word, where Malayalam has it (RFC 5892, A.1 and A.2)
        return True
    if unicodedata.combining(after[:1] or " ") == _VIRAMA_CLASS:  # Bengali and Kannada keep a ra whole so
        return unicodedata.category(before[-1])[0] in "LM" and before[-1] not in _UNSEEN
    return _is_arabic(_letter(reversed(before))) and _is_arabic(_letter(after))


def _is_symbol(character: str) -> bool:
    return character in _EMOJI_OF_OTHER_CATEGORIES or (character != "" and unicodedata.category(character) in ("So", "Sm"))


def _letter(characters: Iterable[str]) -> str:
    """The first that isn't a mark upon another."""
    return next((character for character in characters if unicodedata.category(character) != "Mn"), " ")


def _is_arabic(character: str) -> bool:
    """A letter of Arabic and of the scripts that join as it does."""
    return unicodedata.bidirectional(character) == "AL"


def spelled_email(text: str) -> str:
    """As an address is stored and compared, if it is one. Only ASCII is put in lower case: U+212A (KELVIN SIGN) would become a plain k."""
    spelled = text.strip()
    return spelled.lower() if spelled.isascii() else spelled


def clean_email(text: str) -> str:
    """Lower case, ASCII only: addresses that look alike are then the same, or refused. Raises Problem 422 `email_invalid`.

    A domain in another script is given in its ASCII form (RFC 5891).
    """
    email = spelled_email(text)
    local, at, domain = email.rpartition("@")
    labels = domain.split(".")
    plausible = at and len(labels) > 1 and len(email) <= EMAIL_CHARACTERS_MAX and email.isascii()
    if not plausible or not _LOCAL.fullmatch(local) or not all(_LABEL.fullmatch(label) for label in labels):
        raise Problem(422, "email_invalid", "This is not an e-mail address that is taken here: ASCII, name@domain.")
    return email
