"""The composition root of `nexkey organization ...`: the operator founds, renames, suspends, resumes, archives, lists and appoints owners,
beside a service that runs.

A change goes through a lane of its own, like one that an api process makes: the fence of every process sees it, and its log is closed
and projected by the worker as that of any process that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from py_service._core_rs import KeyRing
from py_service.directory.organization import (
    AppointOwner,
    ArchiveOrganization,
    ChangeOrganization,
    FoundOrganization,
    SetOrganizationState,
    state_of,
)
from py_service.errors import Problem, SettingsError, stores_unavailable, unknown
from py_service.identity.accounts import COLLECTION as ACCOUNTS
from py_service.identity.accounts import accounts_of, is_free, take_account
from py_service.identity.keys import KeyStore
from py_service.identity.passwords import Passwords, check_new_password
from py_service.journal.log import Log
from py_service.permissions.change import Change, Changed, Plan, View, Write
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import CHANGES_LANE, ChangeLane
from py_service.permissions.store import begin_organization, read_object, read_organizations, read_revisions
from py_service.permissions.text import clean_email
from py_service.settings import IDENTIFIER, Secret, Settings, need
from py_service.stores.bus import BUS_ERRORS, Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Document, Mongo, find_by_ids, now_ms, store_errors
from py_service.tasks import end_tasks


@dataclass(frozen=True, slots=True)
class NewOrganization:
    """What the operator says. `password` is the first owner's."""

    id: str
    name: str
    owner_email: str
    owner_name: str
    password: str


@dataclass(frozen=True, slots=True)
class ListedOrganization:
    """`state`: active, suspended, archived, or unfinished (founding it broke off, and may be repeated)."""

    id: str
    name: str
    state: str
    revision: int


async def found_organization(settings: Settings, wanted: NewOrganization) -> Changed:
    """To repeat one that broke off is safe, with the same id.

    Raises Problem 409 `id_taken`, `email_taken`; 422 `name_invalid`, `email_invalid`, `password_weak`; 503; and SettingsError.
    """
    if IDENTIFIER.match(wanted.id) is None:
        raise Problem(400, "field_invalid", "An id has 1 to 64 of a-z, 0-9, _ and -.")
    if settings.master_key is None:
        raise SettingsError("NEXKEY_MASTER_KEY: is needed to make the organization's command key; 32 bytes in base64")
    email = clean_email(wanted.owner_email)
    check_new_password(wanted.password, email, wanted.owner_name)
    async with _connected(settings) as mongo, store_errors():
        await make_indexes(mongo.database)
        if await read_object(mongo, wanted.id, "organization", wanted.id) is not None:
            raise Problem(409, "id_taken", "There is an organization with this id.")
        standing = await mongo.database[ACCOUNTS].find_one({"_id": email})
        if standing is not None and standing["org"] != wanted.id and not await is_free(mongo, standing):
            raise Problem(409, "email_taken", "Somebody signs in with this e-mail address already.")  # told before anything is written
        hashed = await _hashed(wanted.password)

        async def with_account(view: View, person: Document) -> Plan:
            return Plan(writes=[await take_account(view, str(person["id"]), email, hashed)])

        await _make_command_key(mongo, wanted.id, settings.master_key)
        await begin_organization(mongo, wanted.id)  # last: from here on processes meet it
        owner = f"person_{secrets.token_hex(8)}"
        change = FoundOrganization(wanted.name, owner, wanted.owner_name, email, with_account)
        return await _carried_out(settings, mongo, wanted.id, change)


async def appoint_owner(settings: Settings, organization: str, email: str, name: str, password: str) -> Changed:
    """The one way back when no owner can sign in.

    Raises Problem 404 `organization_unknown`; 409 `email_taken`, `organization_archived`; 422 `name_invalid`, `email_invalid`,
    `password_weak`; 503; SettingsError.
    """
    email = clean_email(email)
    check_new_password(password, email, name)
    async with _connected(settings) as mongo, store_errors():
        await _get(mongo, organization)
        hashed = await _hashed(password)

        async def open_account(view: View, person: str, address: str) -> list[Write]:
            others = [str(account["_id"]) for account in await accounts_of(view, person) if account["_id"] != address]
            return [await take_account(view, person, address, hashed), *(Write(ACCOUNTS, other, None) for other in others)]

        return await _carried_out(settings, mongo, organization, AppointOwner(name, email, open_account))


async def set_organization_state(settings: Settings, organization: str, *, active: bool) -> Changed:
    """Raises Problem 404 `organization_unknown`, 409 `organization_archived`, 503; SettingsError."""
    async with _connected(settings) as mongo, store_errors():
        await _get(mongo, organization)
        return await _carried_out(settings, mongo, organization, SetOrganizationState(active))


async def rename_organization(settings: Settings, organization: str, name: str) -> Changed:
    """`result`: the organization as it is stored. Raises Problem 404 `organization_unknown`, 409 `organization_archived`,
    422 `name_invalid`, 503; SettingsError."""
    async with _connected(settings) as mongo, store_errors():
        await _get(mongo, organization)
        return await _carried_out(settings, mongo, organization, ChangeOrganization({"name": name}, None))


async def archive_organization(settings: Settings, organization: str) -> Changed:
    """Raises Problem 404 `organization_unknown`, 409 `organization_active`, 503; SettingsError."""
    async with _connected(settings) as mongo, store_errors():
        await _get(mongo, organization)
        return await _carried_out(settings, mongo, organization, ArchiveOrganization())


async def list_organizations(settings: Settings) -> list[ListedOrganization]:
    """By id. Raises Problem 503."""
    async with _connected(settings) as mongo, store_errors():
        names = sorted(await read_organizations(mongo))
        documents = {document["_id"]: document for document in await find_by_ids(mongo.database, "organizations", names)}
        revisions = await read_revisions(mongo, names)
    return [_listed(name, documents.get(name), revisions.get(name, 0)) for name in names]


def _listed(name: str, document: Document | None, revision: int) -> ListedOrganization:
    if document is None:
        return ListedOrganization(name, "", "unfinished", revision)
    return ListedOrganization(name, str(document["name"]), state_of(document), revision)


async def _hashed(password: str) -> str:
    passwords = Passwords(threads=1)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()


async def _get(mongo: Mongo, organization: str) -> None:
    """Raises Problem 404 when there is none."""
    if IDENTIFIER.match(organization) is None or await read_object(mongo, organization, "organization", organization) is None:
        raise unknown("organization")


async def _make_command_key(mongo: Mongo, organization: str, master_key: Secret) -> None:
    def make_ring() -> KeyRing:
        return KeyRing(master_key.reveal())

    keys = KeyStore(mongo.database, make_ring(), make_ring, now_ms)
    await keys.reload()
    await keys.command_key(organization)


async def _carried_out(settings: Settings, mongo: Mongo, organization: str, change: Change) -> Changed:
    """One change, in a log of its own. Raises Problem; a 503 may have happened, and is safe to repeat."""
    bus = Bus(need(settings.redis_url, "NEXKEY_REDIS_URL"), settings.bus_timeout_ms)
    taken = asyncio.Event()
    follower = PermissionFollower(mongo, bus)
    await follower.load(organization)  # before the log: a large one takes long, and a silent log is closed
    lane = ChangeLane(
        mongo, await Log.birth(mongo, CHANGES_LANE, f"operator-{os.getpid()}-{secrets.token_hex(4)}"), follower, bus, taken.set
    )
    running = asyncio.create_task(lane.run())
    try:
        changed = await lane.submit(organization, None, change)
        with contextlib.suppress(*BUS_ERRORS):
            await lane.told()
        return changed
    finally:
        await end_tasks([running])
        await bus.close()


@contextlib.asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Mongo]:
    mongo = Mongo(need(settings.mongo_url, "NEXKEY_MONGO_URL"), settings.mongo_database, settings.store_timeout_ms)
    try:
        async with store_errors():
            await mongo.refuse_unfit_server()
            if abs(await mongo.clock_difference_ms()) > CLOCK_DIFFERENCE_MS_MAX:
                raise stores_unavailable("This machine's clock and the store's differ by more than a second; nothing was changed.")
        yield mongo
    finally:
        await mongo.close()
