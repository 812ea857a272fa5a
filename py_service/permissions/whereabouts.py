"""Who is inside which area, as changes read and clear it (`states`, docs/protocols/documents.md, Stateful rules)."""

from __future__ import annotations

from py_service.permissions.change import Plan, View, Write
from py_service.permissions.states import STATES, record_of, state_document, state_name
from py_service.stores.mongo import Document, find_by_ids

AREAS_LEFT_MAX = 100  # a person is inside a few areas at most; of the others a reset takes them out


def is_inside(record: Document, area: Document) -> bool:
    """Whoever entered no later than the reset is outside."""
    entered_at, reset_at = record.get("entered_at"), area.get("reset_at")
    return entered_at is not None and (reset_at is None or int(entered_at) > int(reset_at))


async def read_records(view: View, keys: list[str]) -> list[Document]:
    """In the order of the keys; empty where there is none."""
    names = [state_name(view.organization, key) for key in keys]
    found = {str(one["_id"]): record_of(one) for one in await find_by_ids(view.mongo.database, STATES, names, session=view.session)}
    return [found.get(name, {}) for name in names]


def written_record(view: View, key: str, record: Document) -> Write:
    """The whole record."""
    return Write(STATES, state_name(view.organization, key), state_document(view.organization, key, record))


async def counted_out(view: View, area: str, person: str) -> Plan:
    """The plan by which this person counts as outside; an empty one when they do already."""
    keys = [f"area.{area}", f"inside.{area}.{person}"]
    counted, inside = await read_records(view, keys)
    if not is_inside(inside, counted):
        return Plan()
    counted = counted | {"count": max(int(counted.get("count", 0)) - 1, 0)}
    event = view.event("area_reset", area, person=person, detail={"persons": 1, "occupancy": counted["count"]})
    return Plan(events=[event], writes=[written_record(view, keys[0], counted), written_record(view, keys[1], {})])


async def counted_out_everywhere(view: View, person: str) -> Plan:
    """The plan by which this person is outside of every area that they are inside of."""
    states = view.mongo.database[STATES]
    found = await states.find({"inside_by": f"{view.organization}:{person}"}, session=view.session).limit(AREAS_LEFT_MAX).to_list()
    plan = Plan()
    for one in found:
        plan.join(await counted_out(view, str(one["inside_of"]).removeprefix(f"{view.organization}:"), person))
    return plan
