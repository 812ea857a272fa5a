"""Keeps the register of logs: closes the log of a process that died, which also shuts out one that only seemed dead."""

from __future__ import annotations

import structlog
from bson.binary import Binary
from pymongo.errors import DuplicateKeyError, PyMongoError

from py_service.journal.event import journal_id
from py_service.journal.log import document_hash, read_head
from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Document, Mongo, now_ms
from py_service.stores.place import is_gone

DEAD_AFTER_MS = 20_000

logger = structlog.get_logger(__name__)


async def live_logs(mongo: Mongo) -> list[Document]:
    """Logs that are written, or not yet read to their end."""
    return await mongo.database["logs"].find({"state": {"$in": ["open", "closed"]}}).to_list()


async def close_dead_logs(mongo: Mongo, logs: list[Document]) -> None:
    """Insert `closed` at last + 1 of every open log whose process is gone, or hasn't said for 20 s that it lives."""
    limit = now_ms() - DEAD_AFTER_MS
    still_open = [log for log in logs if log["state"] == "open"]
    gone = [log for log in still_open if is_gone(log.get("place"))]
    silent = [log for log in still_open if log not in gone and log["alive_at"] < limit]
    if silent and abs(difference_ms := await mongo.clock_difference_ms()) > CLOCK_DIFFERENCE_MS_MAX:
        # By a clock that is wrong everybody looks dead.
        logger.error("clock_differs", difference_ms=difference_ms)
        silent = []
    for log in gone + silent:
        try:
            if log.get("session") is not None:
                # What it was in the middle of: until that is aborted, nobody else can write what it has written, not even this log's end.
                await mongo.end_sessions([log["session"]])
            await _close(mongo, log["_id"])
        except PyMongoError as error:
            # Its process may stand still inside a transaction that holds the next number. Nothing else waits for that.
            logger.warning("log_not_closed", log=log["_id"], error=type(error).__name__)


async def _close(mongo: Mongo, log: str) -> None:
    head = await read_head(mongo, log)
    document = await mongo.database["journal"].find_one({"_id": journal_id(log, head.seq)}, {"at": 1, "hash": 1, "closed": 1})
    if document is None or not document.get("closed"):
        document = {"_id": journal_id(log, head.seq + 1), "at": now_ms(), "prev": Binary(head.hash), "events": [], "closed": True}
        document["hash"] = Binary(document_hash(document))
        try:
            await mongo.database["journal"].insert_one(document)
        except DuplicateKeyError:
            return  # it lives: it has written since
    seq = int(document["_id"].rpartition(":")[2])
    closed = {"seq": seq, "hash": document["hash"], "at": document["at"]}
    if await _is_finished(mongo, log):
        return  # this process stood still meanwhile: a finished log that is called closed would be projected from its start once more
    await mongo.database["logs"].update_one({"_id": log}, {"$set": {"state": "closed", "closed": closed}})
    logger.info("log_closed", log=log, seq=seq)


async def _is_finished(mongo: Mongo, log: str) -> bool:
    found = await mongo.database["logs"].find_one({"_id": log}, {"state": 1})
    return found is None or found["state"] == "finished"


async def finish_log(mongo: Mongo, log: str) -> None:
    """Closed, and read to its end: no reader looks at it any more."""
    await mongo.database["logs"].update_one({"_id": log}, {"$set": {"state": "finished"}})
