"""Verify a log from its first document: gapless, chained, unaltered."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.journal.event import journal_id
from py_service.journal.log import FIRST_HASH, document_hash
from py_service.stores.mongo import Document, Mongo, find_by_ids

WINDOW = 256


@dataclass(frozen=True, slots=True)
class Verified:
    """`fault` None: everything up to `documents` holds."""

    log: str
    documents: int
    events: int
    fault: str | None


async def verify_log(mongo: Mongo, log: str) -> Verified:
    """Reads it whole."""
    previous, seq, events = FIRST_HASH, 0, 0
    while True:
        ids = [journal_id(log, seq + offset) for offset in range(1, WINDOW + 1)]
        found = {document["_id"]: document for document in await find_by_ids(mongo.database, "journal", ids)}
        for identifier in ids:
            document = found.get(identifier)
            if document is None:
                # Behind the end nothing may stand: a later number means that one was cut out.
                fault = f"a gap at {identifier}" if any(later in found for later in ids if later > identifier) else None
                return Verified(log, seq, events, fault)
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
