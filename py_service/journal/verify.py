"""Verify a log from its first document: gapless, chained, unaltered."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.journal.event import journal_id
from py_service.journal.log import FIRST_HASH, document_hash
from py_service.stores.mongo import Document, Mongo, find_by_ids

WINDOW = 256
GROWN = "grown"


@dataclass(frozen=True, slots=True)
class Verified:
    """`fault` None: everything up to `documents` holds."""

    log: str
    documents: int
    events: int
    fault: str | None


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
