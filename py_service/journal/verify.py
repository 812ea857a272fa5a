"""Verify the journal: each log from its first document, gapless, chained, unaltered, as long as it was; and what it says it came after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from py_service.journal.event import journal_id
from py_service.journal.log import FIRST_HASH, document_hash
from py_service.settings import Settings, need
from py_service.stores.mongo import Document, Mongo, find_by_ids, store_errors

WINDOW = 256
GROWN = "grown"


@dataclass(frozen=True, slots=True)
class Verified:
    """`fault` None: everything up to `documents` holds."""

    log: str
    documents: int
    events: int
    fault: str | None


async def verify_journal(settings: Settings) -> list[Verified]:
    """Every log, for the operator's command. Raises SettingsError, Problem 503."""
    mongo = Mongo(need(settings.mongo_url, "NEXKEY_MONGO_URL"), settings.mongo_database, settings.store_timeout_ms)
    try:
        async with store_errors():
            return await verify_logs(mongo)
    finally:
        await mongo.close()


async def verify_logs(mongo: Mongo) -> list[Verified]:
    """In the order of their names. What was cut off behind a log's end is told as far as somebody noted how long it was: who closed it, who
    projected it, or who followed it. Raises pymongo errors."""
    logs = await mongo.database["logs"].find({}).to_list()
    projected: dict[str, int] = {}
    for reader in await mongo.database["projections"].find({}).to_list():
        projected |= reader["logs"]
    found = [await verify_log(mongo, str(log["_id"])) for log in sorted(logs, key=lambda log: str(log["_id"]))]
    of_log = {log["_id"]: log for log in logs}
    return [
        verified
        if verified.fault is not None
        else replace(verified, fault=await _fault_of_ends(mongo, of_log[verified.log], verified.documents, projected))
        for verified in found
    ]


async def _fault_of_ends(mongo: Mongo, log: Document, documents: int, projected: Mapping[str, int]) -> str | None:
    """What is wrong at the two ends of a log that holds in itself."""
    closed, predecessor = log.get("closed"), log.get("predecessor")
    known = max(projected.get(log["_id"], 0), 0 if closed is None else int(closed["seq"]))
    if documents < known:
        return f"it ends at {documents}, and was {known} long"
    if closed is not None and documents > closed["seq"]:
        return f"it goes on behind {closed['seq']}, where it was closed"
    if predecessor is not None and predecessor["seq"] > 0:
        name = journal_id(str(predecessor["log"]), int(predecessor["seq"]))
        before = await mongo.database["journal"].find_one({"_id": name})
        if before is None or bytes(before["hash"]) != bytes(predecessor["hash"]):
            return f"it follows {name}, which isn't as it was"
    return None


async def verify_log(mongo: Mongo, log: str) -> Verified:
    """Reads it whole. It may grow meanwhile."""
    previous, seq, events = FIRST_HASH, 0, 0
    while True:
        ids = [journal_id(log, seq + offset) for offset in range(1, WINDOW + 1)]
        found = {document["_id"]: document for document in await find_by_ids(mongo.database, "journal", ids)}
        for identifier in ids:
            document = found.get(identifier)
            if document is None:
                break
            fault = fault_of(document, previous)
            if fault is not None:
                return Verified(log, seq, events, fault)
            previous, seq, events = bytes(document["hash"]), seq + 1, events + len(document["events"])
        missing = journal_id(log, seq + 1)
        if missing in ids and (fault := await _fault_behind(mongo, log, missing)) != GROWN:
            return Verified(log, seq, events, fault)


async def _fault_behind(mongo: Mongo, log: str, missing: str) -> str | None:
    """Behind the end nothing may stand, however far: a later number means that one was cut out. `GROWN`: it was written meanwhile."""
    journal = mongo.database["journal"]
    later = await journal.find_one({"_id": {"$gt": missing, "$lt": f"{log};"}}, {"_id": 1})
    if await journal.find_one({"_id": missing}, {"_id": 1}) is not None:
        return GROWN
    return None if later is None else f"a gap at {missing}"


def fault_of(document: Document, previous: bytes) -> str | None:
    """What is wrong with a document that should follow `previous`."""
    if bytes(document["prev"]) != previous:
        return f"{document['_id']} does not follow the document before it"
    if document_hash(document) != bytes(document["hash"]):
        return f"{document['_id']} was altered"
    return None
