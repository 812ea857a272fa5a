"""Queries for imports, their parts and their results."""

from __future__ import annotations

from pymongo.asynchronous.client_session import AsyncClientSession

from py_service.errors import unknown
from py_service.imports.document import KIND, OPEN_MAX, import_key, part_key, result_key, time_key
from py_service.stores.mongo import Document, Mongo, find_by_ids, store_errors

TODO_AT_ONCE_MAX = 8
EXPIRED_AT_ONCE_MAX = 5
AFTER_ALL_TIMES = ";"  # the character after the colon that ends the organization's part


async def find_import(mongo: Mongo, organization: str, identifier: str, session: AsyncClientSession | None = None) -> Document | None:
    """None when there is none, or it is another organization's."""
    found = await mongo.database["imports"].find_one({"_id": import_key(organization, identifier)}, session=session)
    return None if found is None or found["org"] != organization else found


async def get_import(mongo: Mongo, organization: str, identifier: str, session: AsyncClientSession | None = None) -> Document:
    """Raises Problem 404."""
    found = await find_import(mongo, organization, identifier, session)
    if found is None:
        raise unknown(KIND)
    return found


async def count_open(mongo: Mongo, organization: str, limit: int, session: AsyncClientSession) -> int:
    """Imports of this organization that are not over, `limit` at most."""
    return len(await mongo.database["imports"].find({"open_of": organization}, {"_id": 1}, session=session).limit(limit).to_list())


async def find_staging(mongo: Mongo, organization: str, session: AsyncClientSession | None = None) -> Document | None:
    """The import of this organization that has a stage: there is one at most."""
    found = await mongo.database["imports"].find({"open_of": organization}, session=session).limit(OPEN_MAX).to_list()
    return next((document for document in found if "stage" in document), None)


async def read_page(mongo: Mongo, organization: str, before: str | None, limit: int) -> list[Document]:
    """Newest first; `before` is the place of the last one that was seen: time and id."""
    high = f"{organization}{AFTER_ALL_TIMES}" if before is None else min(f"{organization}:{before}", f"{organization}{AFTER_ALL_TIMES}")
    found = mongo.database["imports"].find({"by_time": {"$gte": f"{organization}:", "$lt": high}})
    return await found.sort("by_time", -1).limit(limit).to_list()


def place_of(document: Document) -> str:
    """Where a page goes on."""
    organization = str(document["org"])
    return time_key(organization, int(document["created_at"]), document["id"])[len(organization) + 1 :]


async def read_todo(mongo: Mongo) -> list[Document]:
    """Some of those that were started and are not over, of all organizations."""
    return await mongo.database["imports"].find({"todo": True}).limit(TODO_AT_ONCE_MAX).to_list()


async def read_text(mongo: Mongo, document: Document) -> str:
    """The whole file."""
    texts: list[str] = []
    for part in sorted(int(number) for number in document["parts"]):
        found = await mongo.database["import_parts"].find_one({"_id": part_key(document["org"], document["id"], part)})
        texts.append("" if found is None else str(found["text"]))
    return "".join(texts)


async def read_results(mongo: Mongo, organization: str, identifier: str, batches: range) -> list[Document]:
    """The results of these batches, in order."""
    ids = [result_key(organization, identifier, batch) for batch in batches]
    return sorted(await find_by_ids(mongo.database, "import_results", ids), key=lambda found: str(found["_id"]))


async def delete_expired(mongo: Mongo, now_ms: int) -> int:
    """Some imports whose time is over, with their parts and results; how many. Raises Problem 503."""
    async with store_errors():
        found = await mongo.database["imports"].find({"expires_at": {"$gte": 0, "$lt": now_ms}}).limit(EXPIRED_AT_ONCE_MAX).to_list()
        for document in found:
            organization, identifier = str(document["org"]), str(document["id"])
            parts = [part_key(organization, identifier, int(part)) for part in document["parts"]]
            results = [result_key(organization, identifier, batch) for batch in range(int(document["batches"]))]
            await mongo.database["import_parts"].delete_many({"_id": {"$in": parts}})
            await mongo.database["import_results"].delete_many({"_id": {"$in": results}})
            await mongo.database["imports"].delete_one({"_id": document["_id"]})
        return len(found)
