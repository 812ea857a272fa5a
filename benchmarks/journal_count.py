"""What stands in MongoDB's journal: the count that a benchmark believes, instead of the answers that a client saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from py_service.journal.event import journal_id, parse_event_id
from py_service.journal.log import read_head
from py_service.stores.mongo import Mongo, find_by_ids

WINDOW = 200

Heads = dict[str, int]


@dataclass(slots=True)
class Counted:
    """Events of a stretch of the journal by kind, and the granted unlocks by the second in which their group read its clock."""

    kinds: Counter[str]
    granted_at_ms: list[int]
    documents: int

    def granted_between(self, begin_ms: int, end_ms: int) -> int:
        return sum(begin_ms <= at_ms < end_ms for at_ms in self.granted_at_ms)


async def heads(mongo: Mongo) -> Heads:
    """The last number of every log."""
    logs = await mongo.database["logs"].find({"state": {"$in": ["open", "closed"]}}).to_list()
    return {log["_id"]: (await read_head(mongo, log["_id"])).seq for log in logs}


async def count_between(mongo: Mongo, before: Heads, after: Heads) -> Counted:
    """Everything that was journaled after `before` and until `after`."""
    counted = Counted(Counter(), [], 0)
    for log, last in after.items():
        for first in range(before.get(log, 0) + 1, last + 1, WINDOW):
            ids = [journal_id(log, seq) for seq in range(first, min(first + WINDOW, last + 1))]
            documents = await find_by_ids(mongo.database, "journal", ids)
            counted.documents += len(documents)
            for document in documents:
                for event in document["events"]:
                    counted.kinds[event["kind"]] += 1
                    if event["kind"] == "authorized":
                        counted.granted_at_ms.append(int(document["at"]))
    return counted


async def stands(mongo: Mongo, identifier: str, door: str, person: str) -> bool:
    """Whether this unlock is in the journal, granted, for this door and this person."""
    name = parse_event_id(identifier)
    if name is None:
        return False
    document = await mongo.database["journal"].find_one({"_id": name.journal_id})
    if document is None or name.index >= len(document["events"]):
        return False
    event = document["events"][name.index]
    return (event["kind"], event["door"], event["person"]) == ("authorized", door, person)
