"""Access tokens for hundreds of persons at once.

Signing in is slow on purpose (argon2id) and limited for each client address, so that a load test can't sign in two hundred people in a
minute. It mints their tokens with the stack's own signing key instead: the same claims, the same signature, the same verification.
"""

from __future__ import annotations

import secrets
import time

from loadtests.plan import SigningKeys
from py_service._core_rs import KeyRing

LIFE_MS = 300_000
RENEW_EARLY_MS = 60_000


class TokenMint:
    """One organization's tokens, each minted when it is first asked for and again before it ends."""

    def __init__(self, keys: SigningKeys, organization: str) -> None:
        self._ring = KeyRing(keys.master_key)
        self._ring.load("access", "", keys.key_id, keys.sealed)
        self._ring.activate("access", "", keys.key_id)
        self._organization = organization
        self._minted: dict[str, tuple[str, int]] = {}

    def token(self, person: str) -> str:
        """Stands for at least another minute."""
        now_ms = time.time_ns() // 1_000_000
        token, ends_ms = self._minted.get(person, ("", 0))
        if ends_ms - now_ms < RENEW_EARLY_MS:
            ends_ms = now_ms + LIFE_MS
            session = secrets.token_hex(8)
            token = self._ring.sign_access_token("api", self._organization, person, "person", session, [], now_ms, ends_ms)
            self._minted[person] = (token, ends_ms)
        return token
