"""What the processes of a load test are told: one file, 0600, because locks' keys and the sealed signing key stand in it.

What doesn't live here: making it (`stack.py`) and acting on it (`swarm.py`, `locks.py`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from py_service.simulators.lock import LockIdentity
from py_service.stores.private_file import read_private, write_private


class PlannedLock(msgspec.Struct, frozen=True):
    """Who a lock is; `seed` is its private key in hex."""

    lock: str
    door: str
    seed: str

    def identity(self) -> LockIdentity:
        return LockIdentity(self.lock, self.door, bytes.fromhex(self.seed))


class SigningKeys(msgspec.Struct, frozen=True):
    """With which tokens are minted: the store's sealed key and the stack's master key, both of a stack that lives as long as the test."""

    key_id: str
    sealed: bytes
    master_key: bytes


class Cast(msgspec.Struct, frozen=True):
    """Who does what where. `residents` may open every door of `doors` and `lockable`; `strangers` none, until they are given a grant.

    `lockable` doors are locked down and released by the load and used for nothing else.
    """

    organization: str
    manager: str
    auditor: str
    residents: list[str]
    strangers: list[str]
    doors: list[str]
    lockable: list[str]


class Plan(msgspec.Struct, frozen=True):
    """`fleet` locks run in a process of their own, `swarm_locks` as Locust users. Moves of bolts go to `moves_files`, one for each."""

    api_url: str
    gateway_url: str
    cast: Cast
    keys: SigningKeys
    fleet: list[PlannedLock]
    swarm_locks: list[PlannedLock]
    rate: float
    users: int
    warm_up_seconds: float
    seconds: float
    record_file: str
    fleet_moves_file: str
    swarm_moves_file: str


def write_plan(path: Path, plan: Plan) -> None:
    write_private(path, msgspec.json.encode(plan))


def read_plan(path: Path) -> Plan:
    """Raises msgspec.ValidationError, OSError, SettingsError."""
    return msgspec.json.decode(read_private(path), type=Plan)
