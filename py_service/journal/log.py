"""One lane's append-only log: gapless numbers, each document chained to the one before by SHA-256.

INVARIANT: one process writes a log, and only its lane's committer task does, one transaction at a time.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import bson
from bson.binary import Binary

from py_service.journal.event import Event, journal_id
from py_service.stores.mongo import Document, Mongo, now_ms, session_name
from py_service.stores.place import own_place

FIRST_HASH = bytes(32)
SETTLED_LANE = "settled"  # of the stateful unlocks: only its grants take something
HASHED_FIELDS = ("_id", "at", "prev", "keys", "events", "closed")


class LogTaken(Exception):
    """Somebody else wrote our next number: this process was declared dead. It must stop."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last document of a log: `seq` 0 and zeros before the first."""

    seq: int
    hash: bytes


def document_hash(document: Document) -> bytes:
    """SHA-256 over the BSON of everything but the hash itself, in the order in which it is written."""
    body = {name: document[name] for name in HASHED_FIELDS if name in document}
    return hashlib.sha256(bson.encode(body)).digest()


def next_document(log: str, head: Head, at_ms: int, keys: list[str], events: list[Event]) -> Document:
    """The document after `head`, hashed."""
    document: Document = {"_id": journal_id(log, head.seq + 1), "at": at_ms, "prev": Binary(head.hash)}
    if keys:
        document["keys"] = keys
    document["events"] = events
    document["hash"] = Binary(document_hash(document))
    return document


class Log:
    """The log of one lane in this process."""

    def __init__(self, mongo: Mongo, identifier: str, head: Head) -> None:
        self._mongo = mongo
        self.id = identifier
        self.head = head
        self.session = mongo.session()  # its lane's transactions, so that whoever closes the log of a dead process can end them
        # Hashes that we tried to write at head.seq + 1 and whose commit stayed unknown.
        self._unknown: set[bytes] = set()

    @classmethod
    async def birth(cls, mongo: Mongo, lane: str, process: str) -> Log:
        """Register a new log that names its predecessor's head."""
        identifier = f"{lane}-{secrets.token_hex(8)}"
        predecessor = await _predecessor(mongo, lane)
        born_at = now_ms()
        log = cls(mongo, identifier, Head(0, FIRST_HASH))
        await mongo.database["logs"].insert_one(
            {"_id": identifier, "lane": lane, "process": process, "born_at": born_at, "alive_at": born_at,
             "state": "open", "predecessor": predecessor, "closed": None, "place": own_place(), "session": session_name(log.session)}
        )  # fmt: skip
        return log

    def document(self, at_ms: int, keys: list[str], events: list[Event]) -> Document:
        """The next document; not written."""
        return next_document(self.id, self.head, at_ms, keys, events)

    def committed(self, document: Document) -> None:
        """The document is in the store: the head moves."""
        self.head = Head(self.head.seq + 1, bytes(document["hash"]))
        self._unknown.clear()

    def unknown(self, document: Document) -> None:
        """The commit's outcome is not known: `settle` before the next."""
        self._unknown.add(bytes(document["hash"]))

    @property
    def unsettled(self) -> bool:
        return bool(self._unknown)

    async def settle(self) -> bytes | None:
        """Learn what became of an unknown commit. The hash of what had been written, None when the number is free.

        Raises LogTaken when a foreign document stands there, pymongo errors when the store doesn't answer.
        """
        found = await self._mongo.database["journal"].find_one({"_id": journal_id(self.id, self.head.seq + 1)}, {"hash": 1})
        if found is None:
            # The set stays: a commit that is still under way can yet land on this number.
            return None
        if bytes(found["hash"]) not in self._unknown:
            raise LogTaken(self.id)
        self.head = Head(self.head.seq + 1, bytes(found["hash"]))
        self._unknown.clear()
        return self.head.hash

    async def beat(self) -> None:
        """Say that the process lives."""
        await self._mongo.database["logs"].update_one({"_id": self.id}, {"$set": {"alive_at": now_ms()}})


async def _predecessor(mongo: Mongo, lane: str) -> Document | None:
    logs = await mongo.database["logs"].find({"lane": lane}).to_list()
    if not logs:
        return None
    last = max(logs, key=lambda log: (log["born_at"], log["_id"]))
    head = await read_head(mongo, last["_id"])
    return {"log": last["_id"], "seq": head.seq, "hash": Binary(head.hash)}


async def read_head(mongo: Mongo, log: str) -> Head:
    """The last number of a log, found by doubling and halving over exact ids: no range, so no scan."""
    low = 0
    high = 1
    while await _exists(mongo, log, high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if await _exists(mongo, log, middle):
            low = middle
        else:
            high = middle
    if low == 0:
        return Head(0, FIRST_HASH)
    document = await mongo.database["journal"].find_one({"_id": journal_id(log, low)}, {"hash": 1})
    if document is None:
        raise LogTaken(log)  # gapless: what existed a moment ago can't be gone
    return Head(low, bytes(document["hash"]))


async def _exists(mongo: Mongo, log: str, seq: int) -> bool:
    return await mongo.database["journal"].find_one({"_id": journal_id(log, seq)}, {"_id": 1}) is not None
