"""Keeps the register of logs: closes the log of a process that died, which also shuts out one that only seemed dead."""

from __future__ import annotations

import structlog
from bson.binary import Binary
from pymongo.errors import DuplicateKeyError

from py_service.journal.event import journal_id
from py_service.journal.log import document_hash, read_head
from py_service.stores.mongo import Document, Mongo, now_ms

DEAD_AFTER_MS = 20_000

logger = structlog.get_logger(__name__)


async def live_logs(mongo: Mongo) -> list[Document]:
    """Logs that are written, or not yet read to their end."""
    return await mongo.database["logs"].find({"state": {"$in": ["open", "closed"]}}).to_list()


async def close_dead_logs(mongo: Mongo, logs: list[Document]) -> None:
    """Insert `closed` at last + 1 of every open log whose process hasn't said for 20 s that it lives."""
    limit = now_ms() - DEAD_AFTER_MS
    for log in logs:
        if log["state"] == "open" and log["alive_at"] < limit:
            await _close(mongo, log["_id"])


async def _close(mongo: Mongo, log: str) -> None:
    head = await read_head(mongo, log)
    at_ms = now_ms()
    seq = head.seq + 1
    document: Document = {"_id": journal_id(log, seq), "at": at_ms, "prev": Binary(head.hash), "events": [], "closed": True}
    document["hash"] = Binary(document_hash(document))
    try:
        await mongo.database["journal"].insert_one(document)
    except DuplicateKeyError:
        return  # it lives: it has written since
    closed = {"seq": seq, "hash": document["hash"], "at": at_ms}
    await mongo.database["logs"].update_one({"_id": log}, {"$set": {"state": "closed", "closed": closed}})
    logger.info("log_closed", log=log, seq=seq)


async def finish_log(mongo: Mongo, log: str) -> None:
    """Read to its end: no reader looks at it any more."""
    await mongo.database["logs"].update_one({"_id": log}, {"$set": {"state": "finished"}})
