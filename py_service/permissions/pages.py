"""List objects of one kind in the order of their names: all, those whose name begins so, or those that name something (one filter).

All of an organization is one range of `by_name`; a filter is one equality on `listed`, whose matches are put in order here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from py_service.errors import Problem, unknown
from py_service.paging import read_limit, read_place, write_cursor
from py_service.permissions.listing import AT_SITE, folded, listed_key
from py_service.permissions.store import read_object
from py_service.stores.indexes import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo, find_by_ids, store_errors

Sort = Literal["name", "-name"]
OF_THE_PAGE = ("limit", "cursor", "sort", "name")
CURSOR_KIND = "n1"
CURSOR_CHARACTERS_MAX = 2_048
AFTER_ALL_NAMES = ";"  # the character after the colon that ends the organization's part


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string, read. `sites`: only objects of these (a role that holds there only); None: of all."""

    limit: int
    after: str | None
    descending: bool
    begins: str
    filter: tuple[str, str] | None
    sites: list[str] | None


def read_query(known: Mapping[str, Any], query: Mapping[str, str], sites: list[str] | None) -> Asked:
    """`known`: what the operation takes, names and types (`Operation.query`): whatever isn't about the page is a filter.

    Raises Problem 400 `query_invalid` or `cursor_invalid`.
    """
    if query.keys() - known.keys():
        raise Problem(400, "query_invalid", f"Known here: {', '.join(sorted(known))}.")
    filters = [(name, query[name]) for name in known if name in query and name not in OF_THE_PAGE]
    if len(filters) > 1 or (filters and "name" in query):
        raise Problem(400, "query_invalid", "One filter at a time.")
    for name, value in filters:
        values = get_args(known[name]) if get_origin(known[name]) is Literal else (value,)
        if value not in values:
            raise Problem(400, "query_invalid", f"{name} is one of {', '.join(values)}.")
    sort = query.get("sort", "name")
    if sort not in ("name", "-name"):
        raise Problem(400, "query_invalid", "sort is name or -name.")
    cursor = query.get("cursor")
    after = None if cursor is None else read_place(CURSOR_KIND, cursor, CURSOR_CHARACTERS_MAX)
    return Asked(
        read_limit(query.get("limit")), after, sort == "-name", query.get("name", ""),
        filters[0] if filters else None, sites,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListObjects:
    """One per process."""

    mongo: Mongo

    async def __call__(self, organization: str, kind: str, asked: Asked) -> tuple[list[Document], str | None]:
        """A page, and the cursor of the next one. Raises Problem 404 for a filter that names nothing of this organization, 503."""
        async with store_errors():
            await self._named(organization, asked)
            if asked.filter is None and asked.sites is None:
                page = await self._range(organization, kind, asked)
            else:
                page = await self._matching(organization, kind, asked)
        more = len(page) > asked.limit
        page = page[: asked.limit]
        return page, write_cursor(CURSOR_KIND, _place(organization, page[-1])) if more else None

    async def _named(self, organization: str, asked: Asked) -> None:
        """A filter by something that isn't here is told apart from one by which nothing is listed."""
        if asked.filter is None or asked.filter[0] not in OBJECT_COLLECTIONS:
            return
        kind, identifier = asked.filter
        if await read_object(self.mongo, organization, kind, identifier) is None:
            raise unknown(kind)

    async def _range(self, organization: str, kind: str, asked: Asked) -> list[Document]:
        low, high = f"{organization}:{folded(asked.begins)}", f"{organization}{AFTER_ALL_NAMES}"
        if asked.begins:
            high = low + "\U0010ffff"
        bounds = {"$gte": low, "$lt": high}
        if asked.after is not None:
            place = f"{organization}:{asked.after}"
            bounds = {"$gte": low, "$lt": min(place, high)} if asked.descending else {"$gt": max(place, low), "$lt": high}
        found = self.mongo.database[OBJECT_COLLECTIONS[kind]].find({"by_name": bounds})
        return await found.sort("by_name", -1 if asked.descending else 1).limit(asked.limit + 1).to_list()

    async def _matching(self, organization: str, kind: str, asked: Asked) -> list[Document]:
        collection = self.mongo.database[OBJECT_COLLECTIONS[kind]]
        places: dict[str, str] = {}
        for key in self._keys(organization, kind, asked):
            async for document in collection.find({"listed": key}, {"by_name": 1, "at_sites": 1}):
                # What is at several sites is seen by who reaches all of them.
                if asked.sites is None or set(asked.sites).issuperset(document.get("at_sites") or ()):
                    places[document["_id"]] = document["by_name"]
        if kind == "site" and asked.sites is not None:
            found = await find_by_ids(self.mongo.database, "sites", [f"{organization}:{site}" for site in asked.sites])
            places = {document["_id"]: document["by_name"] for document in found if document.get("by_name") is not None}
        ordered = sorted(places.items(), key=lambda item: item[1], reverse=asked.descending)
        begins = f"{organization}:{folded(asked.begins)}"
        wanted = [name for name, place in ordered if place.startswith(begins) and _follows(organization, place, asked)]
        page = wanted[: asked.limit + 1]
        documents = {document["_id"]: document for document in await find_by_ids(self.mongo.database, collection.name, page)}
        return [documents[name] for name in page if name in documents and documents[name].get("by_name") is not None]

    @staticmethod
    def _keys(organization: str, kind: str, asked: Asked) -> list[str]:
        if kind == "pass" and asked.filter is not None and asked.filter[0] == "site":
            return [listed_key(organization, AT_SITE, asked.filter[1])]  # a pass names doors, and is at their sites
        if asked.filter is not None:
            return [listed_key(organization, *asked.filter)]
        return [] if kind == "site" else [listed_key(organization, AT_SITE, site) for site in asked.sites or []]


def refuse_foreign_filter(chosen: tuple[str, str] | None, sites: list[str] | None) -> None:
    """A role that holds at some sites narrows a list by site only, and to one of its own. Raises Problem 400, 404."""
    if chosen is None or sites is None:
        return
    field, value = chosen
    if field != "site":
        raise Problem(400, "query_invalid", "A role for some sites can filter by site only.")
    if value not in sites:
        raise unknown("site")


def _follows(organization: str, place: str, asked: Asked) -> bool:
    if asked.after is None:
        return True
    after = f"{organization}:{asked.after}"
    return place < after if asked.descending else place > after


def _place(organization: str, document: Document) -> str:
    return str(document["by_name"])[len(organization) + 1 :]
