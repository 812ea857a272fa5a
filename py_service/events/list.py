"""A page of what happened, newest first."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from py_service.exchange import moment
from py_service.identifiers import Moment
from py_service.paging import NextCursor, cursor_invalid, read_place, write_cursor
from py_service.stores.mongo import Document, Mongo, find_by_ids, plain, store_errors

CURSOR_KIND = "e1"
CURSOR_CHARACTERS_MAX = 64

_DETAIL = msgspec.json.Encoder(enc_hook=plain)  # a detail is open: what stands in it comes back as BSON has it


class EventItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event of docs/protocols/documents.md; absent fields are left out."""

    id: str
    kind: str
    at: Moment
    attempt: str | None = None
    door: str | None = None
    person: str | None = None
    lock: str | None = None
    reason: str | None = None
    rule: str | None = None
    revision: int | None = None
    actor: str | None = None
    subject: str | None = None
    detail: msgspec.Raw | None = None


class EventPage(msgspec.Struct, kw_only=True):
    """`next_cursor` None: the beginning of the log."""

    items: list[EventItem]
    next_cursor: NextCursor


@dataclass(frozen=True, slots=True)
class ListEvents:
    """Positions are dense, so a page is a window of exact ids: the same cost at any depth."""

    mongo: Mongo

    async def __call__(self, organization: str, limit: int, cursor: str | None) -> EventPage:
        """Raises Problem 400 `cursor_invalid`, 503."""
        async with store_errors():
            last = await self._last(organization) if cursor is None else read_cursor(cursor) - 1
            first = max(1, last - limit + 1)
            ids = [f"{organization}:{position:012d}" for position in range(first, last + 1)]
            documents = await find_by_ids(self.mongo.database, "events", ids)
        documents.sort(key=lambda document: -int(document["position"]))
        more = first > 1 and documents
        return EventPage(items=[_item(document) for document in documents], next_cursor=make_cursor(first) if more else None)

    async def _last(self, organization: str) -> int:
        document = await self.mongo.database["event_positions"].find_one({"_id": organization})
        return 0 if document is None else int(document["position"])


def _item(document: Document) -> EventItem:
    return EventItem(
        id=document["id"],
        kind=document["kind"],
        at=moment(document["at"]),
        attempt=document.get("attempt"),
        door=document.get("door"),
        person=document.get("person"),
        lock=document.get("lock"),
        reason=document.get("reason"),
        rule=document.get("rule"),
        revision=None if document.get("revision") is None else int(document["revision"]),
        actor=document.get("actor"),
        subject=document.get("subject"),
        detail=None if document.get("detail") is None else msgspec.Raw(_DETAIL.encode(document["detail"])),
    )


def make_cursor(position: int) -> str:
    """The page ends before `position`."""
    return write_cursor(CURSOR_KIND, str(position))


def read_cursor(cursor: str) -> int:
    """Raises Problem 400 `cursor_invalid`."""
    number = read_place(CURSOR_KIND, cursor, CURSOR_CHARACTERS_MAX)
    if not (number.isascii() and number.isdigit() and len(number) <= 12):
        raise cursor_invalid()
    return int(number)
