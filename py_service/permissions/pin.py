"""PINs: a keyed hash, because four digits are found in an instant from any other. The key is derived from the master key."""

from __future__ import annotations

import base64
import hashlib
import hmac

from py_service._core_rs import PermissionIndex

_PURPOSE, _REPEAT_PURPOSE = b"nexkey person pin 1", b"nexkey pin of a repeat 1"


class Pins:
    """HMAC-SHA-256 over organization, person and PIN (RFC 2104), so that equal PINs of two persons don't look alike."""

    def __init__(self, master_key: bytes) -> None:
        self._key = hmac.digest(master_key, _PURPOSE, hashlib.sha256)
        self._repeat_key = hmac.digest(master_key, _REPEAT_PURPOSE, hashlib.sha256)

    def hashed(self, organization: str, person: str, pin: str) -> str:
        """As it is stored: base64url without padding, 43 characters."""
        return base64.urlsafe_b64encode(self._digest(organization, person, pin)).rstrip(b"=").decode()

    def is_right(self, index: PermissionIndex, organization: str, person: str, pin: str) -> bool:
        """Compared in constant time. Without a stored one no PIN is right."""
        stored = index.pin(organization, person)
        return stored is not None and hmac.compare_digest(stored, self._digest(organization, person, pin))

    def mark(self, organization: str, person: str, pin: str, idempotency_key: str) -> str:
        """What a repeat's PIN is held against: it says nothing to whoever lacks the master key, and the same PIN with another key looks
        like another. 43 characters."""
        told = f"{organization}:{person}:{pin}:{idempotency_key}".encode()
        return base64.urlsafe_b64encode(hmac.digest(self._repeat_key, told, hashlib.sha256)).rstrip(b"=").decode()

    def _digest(self, organization: str, person: str, pin: str) -> bytes:
        return hmac.digest(self._key, f"{organization}:{person}:{pin}".encode(), hashlib.sha256)
