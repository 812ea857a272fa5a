"""What can be proved afterwards: the journal, its projection, and the bolts that moved, held against each other.

Everything is read from the stores directly, past the service. What doesn't live here: the faults, and what clients were told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import bson

from py_service.journal.event import event_id
from py_service.journal.verify import verify_logs
from py_service.stores.mongo import Document, Mongo
from py_service.unlock.messages import HOLD_AUTHORIZED, HOLD_BEGUN, HOLD_FAILED
from tests.e2e.running import Service, until

# What changes by itself, whoever asks for what; the journal is compared by the names of its documents.
VOLATILE = {"logs", "journal", "leases", "projections", "outbox", "mailed_tokens", "pass_links", "event_positions"}
# What a lock says of itself, and a lease that it asks for: where locks run also while a test looks, of doors that an earlier one changed.
OF_LOCKS = frozenset({"door.state", HOLD_AUTHORIZED, HOLD_BEGUN, HOLD_FAILED})


@dataclass(slots=True)
class Journal:
    """Every event of every log, by id; `documents` are the journal documents by `_id`."""

    events: dict[str, Document]
    documents: dict[str, Document]
    processes: dict[str, str]  # by log: whose it is

    def process_of(self, event: str) -> str:
        return self.processes[event.rsplit(":", 2)[0]]

    def commanded(self) -> set[str]:
        """Grants that nothing in the journal says weren't commanded."""
        granted = {name for name, event in self.events.items() if event["kind"] == "authorized"}
        return granted - {str(event.get("attempt")) for event in self.events.values() if event["kind"] == "not_commanded"}

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
    logs = await service.database["logs"].find({}).to_list()
    return Journal(events, documents, {log["_id"]: str(log["process"]) for log in logs})


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
        faults += [f"{verified.log}: {verified.fault}" for verified in await verify_logs(mongo) if verified.fault is not None]
    finally:
        await mongo.close()
    journal, projection = await read_journal(service), await read_projection(service)
    names = Counter(str(event["id"]) for event in projection)
    faults += [f"{name} is projected {times} times" for name, times in sorted(names.items()) if times > 1]
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
        if event is None or event["kind"] not in ("authorized", "hold.authorized") or event["lock"] != move.lock:
            faults.append(f"{move.lock} moved on {move.command}, which is {event}")
    return faults


async def standing(service: Service) -> dict[str, object]:
    """Everything that a request could change, byte for byte, so that two of them can be compared. A new collection is compared, too."""
    left_out = OF_LOCKS if service.fleet is not None else frozenset[str]()
    found: dict[str, object] = {}
    for collection in sorted(set(await service.database.list_collection_names()) - VOLATILE):
        compared = {"kind": {"$nin": sorted(left_out)}} if collection == "events" else {}
        documents = await service.database[collection].find(compared).to_list()
        found[collection] = sorted(bson.encode(document) for document in documents)
    found["journal"] = sorted(name for name, event in (await read_journal(service)).events.items() if event["kind"] not in left_out)
    return found


ENDS = ("unlocked", "unlocked.failed", "not_commanded")


def faults_of_outcomes(service: Service, journal: Journal) -> list[str]:
    """What is wrong with how granted attempts ended: each ends once, and whoever drew a bolt back said so.

    `unconfirmed` is the service's word for not knowing; a lock that could not be heard in time may still say what it did, once.
    """
    faults: list[str] = []
    moved = {str(move.command) for move in service.moves()}
    for name, event in journal.events.items():
        if event["kind"] != "authorized":
            continue
        ends = [end for end in journal.of_attempt(name) if end["kind"] in ENDS]
        by_lock = [end for end in ends if "number" in end.get("detail", {})]
        concluded = [end for end in ends if end not in by_lock]
        told = [f"{end['kind']} {end.get('reason', '')}".strip() for end in ends]
        contradicted = bool(by_lock) and any(end.get("reason") != "unconfirmed" for end in concluded)
        if not ends or len(by_lock) > 1 or len(concluded) > 1 or contradicted:
            faults.append(f"{name} ended {len(ends)} times: {', '.join(told)}")
        if name in moved and "unlocked" not in told:
            faults.append(f"{name} moved a bolt, and ended: {', '.join(told)}")
    return faults + [f"{name}: {event}" for name, event in journal.events.items() if event["kind"] == "report.unmatched"]


async def faults_in_the_changes(service: Service) -> list[str]:
    """What is wrong with the change records: empty when each organization's are numbered 1 to its revision."""
    faults: list[str] = []
    for document in await service.database["revisions"].find({}).to_list():
        records = await service.database["changes"].find({"org": document["_id"]}).to_list()
        numbers = sorted(int(record["revision"]) for record in records)
        if numbers != list(range(1, int(document["revision"]) + 1)):
            faults.append(f"{document['_id']} stands at {document['revision']}, with {len(numbers)} records, the last {numbers[-3:]}")
    return faults
