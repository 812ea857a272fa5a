"""Queries for revisions, change records and snapshots; and the first revision of an organization."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pymongo
from bson.int64 import Int64
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from py_service.permissions.listing import object_key
from py_service.permissions.stage import is_live, is_staged, read_live
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import MAJORITY_JOURNALED, Document, Mongo, find_by_ids

# Of one read: a record of an import holds hundreds of objects, and a read that takes too long would be given up, and begun again, for ever.
RECORDS_AT_ONCE_MAX = 32
BATCH_SECONDS_MAX = 30.0  # of a whole organization's documents


def change_id(organization: str, revision: int) -> str:
    return f"{organization}:{revision:012d}"


async def read_revisions(mongo: Mongo, organizations: list[str]) -> dict[str, int]:
    found = await find_by_ids(mongo.database, "revisions", organizations)
    return {document["_id"]: int(document["revision"]) for document in found}


async def begin_organization(mongo: Mongo, organization: str) -> None:
    """An organization that changes can be made to: from here on processes meet it, empty and refusing everything. To repeat it is safe."""
    revisions = mongo.database.get_collection("revisions", write_concern=MAJORITY_JOURNALED)
    with contextlib.suppress(DuplicateKeyError):
        await revisions.insert_one({"_id": organization, "revision": Int64(0)})


async def read_organizations(mongo: Mongo) -> list[str]:
    """Every organization's id: the one whole scan, at the start of a process."""
    return [document["_id"] for document in await mongo.database["revisions"].find({}, {"_id": 1}).to_list()]


async def read_records(mongo: Mongo, organization: str, first: int, last: int) -> list[Document]:
    """Change records `first` to `last`, in order; shorter when some are missing."""
    records: list[Document] = []
    for start in range(first, last + 1, RECORDS_AT_ONCE_MAX):
        ids = [change_id(organization, revision) for revision in range(start, min(start + RECORDS_AT_ONCE_MAX, last + 1))]
        records += await find_by_ids(mongo.database, "changes", ids)
    return sorted(records, key=lambda record: int(record["revision"]))


async def read_object(
    mongo: Mongo, organization: str, kind: str, identifier: str, session: AsyncClientSession | None = None
) -> Document | None:
    """An object of this organization, also one that has ended; None when there is none, it is another's, or its stage isn't live."""
    document = await read_stored(mongo, organization, kind, identifier, session)
    if document is None or not is_staged(document) or is_live(document, await read_live(mongo, organization, session)):
        return document
    return None


async def read_stored(
    mongo: Mongo, organization: str, kind: str, identifier: str, session: AsyncClientSession | None = None
) -> Document | None:
    """The same, whatever its stage: whether its id is taken."""
    document = await mongo.database[OBJECT_COLLECTIONS[kind]].find_one({"_id": object_key(organization, kind, identifier)}, session=session)
    return None if document is None or document["org"] != organization else document


async def read_batches(mongo: Mongo, organization: str, kind: str) -> AsyncIterator[bytes]:
    """Every object of a kind, also those that have ended, as raw BSON and without a snapshot: the records that follow put right what moved
    meanwhile. The driver decodes nothing.

    A batch is up to 16 MB, and several processes that start at once ask for theirs together: it has a time of its own, not a request's.
    """
    found = cast("AsyncIterator[bytes]", mongo.database[OBJECT_COLLECTIONS[kind]].find_raw_batches({"org": organization}))
    while True:
        with pymongo.timeout(BATCH_SECONDS_MAX):  # not around the yield: it would reach whatever else the caller asks of the store
            try:
                batch = await anext(found)
            except StopAsyncIteration:
                return
        yield batch
