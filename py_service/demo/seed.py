"""Writes organizations into MongoDB, so that a half-written one is not visible and a second run completes it.

INVARIANT: the revision document is written last. Processes learn of an organization by its revision; before it stands, there is none.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

import msgspec
from bson.int64 import Int64
from pymongo import WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from py_service.demo.organization import DemoOrganization, Document, Role, build_demo, build_neighbour
from py_service.errors import SettingsError
from py_service.identity.accounts import new_account
from py_service.identity.passwords import make_hasher
from py_service.permissions.image import body_of
from py_service.permissions.listing import stored_object
from py_service.simulators.lock import LockIdentity
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.private_file import read_private, write_private

SEED_BYTES = 32
PASSWORD_BYTES = 12
DUPLICATE_KEY = 11_000
BATCH_DOCUMENTS = 1_000
KINDS = {collection: kind for kind, collection in OBJECT_COLLECTIONS.items()}


class DemoAccount(msgspec.Struct):
    """Someone of the cast who can sign in. Stands in demo.json, and nowhere else in clear."""

    organization: str
    part: str
    person: str
    name: str
    email: str
    password: str


class DemoFile(msgspec.Struct):
    """`<data>/demo.json`, 0600: all that is secret or was chosen at the first start. The organizations follow from it."""

    seed: str
    made_at_ms: int
    persons: int
    doors: int
    accounts: list[DemoAccount]

    def organizations(self) -> tuple[DemoOrganization, DemoOrganization]:
        """The demonstration's organization and its neighbour."""
        seed = b64decode(self.seed)
        demo = build_demo(seed, now_ms=self.made_at_ms, persons=self.persons, doors=self.doors)
        return demo, build_neighbour(seed, now_ms=self.made_at_ms)

    def account(self, part: Role) -> DemoAccount:
        """Of the first organization. Raises KeyError."""
        return next(account for account in self.accounts if account.part == part)

    def locks(self) -> tuple[str, tuple[LockIdentity, ...]]:
        """The first organization's id and its locks."""
        demo, _ = self.organizations()
        return demo.id, demo.locks


def make_demo_file(*, persons: int = 200, doors: int = 40) -> DemoFile:
    """New seed, new passwords."""
    made = DemoFile(b64encode(secrets.token_bytes(SEED_BYTES)).decode(), time.time_ns() // 1_000_000, persons, doors, [])
    for organization in made.organizations():
        for part, person in organization.cast.items():
            password = secrets.token_urlsafe(PASSWORD_BYTES)
            made.accounts.append(DemoAccount(organization.id, part, person.id, person.name, person.email, password))
    return made


def load_demo_file(path: Path) -> DemoFile:
    """Raises SettingsError when it is missing, damaged, or readable by others."""
    try:
        return msgspec.json.decode(read_private(path), type=DemoFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"NEXKEY_DATA_FOLDER: {path} can't be read as a demonstration: {error}") from error


async def seed_demo(database: AsyncDatabase[Document], path: Path, *, persons: int = 200, doors: int = 40) -> tuple[DemoFile, bool]:
    """The demonstration of this data folder, written if it wasn't; True when it was written now.

    Raises SettingsError when the store holds one whose demo.json is gone: its passwords and keys are gone with it.
    """
    if await asyncio.to_thread(path.exists):
        demo = load_demo_file(path)
    else:
        demo = make_demo_file(persons=persons, doors=doors)
        for organization in demo.organizations():
            if await is_seeded(database, organization.id):
                raise SettingsError(f"NEXKEY_DATA_FOLDER: the store holds the organization {organization.id}, but {path} is missing")
        write_private(path, msgspec.json.format(msgspec.json.encode(demo)))  # before the documents: they follow from it
    written = False
    for organization in demo.organizations():
        passwords = {account.email: account.password for account in demo.accounts if account.organization == organization.id}
        written |= await seed_organization(database, organization, passwords)
    return demo, written


async def is_seeded(database: AsyncDatabase[Document], organization: str) -> bool:
    return await database["revisions"].find_one({"_id": organization}) is not None


async def seed_organization(database: AsyncDatabase[Document], demo: DemoOrganization, passwords: Mapping[str, str]) -> bool:
    """Write `demo` with accounts for `passwords` (e-mail -> password). False when it stood already. Raises pymongo's errors."""
    if await is_seeded(database, demo.id):
        return False
    for collection, documents in demo.documents.items():
        kind = KINDS[collection]
        placed = [document | {"at_site": _site_of(demo, document)} for document in documents] if kind == "grant" else documents
        await _insert_missing(database, collection, [_stored(demo.id, kind, document) for document in placed])
    await _insert_missing(database, "accounts", await asyncio.to_thread(_accounts, demo, passwords))
    durable = WriteConcern(w="majority", j=True)
    try:
        await database.get_collection("revisions", write_concern=durable).insert_one({"_id": demo.id, "revision": Int64(0)})
    except DuplicateKeyError:
        return False
    return True


def _accounts(demo: DemoOrganization, passwords: Mapping[str, str]) -> list[Document]:
    hasher = make_hasher()
    return [
        {"_id": person.email, **new_account(demo.id, person.id, hasher.hash(passwords[person.email]))}
        for person in demo.accounts
        if person.email in passwords
    ]


async def _insert_missing(database: AsyncDatabase[Document], collection: str, documents: list[Document]) -> None:
    """Insert what isn't there; what an earlier, broken run wrote stays: it was the same."""
    durable = database.get_collection(collection, write_concern=WriteConcern(w="majority", j=True))
    for start in range(0, len(documents), BATCH_DOCUMENTS):
        try:
            await durable.insert_many(documents[start : start + BATCH_DOCUMENTS], ordered=False)
        except BulkWriteError as error:
            if any(failure.get("code") != DUPLICATE_KEY for failure in error.details.get("writeErrors", [])):
                raise


def _site_of(demo: DemoOrganization, grant: Document) -> object:
    """The site of a grant's door or area; None for a place that isn't there."""
    if grant["site"] is not None:
        return grant["site"]
    kind = "door" if grant["door"] is not None else "area"
    return next((place["site"] for place in demo.documents[f"{kind}s"] if place["id"] == grant[kind]), None)


def _stored(organization: str, kind: str, document: Document) -> Document:
    """As a change would have written it; times are Int64 in the store, whatever their size."""
    times = ("valid_from", "valid_until", "tokens_valid_after")
    typed = {key: Int64(value) if key in times and isinstance(value, int) else value for key, value in body_of(document).items()}
    return stored_object(organization, kind, typed)
