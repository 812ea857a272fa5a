"""Text that people type: names and e-mail addresses, in one normal form, without characters that deceive."""

from __future__ import annotations

import unicodedata

from py_service.errors import Problem

NAME_CHARACTERS_MAX = 200
EMAIL_CHARACTERS_MAX = 254  # RFC 5321, 4.5.3.1.3
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


def clean_email(text: str) -> str:
    """Lower case, ASCII only: addresses that look alike are then the same, or refused. Raises Problem 422 `email_invalid`.

    A domain in another script is given in its ASCII form (RFC 5891).
    """
    email = text.strip().lower()
    local, at, domain = email.rpartition("@")
    plausible = at and local and "@" not in local and "." in domain and not domain.startswith((".", "-")) and ".." not in email
    if not plausible or len(email) > EMAIL_CHARACTERS_MAX or not email.isascii() or not all(33 <= ord(letter) <= 126 for letter in email):
        raise Problem(422, "email_invalid", "This is not an e-mail address that is taken here: ASCII, name@domain.")
    return email
