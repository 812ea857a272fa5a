"""Who is inside which area, as changes read and clear it (`states`, docs/protocols/documents.md, Stateful rules)."""

from __future__ import annotations

from pymongo.errors import PyMongoError

from py_service.permissions.change import Plan, View, Write
from py_service.permissions.listing import sites_of
from py_service.permissions.states import STATES, record_of, state_document, state_name
from py_service.stores.mongo import Document, Mongo, find_by_ids, is_conflict, store_errors

BEFORE_ALL_MS, AFTER_ALL_MS = -1, 1 << 53  # a range has both ends
STALE_AT_ONCE_MAX = 250
# A person is inside a few areas at most; of the others a reset takes them out. With all that ends with a person they fit into one change.
AREAS_LEFT_MAX = 90


def is_inside(record: Document, area: Document) -> bool:
    """Whoever entered no later than the reset is outside."""
    entered_at, reset_at = record.get("entered_at"), area.get("reset_at")
    return entered_at is not None and (reset_at is None or int(entered_at) > int(reset_at))


def since_reset(organization: str, area: str, counted: Document) -> Document:
    """The search for who entered after the area's reset: others keep a record until it is swept."""
    reset_at = counted.get("reset_at")
    after = BEFORE_ALL_MS if reset_at is None else int(reset_at)
    return {"inside_of": f"{organization}:{area}", "entered_at": {"$gt": after, "$lt": AFTER_ALL_MS}}


async def read_records(view: View, keys: list[str]) -> list[Document]:
    """In the order of the keys; empty where there is none."""
    names = [state_name(view.organization, key) for key in keys]
    found = {str(one["_id"]): record_of(one) for one in await find_by_ids(view.mongo.database, STATES, names, session=view.session)}
    return [found.get(name, {}) for name in names]


def written_record(view: View, key: str, record: Document) -> Write:
    """The whole record."""
    return Write(STATES, state_name(view.organization, key), state_document(view.organization, key, record))


async def counted_out(view: View, area: str, person: str) -> Plan:
    """The plan by which this person counts as outside; it changes nothing when they do already, but that nobody puts them back.

    Whoever has left is put back when the door stayed shut: that is over, too.
    """
    keys = [f"area.{area}", f"inside.{area}.{person}"]
    counted, inside = await read_records(view, keys)
    if not is_inside(inside, counted):
        return Plan(writes=[written_record(view, keys[1], {})]) if "left_at" in inside else Plan()
    counted = counted | {"count": max(int(counted.get("count", 0)) - 1, 0)}
    place = await view.find("area", area)
    sites = None if place is None else sites_of("area", place)
    event = view.event("area_reset", area, sites, person=person, detail={"persons": 1, "occupancy": counted["count"]})
    return Plan(events=[event], writes=[written_record(view, keys[0], counted), written_record(view, keys[1], {})])


async def counted_out_everywhere(view: View, person: str) -> Plan:
    """The plan by which this person is outside of every area that they are inside of."""
    states = view.mongo.database[STATES]
    found = await states.find({"inside_by": f"{view.organization}:{person}"}, session=view.session).limit(AREAS_LEFT_MAX).to_list()
    plan = Plan()
    for one in found:
        plan.join(await counted_out(view, str(one["inside_of"]).removeprefix(f"{view.organization}:"), person))
    return plan


def begun_anew(view: View, area: str, counted: Document) -> list[Write]:
    """Nobody is inside from now on; no earlier than the latest entry, which a clock that is ahead may have dated."""
    reset_at = max(view.at_ms, int(counted.get("last_at", 0)))
    record = written_record(view, f"area.{area}", {"count": 0, "reset_at": reset_at})
    return [record, stale_write(view.organization, area, reset_at)]


def stale_write(organization: str, area: str, reset_at_ms: int) -> Write:
    """A note for the worker: who entered this area by then is outside, and their records mean nothing any more."""
    name = state_name(organization, f"stale.{area}")
    return Write(STATES, name, {"_id": name, "org": organization, "stale_of": f"{organization}:{area}", "stale_at": reset_at_ms})


async def delete_stale(mongo: Mongo, now_ms: int) -> int:
    """Some records of people who were inside an area before it was reset; how many. Raises Problem 503."""
    states = mongo.database[STATES]
    async with store_errors():
        found = await states.find({"stale_at": {"$gt": BEFORE_ALL_MS, "$lt": now_ms}}).limit(1).to_list()
        for note in found:
            try:
                return await _delete_stale_of(mongo, str(note["_id"]))
            except PyMongoError as error:
                if not is_conflict(error):
                    raise  # else: somebody entered, or reset the area again: at the next sweep
    return 0


async def _delete_stale_of(mongo: Mongo, name: str) -> int:
    """In one transaction, so that what somebody writes meanwhile is left. The last to go is the note."""
    states = mongo.database[STATES]
    async with mongo.session() as session, mongo.transaction(session):
        note = await states.find_one({"_id": name}, session=session)
        if note is None:
            return 0
        entered_at = {"$gt": BEFORE_ALL_MS, "$lt": int(note["stale_at"]) + 1}
        stale = states.find({"inside_of": note["stale_of"], "entered_at": entered_at}, {"_id": 1}, session=session)
        names = [str(one["_id"]) for one in await stale.limit(STALE_AT_ONCE_MAX).to_list()]
        gone = names if len(names) == STALE_AT_ONCE_MAX else [*names, name]
        await states.delete_many({"_id": {"$in": gone}}, session=session)
        await session.commit_transaction()
    return len(names)
