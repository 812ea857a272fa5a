"""Passwords: argon2id (RFC 9106) in a bounded pool of threads, because one hash is 20 ms of a core and the loop must not wait for it.

Which account a password belongs to is not known here.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from py_service.errors import Problem
from py_service.identity.guessable import is_guessable

# OWASP's first choice for argon2id; RFC 9106's 64 MiB would let 64 sign-ins at once take 4 GiB.
TIME_COST = 2
MEMORY_KIB = 19_456
PARALLELISM = 1
HASH_BYTES = 32
SALT_BYTES = 16

# NIST SP 800-63B, 3.1.1.2: a length, no rules of composition; the upper end bounds what is hashed.
CHARACTERS_MIN = 12
CHARACTERS_MAX = 256

Result = TypeVar("Result")


def make_hasher() -> PasswordHasher:
    """The hasher with this service's parameters, all of them explicit."""
    return PasswordHasher(
        time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM, hash_len=HASH_BYTES, salt_len=SALT_BYTES, type=Type.ID
    )


def check_new_password(password: str, email: str, name: str) -> None:
    """Raises Problem 422 `password_weak`."""
    if not CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX:
        raise Problem(422, "password_weak", f"A password has {CHARACTERS_MIN} to {CHARACTERS_MAX} characters.")
    if is_guessable(password, email, name):
        raise Problem(
            422, "password_weak", "This is guessed soon: the address, the name, a common word, a run or a repetition. Take another."
        )


class Passwords:
    """`threads` hashes at once, `waiting_max` more in the queue; beyond that Problem 503 `overloaded`."""

    def __init__(self, hasher: PasswordHasher | None = None, threads: int = 2, waiting_max: int = 64) -> None:
        self._hasher = hasher or make_hasher()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._under_way = 0
        self._under_way_max = threads + waiting_max
        # Verified when there is no account, so that an unknown e-mail takes as long as a wrong password.
        self._nobody = self._hasher.hash("nobody has this password")

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it is the password. `stored` is None when there is no account, empty when it has none: as much work, always False."""
        matches = await self._in_pool(lambda: self._verify(stored or self._nobody, password))
        return matches and bool(stored)

    async def hash(self, password: str) -> str:
        """The encoded hash, with its salt and parameters."""
        return await self._in_pool(lambda: self._hasher.hash(_normal(password)))

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Hashes that wait are dropped; one that runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _in_pool(self, work: Callable[[], Result]) -> Result:
        if self._under_way >= self._under_way_max:
            raise Problem(503, "overloaded", "Too many sign-ins are under way.", retry_after_seconds=1)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1


def _normal(password: str) -> bytes:
    """The same bytes for what looks the same on two keyboards (NIST SP 800-63B section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
