"""The signing keys of this process: loaded from the store, made when there are none, rotated without a failed request.

The private halves live in the core's KeyRing and, sealed, in the store. The law of a key's life is in signing_key.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count, groupby
from typing import Protocol

import msgspec
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from py_service.errors import Problem
from py_service.identity.needs import ClockMs
from py_service.identity.signing_key import PUBLISHED_AHEAD_MS, SigningKey, states_at
from py_service.stores.mongo import MAJORITY, MAJORITY_JOURNALED, Document, store_errors
from py_service.telemetry import logger

RELOAD_SECONDS = 5.0
_UNKNOWN_KEY_SECONDS = 1.0
_ACCESS = "access"
_COMMAND = "command"
_LOG = logger("identity")


class Ring(Protocol):
    """The part of the core's KeyRing that keeps keys."""

    def generate(self, purpose: str, organization: str, key_id: str) -> bytes: ...
    def load(self, purpose: str, organization: str, key_id: str, sealed: bytes) -> None: ...
    def activate(self, purpose: str, organization: str, key_id: str) -> None: ...
    def retire(self, purpose: str, organization: str, key_id: str) -> None: ...
    def active_key_id(self, purpose: str, organization: str) -> str | None: ...


class KeyStore:
    """`make_ring` makes an empty ring under the same master key: a key that loses the race for its name never enters `ring`."""

    def __init__(self, database: AsyncDatabase[Document], ring: Ring, make_ring: Callable[[], Ring], clock_ms: ClockMs) -> None:
        self._keys: AsyncCollection[Document] = database.get_collection(
            "signing_keys", read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED
        )
        self._ring = ring
        self._make_ring = make_ring
        self._clock_ms = clock_ms
        self._loaded: dict[str, SigningKey] = {}
        self._reloading = asyncio.Lock()
        self._unknown_asked_s = -_UNKNOWN_KEY_SECONDS

    async def start(self) -> None:
        """Load every key, and make the first access key when there is none. Raises Problem 503."""
        await self.reload()
        if self._ring.active_key_id(_ACCESS, "") is None:
            await self._make_first(_ACCESS, "")

    async def keep_current(self) -> None:
        """Load again every few seconds, for ever. A store that is away changes nothing: the keys in memory go on."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                await self.reload()
            except Problem as problem:
                _LOG.warning("signing keys not reloaded", code=problem.code)
            except Exception as error:  # noqa: BLE001  one bad document must not end the rotation of all other keys
                _LOG.error("signing keys not reloaded", exc_info=error)

    async def command_key(self, organization: str) -> str:
        """The `kid` that signs this organization's commands, made now if there is none. The caller knows that the organization exists."""
        active = self._ring.active_key_id(_COMMAND, organization)
        if active is None:
            await self._make_first(_COMMAND, organization)
            active = self._ring.active_key_id(_COMMAND, organization)
        if active is None:
            raise Problem(503, "stores_unavailable", "There is no key to sign with.", retry_after_seconds=1)
        return active

    async def reload_for_unknown_key(self) -> bool:
        """A token names a key that isn't here: look, at most once a second whoever asks. False when it didn't look."""
        now_s = time.monotonic()
        if now_s - self._unknown_asked_s < _UNKNOWN_KEY_SECONDS:
            return False
        self._unknown_asked_s = now_s
        await self.reload()
        return True

    async def rotate(self, purpose: str, organization: str) -> SigningKey:
        """Publish the next key; it signs from its `activate_at` on. While one is on its way, that one is the answer.

        Raises ValueError for command keys: a lock pins one key at enrolment and would refuse every command of the next.
        """
        if purpose != _ACCESS:
            raise ValueError("only access keys rotate: locks pin their organization's command key")
        await self.reload()
        now_ms = self._clock_ms()
        own = [key for key in self._loaded.values() if (key.purpose, key.org) == (purpose, organization)]
        pending = [key for key in own if key.activate_at > now_ms]
        if pending:
            return pending[-1]
        following = max((key.number for key in own), default=0) + 1
        made = await self._insert(purpose, organization, following, now_ms + PUBLISHED_AHEAD_MS)
        await self.reload()
        return made

    async def reload(self) -> None:
        """Bring the ring to what the store says and the clock makes of it. Raises Problem 503."""
        async with self._reloading:
            async with store_errors():
                found = await self._keys.find({"state": {"$in": ["active", "verifying"]}}).to_list()
            keys = {key.document_id: key for key in (msgspec.convert(document, SigningKey) for document in found)}
            for identifier in self._loaded.keys() - keys.keys():
                self._retire(self._loaded.pop(identifier))
            for identifier, key in keys.items():
                if identifier not in self._loaded:
                    self._ring.load(key.purpose, key.org, key.kid, key.sealed)
                self._loaded[identifier] = key
            await self._settle()

    async def _settle(self) -> None:
        """Activate and retire by the clock, and write down what changed. Every process writes the same, so a race is harmless."""
        now_ms = self._clock_ms()
        by_owner = sorted(self._loaded.values(), key=lambda key: (key.purpose, key.org))
        for (purpose, organization), group in groupby(by_owner, key=lambda key: (key.purpose, key.org)):
            keys = list(group)
            states = states_at(keys, now_ms)
            for key in keys:
                state = states[key.kid]
                if state == "active" and self._ring.active_key_id(purpose, organization) != key.kid:
                    self._ring.activate(purpose, organization, key.kid)
                    _LOG.info("signing key active", purpose=purpose, organization=organization, key_id=key.kid)
            for key in keys:
                if states[key.kid] == "retired":
                    self._retire(self._loaded.pop(key.document_id))
                if states[key.kid] != key.state:
                    async with store_errors():
                        await self._keys.update_one({"_id": key.document_id}, {"$set": {"state": states[key.kid]}})

    def _retire(self, key: SigningKey) -> None:
        self._ring.retire(key.purpose, key.org, key.kid)
        _LOG.info("signing key retired", purpose=key.purpose, organization=key.org, key_id=key.kid)

    async def _make_first(self, purpose: str, organization: str) -> None:
        """The first number that isn't taken by a retired key. Of two processes one inserts; both then load what stands in the store."""
        for number in count(1):
            made = await self._insert(purpose, organization, number, self._clock_ms())
            if made.state != "retired":
                break
        await self.reload()

    async def _insert(self, purpose: str, organization: str, number: int, activate_at: int) -> SigningKey:
        """The key of that number: ours, or that of who was first."""
        key_id = f"{organization or purpose}.{number}"
        sealed = self._make_ring().generate(purpose, organization, key_id)
        now_ms = self._clock_ms()
        key = SigningKey(purpose, organization, key_id, sealed, "verifying" if activate_at > now_ms else "active", now_ms, activate_at)
        async with store_errors():
            try:
                await self._keys.insert_one({"_id": key.document_id, **msgspec.structs.asdict(key)})
            except DuplicateKeyError:
                found = await self._keys.find_one({"_id": key.document_id})
                return msgspec.convert(found, SigningKey)
        return key
