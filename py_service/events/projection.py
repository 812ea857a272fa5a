"""Projects the journal into `events`: dense positions per organization, each event exactly once.

One transaction per batch holds the lease, gives out positions, inserts the events and moves the marks, so that a crash repeats nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from py_service.journal.commit import NothingWritten, commit_known
from py_service.journal.event import (
    Event,
    command_expires_at_ms,
    event_body,
    event_id,
    journal_id,
    parse_event_id,
    stayed_shut,
    topics_of,
)
from py_service.journal.keeper import finish_log
from py_service.journal.log import SETTLED_LANE
from py_service.stores.bus import Bus, BusAway, BusUnknown, Published
from py_service.stores.lease import Lease
from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Document, Mongo, find_by_ids, is_conflict, now_ms

READER = "events"
WINDOW_DOCUMENTS = 16
BATCH_EVENTS_MAX = 512
RECALLED_DOCUMENTS = 64  # of a log, at once
GIVE_BACK_AFTER_MS = 2_000  # whoever made the attempt does it, if it lives
ENDED = ("unlocked", "unlocked.failed", "not_commanded")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Projected:
    """An event on its way from the journal."""

    identifier: str
    event: Event


class Projection:
    """Lives in the worker."""

    def __init__(self, mongo: Mongo, bus: Bus, lease: Lease) -> None:
        self._mongo = mongo
        self._bus = bus
        self._lease = lease
        self._marks: dict[str, int] | None = None
        self._finished: set[str] = set()  # the caller's register may be a second old; a finished log is never read from its start again
        self.lag_ms = 0

    async def step(self, logs: list[Document]) -> list[Event]:
        """Project the next window of every log; the events that were projected. Empty: the journal is read to its end."""
        marks = await self._read_marks()
        await self._finish(logs, marks)
        documents = await self._next(logs, marks)
        if not documents:
            self.lag_ms = 0
            return []
        batch = [
            Projected(event_id(log, seq, index), event)
            for log, seq, document in documents
            for index, event in enumerate(document["events"])
        ]
        moved = {log: seq for log, seq, _ in documents}
        await self._write(batch, moved)
        marks.update(moved)
        self.lag_ms = max(0, now_ms() - min(document["at"] for _, _, document in documents))
        await self._publish(batch)
        return [item.event for item in batch]

    async def recall(self, lane: str, since_ms: int) -> list[Event]:
        """Events of a lane that were committed since then and are projected, by whatever worker. Raises pymongo errors."""
        marks = await self._read_marks()
        events: list[Event] = []
        for log in await self._mongo.database["logs"].find({"lane": lane}).to_list():
            finished = log["state"] == "finished"
            if finished and log["closed"]["at"] < since_ms - CLOCK_DIFFERENCE_MS_MAX:
                continue  # of a process that ended long ago
            last = int(log["closed"]["seq"]) if finished else marks.get(log["_id"], 0)
            while last > 0:
                first = max(1, last + 1 - RECALLED_DOCUMENTS)
                names = [journal_id(log["_id"], seq) for seq in range(first, last + 1)]
                found = await find_by_ids(self._mongo.database, "journal", names)
                late = [document for document in found if document["at"] >= since_ms]
                events += [event for document in late for event in document["events"]]
                last = first - 1 if late else 0
        return events

    def forget(self) -> None:
        """After a failure the marks are read again."""
        self._marks = None

    async def _read_marks(self) -> dict[str, int]:
        if self._marks is None:
            document = await self._mongo.database["projections"].find_one({"_id": READER})
            self._marks = {} if document is None else dict(document["logs"])
        return self._marks

    async def _next(self, logs: list[Document], marks: dict[str, int]) -> list[tuple[str, int, Document]]:
        places = {
            journal_id(log["_id"], seq): (log["_id"], seq)
            for log in logs
            if log["_id"] not in self._finished
            for seq in range(marks.get(log["_id"], 0) + 1, marks.get(log["_id"], 0) + 1 + WINDOW_DOCUMENTS)
        }
        found = {document["_id"]: document for document in await find_by_ids(self._mongo.database, "journal", list(places))}
        taken: list[tuple[str, int, Document]] = []
        stopped: set[str] = set()
        events = 0
        for identifier, (log, seq) in places.items():
            document = found.get(identifier)
            if document is None or log in stopped or events >= BATCH_EVENTS_MAX:
                stopped.add(log)
                continue
            taken.append((log, seq, document))
            events += len(document["events"])
        # Oldest first, whatever the log: positions follow the time of commit as closely as one reader can.
        return sorted(taken, key=lambda item: (item[2]["at"], item[0], item[1]))

    async def _write(self, batch: list[Projected], moved: dict[str, int]) -> None:
        at_ms = now_ms()
        session = self._lease.session
        async with self._mongo.transaction(session):
            try:
                await self._lease.hold(session)
                await self._insert(session, batch)
                marks = {f"logs.{log}": seq for log, seq in moved.items()}
                await self._mongo.database["projections"].update_one(
                    {"_id": READER}, {"$set": {**marks, "lag_ms": self.lag_ms, "at": at_ms}}, upsert=True, session=session
                )
            except PyMongoError as error:
                if is_conflict(error):
                    raise NothingWritten from None
                raise
            if not await commit_known(session, at_ms):
                self._mongo.leave(session)
                raise NothingWritten  # the marks are read again: they say whether it was
        self._lease.renewed()

    async def _insert(self, session: AsyncClientSession, batch: list[Projected]) -> None:
        if not batch:
            return
        positions = await self._positions(session, batch)
        documents: list[Document] = []
        for item in batch:
            organization = str(item.event["org"])
            positions[organization] += 1
            position = positions[organization]
            documents.append({"_id": f"{organization}:{position:012d}", "position": position, "id": item.identifier, **item.event})
        await self._mongo.database["events"].insert_many(documents, ordered=False, session=session)
        for organization, position in positions.items():
            await self._mongo.database["event_positions"].update_one(
                {"_id": organization}, {"$set": {"position": position}}, upsert=True, session=session
            )
        await self._open_and_close(session, batch)
        await self._owe_give_backs(session, batch)

    async def _positions(self, session: AsyncClientSession, batch: list[Projected]) -> dict[str, int]:
        organizations = list({str(item.event["org"]) for item in batch})
        found = await self._mongo.database["event_positions"].find({"_id": {"$in": organizations}}, session=session).to_list()
        have = {document["_id"]: int(document["position"]) for document in found}
        return {organization: have.get(organization, 0) for organization in organizations}

    async def _open_and_close(self, session: AsyncClientSession, batch: list[Projected]) -> None:
        """Keep the granted attempts that have no end yet; most open and close in one batch and never touch the store."""
        opened = {item.identifier: item.event for item in batch if item.event["kind"] == "authorized"}
        closed = [str(item.event.get("attempt")) for item in batch if item.event["kind"] in ENDED]
        ended = [identifier for identifier in closed if identifier not in opened]
        still_open = [_open_attempt(name, event) for name, event in opened.items() if name not in set(closed)]
        if ended:
            await self._mongo.database["open_attempts"].delete_many({"_id": {"$in": ended}}, session=session)
        if still_open:
            await self._mongo.database["open_attempts"].insert_many(still_open, ordered=False, session=session)

    async def _owe_give_backs(self, session: AsyncClientSession, batch: list[Projected]) -> None:
        """What a grant took whose door stayed shut: whoever was to give it back may have died, so it is noted."""
        done = {str(item.event["attempt"]) for item in batch if item.event["kind"] == "given_back"}
        shut = {str(item.event["attempt"]): item.event for item in batch if stayed_shut(item.event)}
        grants = await self._settled_grants(batch, [name for name in shut if name not in done])
        writes = [
            ReplaceOne({"_id": name}, _give_back(grant, shut[name]), upsert=True) for name, grant in grants.items() if grant.get("taken")
        ]
        if writes:
            await self._mongo.database["give_backs"].bulk_write(writes, session=session)

    async def _settled_grants(self, batch: list[Projected], attempts: list[str]) -> dict[str, Event]:
        """The grants of those attempts that went through the stateful lane, from the batch or the journal."""
        names = {text: name for text in attempts if (name := parse_event_id(text)) and name.log.startswith(f"{SETTLED_LANE}-")}
        found = {item.identifier: item.event for item in batch if item.identifier in names}
        before = {name.journal_id for text, name in names.items() if text not in found}
        documents = {one["_id"]: one["events"] for one in await find_by_ids(self._mongo.database, "journal", sorted(before))}
        for text, name in names.items():
            events = documents.get(name.journal_id, [])
            if name.index < len(events):
                found[text] = events[name.index]
        return found

    async def _finish(self, logs: list[Document], marks: dict[str, int]) -> None:
        """Logs that are read to their end. Not before the register itself calls them closed: whoever says so would say it afterwards."""
        for log in logs:
            name = log["_id"]
            if log["state"] != "closed" or name in self._finished or marks.get(name, 0) < log["closed"]["seq"]:
                continue
            await finish_log(self._mongo, name)
            self._finished.add(name)  # before its mark goes: without one it would be read from its start
            await self._mongo.database["projections"].update_one({"_id": READER}, {"$unset": {f"logs.{name}": ""}})
            marks.pop(name, None)

    async def _publish(self, batch: list[Projected]) -> None:
        """Again, for what a dead process didn't: Redis drops what it has seen."""
        events = [Published(item.identifier, event_body(item.identifier, item.event), topics_of(item.event)) for item in batch]
        try:
            await self._bus.publish([], events)
        except (BusAway, BusUnknown) as error:
            logger.warning("events_not_published", error=str(error), events=len(events))


def _give_back(grant: Event, end: Event) -> Document:
    return {
        "org": grant["org"], "door": grant["door"], "person": grant["person"], "sites": grant.get("sites"), "at": grant["at"],
        "taken": grant["taken"], "due_at": max(int(end["at"]), now_ms()) + GIVE_BACK_AFTER_MS,
    }  # fmt: skip


def _open_attempt(identifier: str, event: Event) -> Document:
    return {
        "_id": identifier, "org": event["org"], "door": event.get("door"), "person": event.get("person"), "lock": event.get("lock"),
        "sites": event.get("sites"), "expires_at": command_expires_at_ms(int(event["at"]), event.get("wait")),
    }  # fmt: skip
