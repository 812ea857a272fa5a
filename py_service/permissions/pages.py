"""List objects of one kind in the order of their names, or of their time where they have none: all, or those of which all of this holds:
their name begins so, they name something, they are in some state (filters).

All of an organization is one range of `by_name`; a filter is one equality on `listed` beside such a range, both of one index: a page reads
what it shows. Of several filters the likely narrowest is read by, and the others are looked for in what that finds. A role that holds at
several sites is one such read a site, merged. (A server that doesn't stop at the limit, as the embedded one, walks the rest of the range.)

What a role for some sites is shown by filters is what there is of it at those sites. Neither the length of a page nor its cursor may tell
of other sites: what few objects have is read to its end at once, and else what is at the sites, or at the place that is asked for, is
looked through.

Some filters ask for what no index holds, as the time that it is decides it (the state of a pass). Whoever has such a list judges what is
read, a thousand at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from py_service.errors import Problem, unknown
from py_service.identifiers import IDENTIFIER_CHARACTERS_MAX
from py_service.paging import read_limit, read_place, write_cursor
from py_service.permissions.listing import AT_SITE, PLACE_BYTES_MAX, folded, listed_key, listed_sites, name_place, sites_of
from py_service.permissions.stage import STAGED_KINDS, is_live, read_live
from py_service.permissions.store import read_object
from py_service.permissions.text import spelled_email
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo, find_by_ids, store_errors

Sort = Literal["name", "-name"]
Keep = Callable[[list[Document]], Awaitable[list[Document]]]
"""Of whole documents those that are meant, in their order. Raises Problem 503."""
TimeSort = Literal["created_at", "-created_at"]  # of what has no name
OF_THE_PAGE = ("limit", "cursor", "sort", "name")
LIST_CHARACTERS_MAX = 20  # of its name in a cursor
CURSOR_CHARACTERS_MAX = -(-4 * (LIST_CHARACTERS_MAX + PLACE_BYTES_MAX + IDENTIFIER_CHARACTERS_MAX + 2) // 3)  # two colons; in base64
AFTER_ALL_NAMES = ";"  # the character after the colon that ends the organization's part
LAST_CHARACTER = "\U0010ffff"  # in no name
READS_MAX = 10  # for one page (and site), where not all that is read belongs on it: by another filter, by its sites, or staged
LOOKED_THROUGH_AT_ONCE = 1_000  # in each of these: an import may have 100,000 that are staged between two that show
EVERYWHERE = ("person", "group", "schedule", "calendar")  # a role for some sites reads them whole
PLACES = ("site", "floor", "area", "door")  # whatever names one is at its site, too
# Of several filters the first of these serves the list: what names one person or pass is little, what is in one state can be nearly all.
NARROWEST_FIRST = (
    "email", "pass", "person", "door", "role", "area", "floor", "group", "calendar", "schedule", "site", "kind", "state", "effect",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string, read.

    `filters`: name and value of each; all must hold. `judged`: likewise, those that the list itself judges. `of_list`: whose cursor it
    may have.
    `sites`: only objects of these (a role that holds there only); None: of all.
    """

    limit: int
    after: str | None
    descending: bool
    begins: str
    filters: tuple[tuple[str, str], ...]
    sites: list[str] | None
    of_list: str
    judged: Mapping[str, str] = field(default_factory=dict)


def keeping(holds: Callable[[Document], bool]) -> Keep:
    """Of what can be told from the document alone."""

    async def keep(documents: list[Document]) -> list[Document]:
        return [document for document in documents if holds(document)]

    return keep


def read_query(
    of_list: str, known: Mapping[str, Any], query: Mapping[str, str], sites: list[str] | None, judged: Sequence[str] = ()
) -> Asked:
    """`known`: what the operation takes, names and types (`Operation.query`): whatever isn't about the page is a filter.

    `judged`: filters that the list judges itself. `of_list`: its name; the cursor of another is refused. The first of the type of `sort`
    is the order where none is asked for.

    Raises Problem 400 `query_invalid` or `cursor_invalid`.
    """
    if query.keys() - known.keys():
        raise Problem(400, "query_invalid", f"Known here: {', '.join(sorted(known))}.")
    filters = tuple((name, _as_stored(name, query[name])) for name in known if name in query and name not in OF_THE_PAGE)
    for name, value in filters:
        values = get_args(known[name]) if get_origin(known[name]) is Literal else (value,)
        if value not in values:
            raise Problem(400, "query_invalid", f"{name} is one of {', '.join(values)}.")
    orders = get_args(known["sort"])
    sort = query.get("sort", orders[0])
    if sort not in orders:
        raise Problem(400, "query_invalid", f"sort is {' or '.join(orders)}.")
    cursor = query.get("cursor")
    after = None if cursor is None else read_place(of_list, cursor, CURSOR_CHARACTERS_MAX)
    indexed = tuple(one for one in filters if one[0] not in judged)
    by_list = {name: value for name, value in filters if name in judged}
    return Asked(read_limit(query.get("limit")), after, sort.startswith("-"), query.get("name", ""), indexed, sites, of_list, by_list)


def _as_stored(name: str, value: str) -> str:
    """What somebody types is looked for in the form in which it is kept."""
    return spelled_email(value) if name == "email" else value


@dataclass(frozen=True, slots=True)
class ListObjects:
    """One per process."""

    mongo: Mongo

    async def __call__(self, organization: str, kind: str, asked: Asked, keep: Keep | None = None) -> tuple[list[Document], str | None]:
        """A page, and the cursor of the next one. `keep`: judges what is asked for beside the filters.

        Raises Problem 404 for a filter that names nothing of this organization, 503.
        """
        async with store_errors():
            await self._named(organization, asked)
            if kind == "site" and asked.sites is not None:
                page, end = await self._sites(organization, asked), None
            else:
                page, end = await self._page(organization, kind, asked, keep)
            if len(page) > asked.limit:
                page = page[: asked.limit]
                end = _place(page[-1])
            if any("id" not in document for document in page):
                page = await self._whole(organization, kind, asked, page)
        return page, None if end is None else write_cursor(asked.of_list, end[len(organization) + 1 :])

    async def _named(self, organization: str, asked: Asked) -> None:
        """A filter by something that isn't here, or is beyond the caller's sites, is told apart from one by which nothing is listed."""
        for kind, identifier in asked.filters:
            if kind not in OBJECT_COLLECTIONS:
                continue
            named = await read_object(self.mongo, organization, kind, identifier)
            if named is None or not (asked.sites is None or kind in EVERYWHERE or _within_reach(sites_of(kind, named), asked.sites)):
                raise unknown(kind)

    async def _sites(self, organization: str, asked: Asked) -> list[Document]:
        """Of a role that holds at some sites those themselves: as many as its roles name, put in order here."""
        found = await find_by_ids(self.mongo.database, "sites", [f"{organization}:{site}" for site in asked.sites or []])
        bounds = _bounds(organization, asked, None)
        there = [one for one in found if one.get("by_name") is not None and _within(str(one["by_name"]), bounds)]
        wanted = [one for one in there if _is_kept(one, asked, []) and _shown(one, asked)]
        return sorted(wanted, key=_place, reverse=asked.descending)[: asked.limit + 1]

    async def _page(self, organization: str, kind: str, asked: Asked, keep: Keep | None) -> tuple[list[Document], str | None]:
        """One more than asked for, if there are so many. Else, where too many in between are not for the caller to see, how far it came."""
        live = await read_live(self.mongo, organization) if kind in STAGED_KINDS else 0
        wanted = _filter_keys(organization, kind, asked)
        keys = [key for _, key in wanted[:1]] or _site_keys(organization, asked)
        at_once = asked.limit + 1 if len(wanted) < 2 and keep is None else LOOKED_THROUGH_AT_ONCE
        whole = keep is not None
        if asked.sites is not None and wanted and wanted[0][0] not in PLACES:
            found, after = await self._read(organization, kind, asked, keys, None, LOOKED_THROUGH_AT_ONCE, whole=whole)
            if after is None:
                there = [document for document in found if is_live(document, live) and _is_kept(document, asked, wanted)]
                shown = [document for document in there if _shown(document, asked)]
                return (shown if keep is None else await keep(shown)), None
            keys = [key for name, key in wanted if name in PLACES][:1] or _site_keys(organization, asked)
            at_once = LOOKED_THROUGH_AT_ONCE
        page: list[Document] = []
        after = None
        for _ in range(READS_MAX):
            found, after = await self._read(organization, kind, asked, keys, after, at_once, whole=whole)
            there = [document for document in found if is_live(document, live) and _is_kept(document, asked, wanted)]
            shown = [document for document in there if _shown(document, asked)]
            page += shown if keep is None else await keep(shown)
            at_once = asked.limit + 1 if len(there) == len(found) and keep is None else LOOKED_THROUGH_AT_ONCE
            if after is None or len(page) > asked.limit:
                return page, None
        return page, after

    async def _whole(self, organization: str, kind: str, asked: Asked, page: list[Document]) -> list[Document]:
        """The documents of these places, as they are now: without one that was deleted, changed or taken out of reach meanwhile."""
        wanted = _filter_keys(organization, kind, asked)
        found = await find_by_ids(self.mongo.database, OBJECT_COLLECTIONS[kind], [str(document["_id"]) for document in page])
        whole = {
            str(document["_id"]): document
            for document in found
            if document.get("by_name") is not None and _is_kept(document, asked, wanted) and _shown(document, asked)
        }
        return [whole[document["_id"]] for document in page if document["_id"] in whole]

    async def _read(
        self, organization: str, kind: str, asked: Asked, keys: Sequence[str | None], after: str | None, at_once: int, *, whole: bool
    ) -> tuple[list[Document], str | None]:
        """What comes next by any of the keys, in order, without a gap; and the last place up to which that is so, None at the end.

        By several keys, or past what doesn't show, it is what a place is judged by, since most of it is read in vain, unless `whole`.
        """
        collection = self.mongo.database[OBJECT_COLLECTIONS[kind]]
        bounds = _bounds(organization, asked, after)
        whole = whole or (len(keys) == 1 and at_once == asked.limit + 1)
        fields = None if whole else dict.fromkeys(("by_name", "listed", "name", "staged"), 1)
        merged: dict[str, Document] = {}
        ends: list[str] = []
        for key in keys:
            wanted = {"by_name": bounds} if key is None else {"listed": key, "by_name": bounds}
            found = await collection.find(wanted, fields).sort("by_name", -1 if asked.descending else 1).limit(at_once).to_list()
            merged |= {str(document["_id"]): document for document in found}
            if len(found) == at_once:
                ends.append(_place(found[-1]))
        ordered = sorted(merged.values(), key=_place, reverse=asked.descending)
        if not ends:
            return ordered, None
        end = max(ends) if asked.descending else min(ends)  # beyond it, some key was not read any further
        return [document for document in ordered if (_place(document) >= end if asked.descending else _place(document) <= end)], end


def _filter_keys(organization: str, kind: str, asked: Asked) -> list[tuple[str, str]]:
    """Of each filter, the likely narrowest first, its name, and what of `listed` it keeps."""
    ordered = sorted(asked.filters, key=lambda one: NARROWEST_FIRST.index(one[0]))
    # A pass names doors, and is at their sites.
    return [(name, listed_key(organization, AT_SITE if (kind, name) == ("pass", "site") else name, value)) for name, value in ordered]


def _site_keys(organization: str, asked: Asked) -> Sequence[str | None]:
    """Of `listed`, one of which is enough; None: all of the organization."""
    return [None] if asked.sites is None else [listed_key(organization, AT_SITE, site) for site in dict.fromkeys(asked.sites)]


def _is_kept(document: Document, asked: Asked, wanted: list[tuple[str, str]]) -> bool:
    """By all of these filters; and its name begins so (the colon behind a name is no part of it)."""
    if asked.begins and not folded(str(document.get("name") or "")).startswith(folded(asked.begins)):
        return False
    return all(key in document["listed"] for _, key in wanted)


def _bounds(organization: str, asked: Asked, after: str | None) -> dict[str, str]:
    """Of `by_name`, both of them. `after`: a whole place, further on than the one that was asked for."""
    low = f"{organization}:{name_place(asked.begins)}"
    high = low + LAST_CHARACTER if asked.begins else f"{organization}{AFTER_ALL_NAMES}"
    if after is None and asked.after is not None:
        after = f"{organization}:{asked.after}"
    if after is None:
        return {"$gte": low, "$lt": high}
    return {"$gte": low, "$lt": min(after, high)} if asked.descending else {"$gt": max(after, low), "$lt": high}


def _within(place: str, bounds: Mapping[str, str]) -> bool:
    return place < bounds["$lt"] and (place > bounds["$gt"] if "$gt" in bounds else place >= bounds["$gte"])


def _shown(document: Document, asked: Asked) -> bool:
    """All of its sites are within reach."""
    return asked.sites is None or _within_reach(listed_sites(document), asked.sites)


def _within_reach(at_sites: list[str], sites: list[str]) -> bool:
    """What is at no site is the organization's."""
    return bool(at_sites) and set(sites).issuperset(at_sites)


def _place(document: Document) -> str:
    return str(document["by_name"])
