"""The unlock room's queries."""

from __future__ import annotations

from py_service.journal.event import Event, EventName
from py_service.stores.mongo import Mongo
from py_service.unlock.attempt import Outcome
from py_service.unlock.messages import UNLOCKED, UNLOCKED_FAILED, State

NOT_COMMANDED = "not_commanded"
ENDS = (UNLOCKED, UNLOCKED_FAILED, NOT_COMMANDED)


async def read_event(mongo: Mongo, name: EventName) -> Event | None:
    """An event by its id, from the journal itself."""
    document = await mongo.database["journal"].find_one({"_id": name.journal_id}, {"events": 1})
    if document is None or name.index >= len(document["events"]):
        return None
    event: Event = document["events"][name.index]
    return event


async def read_attempt(mongo: Mongo, organization: str, attempt: str) -> list[Event]:
    """Every event of an attempt that is projected, in no order."""
    events = await mongo.database["events"].find({"attempt": attempt}).to_list()
    return [event for event in events if event["org"] == organization]


async def read_ends(mongo: Mongo, organization: str, attempt: str) -> list[Event]:
    """Every end of an attempt that is projected, in no order."""
    return [event for event in await read_attempt(mongo, organization, attempt) if event["kind"] in ENDS]


async def read_outcome(mongo: Mongo, organization: str, attempt: str) -> Outcome | None:
    """How an attempt ended, as far as it is projected; what the lock said counts before what the worker concluded."""
    ends = await read_ends(mongo, organization, attempt)
    if not ends:
        return None
    ends.sort(key=lambda event: (event["kind"] != UNLOCKED, event.get("reason") == "unconfirmed", event["position"]))
    state: State = UNLOCKED if ends[0]["kind"] == UNLOCKED else UNLOCKED_FAILED
    return Outcome(state, ends[0].get("reason"))
