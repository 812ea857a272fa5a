"""Where access is raced for: 16 organizations, each with doors, locks and an owner, and for each way what it takes to have access.

Pure but for `write`, which puts it into the store before the service starts.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bson.int64 import Int64
from pymongo.asynchronous.database import AsyncDatabase

from py_service._core_rs import DeviceKey
from py_service.identity.accounts import new_account
from py_service.identity.passwords import make_hasher
from py_service.permissions.listing import stored_object
from py_service.simulators.device_api import encode_base64url
from py_service.simulators.lock import LockIdentity
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document
from tests.e2e.revoke_ways import ALL_DAY, PASSWORD, WAYS, Way

ORGANIZATIONS = 16
LANES = 24
FREE: Document = {"locked_down": False, "held_by": []}
# What a way's own document doesn't say.
PLAIN: dict[str, Document] = {
    "person": {
        "kind": "guest", "state": "active", "valid_from": None, "valid_until": None, "groups": [], "roles": [],
        "tokens_valid_after": Int64(0),
    },
    "group": {"includes": []},
    "schedule": {"windows": ALL_DAY, "calendar": None, "holiday_windows": [], "exceptions": []},
    "calendar": {"dates": []},
    "site": {"address": "", "time_zone": "Europe/Berlin", **FREE},
    "area": {"floor": None, "anti_passback": "off", "anti_passback_minutes": None, "occupancy_max": None, **FREE},
    "door": {
        "area": None, "lock": None, "mode": "locked", "modes": [], "enters": None, "leaves": None, "two_persons_seconds": None,
        "sharing": True, **FREE,
    },
    "device": {"kind": "lock", "door": None, "active": True},
    "lockdown_plan": {"doors": [], "areas": [], "sites": [], "at_sites": [], "engaged": False, "engaged_at": None, "engaged_by": None},
    "grant": {
        "effect": "allow", "person": None, "group": None, "door": None, "area": None, "site": None, "schedule": None,
        "valid_from": None, "valid_until": None,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lane:
    """One place (site, area, door, lock), whose rounds come one after the other. `alone`: nobody else races in its organization."""

    number: int
    organization: str
    alone: bool

    @property
    def owner(self) -> str:
        return "olga"

    @property
    def lock(self) -> LockIdentity:
        return LockIdentity(f"lock-{self.number}", f"door-{self.number}", self.key_seed(f"lock-{self.number}"))

    def key_seed(self, device: str) -> bytes:
        return hashlib.sha256(f"{self.organization}/{device}".encode()).digest()

    def public_key(self, device: str) -> str:
        return encode_base64url(DeviceKey.from_seed(self.key_seed(device)).public_key)

    def names(self, way: str) -> dict[str, str]:
        """What a way's templates may name."""
        number = str(self.number)
        places = {place: f"{place}-{number}" for place in ("site", "area", "door", "lock")}
        return {**places, "person": f"{way}-{number}", "own": f"{way}-{number}", "organization": self.organization, "lane": number}


def lanes() -> list[Lane]:
    shared = LANES - ORGANIZATIONS
    return [Lane(number, f"race-{number % ORGANIZATIONS}", shared <= number < ORGANIZATIONS) for number in range(LANES)]


def filled(template: Any, names: dict[str, str]) -> Any:
    """A template with `{names}` in its strings, at any depth."""
    if isinstance(template, str):
        return template.format_map(names)
    if isinstance(template, dict):
        return {field: filled(value, names) for field, value in template.items()}
    return [filled(value, names) for value in template] if isinstance(template, list) else template


async def write(database: AsyncDatabase[Document]) -> None:
    """Everything, and the revisions last: by them the processes learn of the organizations."""
    stored: dict[str, list[Document]] = {}
    found = lanes()
    for organization in sorted({lane.organization for lane in found}):
        _put(stored, organization, "organization", {"id": organization, "name": organization, "active": True})
        _put(stored, organization, "person", {"id": "olga", "roles": [{"role": "owner", "sites": None}]})
    for lane in found:
        _put_places(stored, lane)
        for way in WAYS:
            _put_way(stored, lane, way)
    stored["accounts"] = await asyncio.to_thread(_accounts, found)
    for collection, documents in stored.items():
        await database[collection].insert_many(documents)
    revisions: list[Document] = [{"_id": document["_id"], "revision": Int64(0)} for document in stored["organizations"]]
    await database["revisions"].insert_many(revisions)


def _put(stored: dict[str, list[Document]], organization: str, kind: str, fields: Document) -> None:
    named = {} if kind == "grant" else {"name": fields["id"]}
    if kind == "person":
        named["email"] = f"{fields['id']}@{organization}.example"
    stored.setdefault(OBJECT_COLLECTIONS[kind], []).append(stored_object(organization, kind, {**named, **PLAIN.get(kind, {}), **fields}))


def _put_places(stored: dict[str, list[Document]], lane: Lane) -> None:
    names, organization = lane.names(""), lane.organization
    _put(stored, organization, "site", {"id": names["site"]})
    _put(stored, organization, "area", {"id": names["area"], "site": names["site"]})
    _put(stored, organization, "door", {"id": names["door"], "site": names["site"], "area": names["area"], "lock": names["lock"]})
    for device, door in ((names["lock"], names["door"]), (f"spare-{lane.number}", None)):
        _put(stored, organization, "device", {"id": device, "door": door, "public_key": lane.public_key(device)})


def _accounts(found: list[Lane]) -> list[Document]:
    """All with the same password: a hash of it takes a while."""
    password = make_hasher().hash(PASSWORD)
    return [
        {"_id": f"{names['person']}@{lane.organization}.example", **new_account(lane.organization, names["person"], password)}
        for lane in found
        for names in (lane.names(way.name) for way in WAYS if way.signs_in)
    ]


def _put_way(stored: dict[str, list[Document]], lane: Lane, way: Way) -> None:
    names = lane.names(way.name)
    for kind, fields in _documents(way):
        body = filled(fields, names)
        if kind == "grant":
            body["at_site"] = names["site"]
        _put(stored, lane.organization, kind, body)


def _documents(way: Way) -> Iterable[tuple[str, dict[str, Any]]]:
    if way.person is not None:
        yield "person", {"id": "{person}", **way.person}
    yield from way.base
