"""Passwords that are guessed first: the address or the name, one piece again and again, runs, and what many people take.

NIST SP 800-63B, 3.1.1.2, asks to hold a new password against those that are commonly used, and those of its context. Of twelve
characters, which one has at least, most in leaked lists are a common word with a year or a run behind it: so a word counts as one
character here, and a run as its first two. The words are our own choice of what stands at the top of every such list; a list of
millions is not kept.
"""

from __future__ import annotations

import re
from itertools import pairwise

from py_service.permissions.listing import folded

CHARACTERS_TO_GUESS_MIN = 6
PIECE_CHARACTERS_MIN = 12  # what is repeated is a password of its own
COMMON = (
    "nexkey", "1q2w3e4r", "abc123", "access", "account", "admin", "administrator", "arsenal", "autumn", "baseball", "batman",
    "changeit", "changeme", "charlie", "chelsea", "computer", "default", "dragon", "football", "freedom", "fuckyou", "geheim", "google",
    "guest", "hallo", "hello", "herbst", "iloveyou", "internet", "jordan", "letmein", "liverpool", "login", "master", "michael",
    "monkey", "ninja", "p@ssw0rd", "p@ssword", "passw0rd", "password", "passwort", "pokemon", "princess", "root", "schalke", "secret",
    "shadow", "sommer", "spring", "starwars", "summer", "sunshine", "superman", "system", "test", "trustno1", "user", "welcome",
    "whatever", "willkommen", "winter", "yellow",
)  # fmt: skip
ROWS = ("qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "yxcvbnm", "zxcvbnm", "1234567890")
_CONTEXT_CHARACTERS_MIN = 3  # a shorter part of a name is in many words
_YEAR = r"(?:19|20)[0-9]{2}"
_WORD = "\ue000"  # stands where a word stood
_RUNS = frozenset(way[at : at + 3] for row in ROWS for way in (row, row[::-1]) for at in range(len(row) - 2))


def is_guessable(password: str, email: str, name: str) -> bool:
    """`email` and `name` are those of who is to have it. Without case and width, as names are compared."""
    text, address, called = (folded(each).strip() for each in (password, email, name))
    if text in (address, address.partition("@")[0], called) or _repeats(text):
        return True
    context = [part for part in re.split(r"[\s@.]+", f"{address} {called}") if len(part) >= _CONTEXT_CHARACTERS_MIN]
    words = sorted({*COMMON, *context}, key=len, reverse=True)
    shortened = re.sub("|".join([*map(re.escape, words), _YEAR]), _WORD, text)
    following = sum(_follows(shortened[max(at - 2, 0) : at + 1]) for at in range(1, len(shortened)))
    return len(shortened) - following < CHARACTERS_TO_GUESS_MIN


def _repeats(text: str) -> bool:
    """Whether it is one piece at least twice, the last time perhaps only its beginning."""
    pieces = range(1, min(len(text) // 2, PIECE_CHARACTERS_MIN - 1) + 1)
    return any(text[piece:] == text[:-piece] for piece in pieces)


def _follows(beginning: str) -> bool:
    """Whether the last of these says nothing new: the same again, or a run of three, in the alphabet or on a keyboard."""
    if beginning[-1] == beginning[-2] or beginning in _RUNS:
        return True
    steps = {ord(other) - ord(one) for one, other in pairwise(beginning)}
    return len(beginning) == 3 and (steps == {1} or steps == {-1})
