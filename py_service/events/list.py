"""A page of what happened, newest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from py_service.exchange import moment
from py_service.identifiers import Moment
from py_service.paging import NextCursor, cursor_invalid, read_place, write_cursor
from py_service.stores.mongo import Document, Mongo, find_by_ids, plain, store_errors

CURSOR_KIND = "e1"
CURSOR_CHARACTERS_MAX = 64
LOOKED_AT_MAX = 2_000
LOOKED_AT_ONCE = 200

IsSeen = Callable[[Document], bool]

_DETAIL = msgspec.json.Encoder(enc_hook=plain)  # a detail is open: what stands in it comes back as BSON has it


class PassedBack(msgspec.Struct):
    """Who was let into this area though they were inside it already: soft anti-passback refuses nobody."""

    area: str
    persons: list[str]


class EventItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event of docs/protocols/documents.md; absent fields are left out."""

    id: str
    kind: str
    at: Moment
    attempt: str | None = None
    door: str | None = None
    person: str | None = None
    lock: str | None = None
    sites: list[str] | None = None
    reason: str | None = None
    rule: str | None = None
    revision: int | None = None
    passed_back: PassedBack | None = None
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

    async def __call__(self, organization: str, limit: int, cursor: str | None, is_seen: IsSeen | None = None) -> EventPage:
        """Where only some are to be seen, LOOKED_AT_MAX are looked at for a page, which may then be short.

        Raises Problem 400 `cursor_invalid`, 503.
        """
        async with store_errors():
            end = await self._last(organization) + 1 if cursor is None else read_cursor(cursor)
            last_looked_at = max(1, end - LOOKED_AT_MAX)
            at_once = limit if is_seen is None else max(limit, LOOKED_AT_ONCE)
            found: list[Document] = []
            while len(found) < limit and end > 1 and (is_seen is None or end > last_looked_at):
                first = max(1, end - at_once)
                documents = await self._window(organization, first, end)
                if not documents:
                    return EventPage(items=[_item(document) for document in found], next_cursor=None)
                end = first
                for document in documents:
                    if is_seen is None or is_seen(document):
                        found.append(document)
                        if len(found) == limit:
                            end = int(document["position"])
                            break
                if is_seen is None:
                    break
        return EventPage(items=[_item(document) for document in found], next_cursor=make_cursor(end) if end > 1 else None)

    async def _window(self, organization: str, first: int, end: int) -> list[Document]:
        """Events of positions from `first` to before `end`, newest first."""
        ids = [f"{organization}:{position:012d}" for position in range(first, end)]
        documents = await find_by_ids(self.mongo.database, "events", ids)
        return sorted(documents, key=lambda document: -int(document["position"]))

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
        sites=document.get("sites"),
        reason=document.get("reason"),
        rule=document.get("rule"),
        revision=None if document.get("revision") is None else int(document["revision"]),
        passed_back=None if document.get("passed_back") is None else PassedBack(**document["passed_back"]),
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
