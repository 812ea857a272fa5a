"""Verify the journal: each log from its first document, gapless, chained, unaltered, as long as it was; and what it says it came after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from py_service.journal.event import journal_id
from py_service.journal.log import FIRST_HASH, document_hash
from py_service.settings import Settings, need
from py_service.stores.mongo import Document, Mongo, find_by_ids, store_errors

WINDOW = 256
EVERYTHING = {"$gte": "", "$lt": "\uffff"}


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
    ends = await read_ends(mongo)
    logs = await mongo.database["logs"].find({}).to_list()
    projected: dict[str, int] = {}
    for reader in await mongo.database["projections"].find({}).to_list():
        projected |= reader["logs"]
    of_log = {str(log["_id"]): log for log in logs}
    found = [await verify_log(mongo, log, ends.get(log, 0)) for log in sorted(of_log)]
    # A log is registered before its first document is written, and the ends were read first.
    unknown = [Verified(log, 0, 0, "it is in the journal, and isn't registered") for log in sorted(ends.keys() - of_log.keys())]
    return unknown + [
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


async def read_ends(mongo: Mongo) -> dict[str, int]:
    """The highest number of each log. One look at the identifiers of the whole journal: what was cut out of a log, however long, is told by
    what stands behind it. Raises pymongo errors."""
    ends: dict[str, int] = {}
    async for document in mongo.database["journal"].find({"_id": EVERYTHING}, {"_id": 1}):
        identifier = str(document["_id"])
        log, _, digits = identifier.rpartition(":")
        seq = int(digits) if digits.isascii() and digits.isdecimal() else 0
        if journal_id(log, seq) != identifier:
            log = identifier  # of no log
        ends[log] = max(ends.get(log, 0), seq)
    return ends


async def verify_log(mongo: Mongo, log: str, end: int) -> Verified:
    """Reads it whole. It may grow meanwhile, beyond the `end` that was seen before: up to there nothing may be missing."""
    previous, seq, events = FIRST_HASH, 0, 0
    while True:
        ids = [journal_id(log, seq + offset) for offset in range(1, WINDOW + 1)]
        found = {document["_id"]: document for document in await find_by_ids(mongo.database, "journal", ids)}
        for identifier in ids:
            document = found.get(identifier)
            if document is None:
                return Verified(log, seq, events, f"a gap at {identifier}" if seq < end else None)
            fault = fault_of(document, previous)
            if fault is not None:
                return Verified(log, seq, events, fault)
            previous, seq, events = bytes(document["hash"]), seq + 1, events + len(document["events"])


def fault_of(document: Document, previous: bytes) -> str | None:
    """What is wrong with a document that should follow `previous`."""
    if bytes(document["prev"]) != previous:
        return f"{document['_id']} does not follow the document before it"
    if document_hash(document) != bytes(document["hash"]):
        return f"{document['_id']} was altered"
    return None
