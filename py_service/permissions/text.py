"""Text that people type: names and e-mail addresses, in one normal form, without characters that deceive."""

from __future__ import annotations

import re
import unicodedata

from py_service.errors import Problem

NAME_CHARACTERS_MAX = 200
EMAIL_CHARACTERS_MAX = 254  # RFC 5321, 4.5.3.1.3
# A dot-atom of 64 characters at most, and host names (RFC 5321, 4.1.2 and 4.5.3.1.1; RFC 1123, 2.1). Nothing else that RFC 5322 knows:
# a comma, a comment or angle brackets make another address of it where a mail is addressed.
_LOCAL = re.compile(r"(?=.{1,64}\Z)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# What turns the reading direction, joins or is not seen: a name with them can look like another (Unicode TR 36, 3.3).
_FORBIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # needed to write Persian and several Indic scripts


def clean_name(text: str, field: str = "name") -> str:
    """NFC, without spaces around it. Raises Problem 422 `name_invalid`."""
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise Problem(422, "name_invalid", f"{field} is empty.")
    if len(name) > NAME_CHARACTERS_MAX:
        raise Problem(422, "name_invalid", f"{field} is longer than {NAME_CHARACTERS_MAX} characters.")
    for character in name:
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES and character not in _JOINERS:
            raise Problem(422, "name_invalid", f"{field} has a character that is not seen or changes the reading direction.")
    return name


def spelled_email(text: str) -> str:
    """As an address is stored and compared, if it is one."""
    return text.strip().lower()


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
