"""What can be proved afterwards: the journal, its projection, and the bolts that moved, held against each other.

Everything is read from the stores directly, past the service. What doesn't live here: the faults, and what clients were told.
"""

from __future__ import annotations

from dataclasses import dataclass

import bson

from py_service.journal.event import event_id
from py_service.journal.verify import verify_log
from py_service.stores.indexes import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo
from tests.e2e.running import Service, until

PERMANENT = (*OBJECT_COLLECTIONS.values(), "revisions", "changes", "accounts", "sessions", "signing_keys")


@dataclass(slots=True)
class Journal:
    """Every event of every log, by id; `documents` are the journal documents by `_id`."""

    events: dict[str, Document]
    documents: dict[str, Document]

    def of_attempt(self, attempt: str) -> list[Document]:
        return [event for event in self.events.values() if event.get("attempt") == attempt]

    def kinds_of(self, attempt: str) -> list[str]:
        """In no order that means anything, sorted."""
        return sorted(str(event["kind"]) for event in self.of_attempt(attempt))


async def read_journal(service: Service) -> Journal:
    documents = {document["_id"]: document for document in await service.database["journal"].find({}).to_list()}
    events: dict[str, Document] = {}
    for identifier, document in documents.items():
        log, _, seq = identifier.rpartition(":")
        for index, event in enumerate(document["events"]):
            events[event_id(log, int(seq), index)] = event
    return Journal(events, documents)


async def read_projection(service: Service) -> list[Document]:
    return await service.database["events"].find({}).to_list()


async def projected(service: Service, seconds: float = 15.0) -> None:
    """Wait until the worker has read the journal to its end. Raises TimeoutError."""

    async def everything() -> bool:
        found = {event["id"] for event in await read_projection(service)}
        return found >= (await read_journal(service)).events.keys()

    await until(everything, seconds)


async def faults_in_the_books(service: Service) -> list[str]:
    """What is wrong with logs and projection: empty when every log is whole, every event is projected once, and positions are dense."""
    faults: list[str] = []
    mongo = Mongo(service.stack.settings.mongo_url or "", service.stack.settings.mongo_database, 10_000)
    try:
        for log in await service.database["logs"].find({}).to_list():
            verified = await verify_log(mongo, log["_id"])
            if verified.fault is not None:
                faults.append(f"{log['_id']}: {verified.fault}")
    finally:
        await mongo.close()
    journal, projection = await read_journal(service), await read_projection(service)
    names = [str(event["id"]) for event in projection]
    faults += [f"{name} is projected {names.count(name)} times" for name in sorted(set(names)) if names.count(name) > 1]
    faults += [f"{name} is not projected" for name in sorted(journal.events.keys() - set(names))]
    faults += [f"{name} is projected and in no log" for name in sorted(set(names) - journal.events.keys())]
    for organization in {str(event["org"]) for event in projection}:
        positions = sorted(int(event["position"]) for event in projection if event["org"] == organization)
        if positions != list(range(1, len(positions) + 1)):
            faults.append(f"{organization}: positions are not dense: {positions[:3]} to {positions[-3:]}, {len(positions)} events")
    return faults


async def unauthorized_moves(service: Service) -> list[str]:
    """Commands on which a bolt moved although the journal has no grant for them at that lock, or moved twice."""
    journal = await read_journal(service)
    commands = [str(move.command) for move in service.moves()]
    faults = [f"{command} moved {commands.count(command)} times" for command in sorted(set(commands)) if commands.count(command) > 1]
    for move in service.moves():
        event = journal.events.get(str(move.command))
        if event is None or event["kind"] != "authorized" or event["lock"] != move.lock:
            faults.append(f"{move.lock} moved on {move.command}, which is {event}")
    return faults


async def standing(service: Service) -> dict[str, object]:
    """Everything that a request could change, so that two of them can be compared: permissions, sessions, the journal."""
    found: dict[str, object] = {}
    for collection in PERMANENT:
        documents = await service.database[collection].find({}).to_list()
        found[collection] = sorted(bson.encode(document) for document in documents)
    journal = await read_journal(service)
    found["journal"] = sorted(journal.documents)
    return found
