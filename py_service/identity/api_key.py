"""The form of an API key: `nxk_<organization>.<key>.<secret><checksum>`.

The secret is 43 characters of base62 (256 random bits), the checksum 6: the CRC-32 of all before it, in base62. It tells what was cut or
mistyped from what was revoked without a look at any store, and scanners a key from a text that looks like one; it keeps no secret.
Of the secret only the SHA-256 is stored: 256 random bits need no slow hash and no salt.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass

PREFIX = "nxk_"
SUBJECT_PREFIX = "api_key:"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARACTERS = 43
_CHECKSUM_CHARACTERS = 6
_FORM = re.compile(
    rf"{PREFIX}([a-z0-9_-]{{1,64}})\.([a-z0-9_-]{{1,64}})\.([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})([0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}})"
)
CHARACTERS_MAX = len(PREFIX) + 2 * 65 + _SECRET_CHARACTERS + _CHECKSUM_CHARACTERS


@dataclass(frozen=True, slots=True)
class ReadKey:
    """What a key that was shown says: whose it says it is, and the SHA-256 of its secret in hexadecimal."""

    organization: str
    key: str
    secret_hash: str

    @property
    def subject(self) -> str:
        """As it is named wherever a person could be."""
        return subject_of(self.key)


def subject_of(key: str) -> str:
    return f"{SUBJECT_PREFIX}{key}"


def make_key(organization: str, key: str) -> str:
    """A new key, which only the client will have."""
    secret = "".join(secrets.choice(_DIGITS) for _ in range(_SECRET_CHARACTERS))
    begins = f"{PREFIX}{organization}.{key}.{secret}"
    return begins + _checksum(begins)


def read_key(text: str) -> ReadKey | None:
    """None for what is no key: another form, or a checksum that doesn't fit."""
    found = _FORM.fullmatch(text) if len(text) <= CHARACTERS_MAX else None
    if found is None or _checksum(text[:-_CHECKSUM_CHARACTERS]) != found[4]:
        return None
    return ReadKey(found[1], found[2], hashlib.sha256(found[3].encode()).hexdigest())


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
