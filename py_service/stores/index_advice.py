"""Which indexes are missing, different, unused or undeclared, and which queries read far more than they find: from the store's own counts.

Sources: `listIndexes`, `$indexStats` (uses since the server's start), `system.profile` (queries while the profiler was on) and `explain`,
as in MongoDB's manual. Only the shapes of queries are told, never a value.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from pymongo.asynchronous.database import AsyncDatabase

from py_service.settings import Settings, need
from py_service.stores.indexes import INDEXES, Index
from py_service.stores.mongo import Document, Mongo, store_errors
from py_service.stores.queries import READ_WHOLE, SCANNED_BY_EMBEDDED
from py_service.stores.query_shape import Shape, alternatives, by_embedded_store, scans, shape_of

PROFILED_MAX = 20_000
# What makes another index of the same fields: what it refuses, what it holds, whether the planner may use it, whether it deletes.
OPTIONS = ("unique", "sparse", "partialFilterExpression", "expireAfterSeconds", "collation", "hidden")
What = Literal["missing", "differs", "undeclared", "unused", "scan"]
URGENT = frozenset({"missing", "differs", "scan"})


class Advice(msgspec.Struct, frozen=True):
    """`fields`: of the index that is spoken of; of a scan, of the one that would serve it: equality, then order, then ranges."""

    what: What
    collection: str
    fields: tuple[str, ...]
    detail: str


class Read(msgspec.Struct, frozen=True):
    """One query: how many documents it read and how many it found."""

    collection: str
    fields: tuple[str, ...]
    documents_read: int
    documents_found: int

    @property
    def ratio(self) -> float:
        """Documents read for each that was found; one that finds nothing counts as if it found one."""
        return self.documents_read / max(self.documents_found, 1)

    def __str__(self) -> str:
        return f"{self.documents_read} documents read for {self.documents_found} found"


class Report(msgspec.Struct):
    """`notes`: what could not be judged here, and why. `worst`: the query that read most for what it found, if the profiler said.
    `profiled`: how many kinds of queries the profiler has kept; with none, nothing is known of scans."""

    advice: list[Advice]
    notes: list[str]
    worst: Read | None = None
    profiled: int = 0

    @property
    def verdict(self) -> str:
        """When there is no advice: what that says."""
        return "every declared index is there" + (", and no query scans" if self.profiled else "; no query was profiled")


@dataclass(frozen=True, slots=True)
class Present:
    """An index in the store. A field that isn't in ascending order has its kind behind it. `options`: those of `OPTIONS` that it has.

    `uses`, `since`: of this server, since its start.
    """

    collection: str
    fields: tuple[str, ...]
    options: frozenset[str] = frozenset()
    uses: int = 0
    since: object = None


@dataclass(slots=True)
class Seen:
    """How often, the last one's filter and order (to be explained), and what the profiler said of its plan."""

    count: int = 0
    milliseconds: int = 0
    filter: Document = field(default_factory=dict)
    sort: Document = field(default_factory=dict)
    scanned: bool | None = None
    worst: Read | None = None


async def advise_indexes(settings: Settings) -> Report:
    """For the operator's command. Raises SettingsError, Problem 503."""
    mongo = Mongo(need(settings.mongo_url, "NEXKEY_MONGO_URL"), settings.mongo_database, settings.store_timeout_ms)
    try:
        async with store_errors():
            return await advise(mongo.database)
    finally:
        await mongo.close()


async def advise(database: AsyncDatabase[Document]) -> Report:
    """Reads only; the store's own counts are all that it looks at. Raises pymongo errors."""
    report = Report([], [])
    stated = await _indexes(database, report)
    await _scans(database, report, stated)
    report.advice.sort(key=lambda advice: (advice.what, advice.collection, advice.fields))
    return report


async def _indexes(database: AsyncDatabase[Document], report: Report) -> set[str]:
    """The collections that there are."""
    names = {name for name in await database.list_collection_names() if not name.startswith("system.")}
    present: list[Present] = []
    for name in sorted(names):
        options = {str(index["name"]): index async for index in await database[name].list_indexes()}
        async for stats in await database[name].aggregate([{"$indexStats": {}}]):
            own, accesses = options.get(stats["name"], {}), stats["accesses"]
            kinds = frozenset(option for option in OPTIONS if own.get(option) is not None and own[option] is not False)
            present.append(Present(name, _fields(stats["key"]), kinds, int(accesses["ops"]), accesses["since"]))
    judge_indexes(present, report)
    return names


def _fields(key: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name if kind == 1 else f"{name}:{kind:g}" if isinstance(kind, float) else f"{name}:{kind}" for name, kind in key.items())


def judge_indexes(present: Collection[Present], report: Report) -> None:
    """Declared against present, and present against used.

    Of indexes of the same fields (a store may have several, with different options) one as declared is enough. A unique index is never
    unused: it refuses what must not be there, whether a query goes by it or not.
    """
    declared = {(index.collection, index.fields): index for index in INDEXES}
    counted = any(index.uses for index in present)
    as_declared = {(index.collection, index.fields) for index in present if index.options == _declared(declared, index)}
    there = {(index.collection, index.fields) for index in present}
    for (name, fields), wanted in declared.items():
        if (name, fields) not in there:
            report.advice.append(Advice("missing", name, fields, f"declared for: {wanted.serves}"))
    for index in present:
        key = index.collection, index.fields
        wanted_options = _declared(declared, index)
        if index.fields == ("_id",):
            continue
        if key not in declared or (key in as_declared and index.options != wanted_options):
            used = f"; used {index.uses} times since {_day(index.since)}" if counted else ""
            unique = "; it is unique, and refuses what the service may write" if "unique" in index.options else ""
            report.advice.append(Advice("undeclared", *key, f"no query of the service is declared for it{used}{unique}"))
        elif index.options != wanted_options:
            told = f"declared {_named(wanted_options)}, and is {_named(index.options)}: drop it, and the next start makes it again"
            report.advice.append(Advice("differs", *key, told))
        elif counted and not index.uses and "unique" not in index.options:
            report.advice.append(Advice("unused", *key, f"not used once since {_day(index.since)}; it is paid for at every write"))
    if not counted:
        report.notes.append("The server counts no use of any index (the embedded store never does): what is unused can't be told.")


def _declared(declared: Mapping[tuple[str, tuple[str, ...]], Index], index: Present) -> frozenset[str]:
    found = declared.get((index.collection, index.fields))
    if found is None:
        return frozenset()
    return frozenset(name for name, wanted in (("unique", found.unique), ("sparse", found.sparse)) if wanted)


def _named(options: Collection[str]) -> str:
    return " and ".join(sorted(options)) or "neither unique nor sparse"


async def _scans(database: AsyncDatabase[Document], report: Report, names: set[str]) -> None:
    seen = await profiled(database)
    report.profiled = len(seen)
    if not seen:
        report.notes.append("The profiler has kept nothing: turn it on for a while (db.setProfilingLevel(2)), then ask again.")
    for shape, queries in seen.items():
        if shape.collection not in names or shape in READ_WHOLE:
            continue
        scanned = queries.scanned if queries.scanned is not None else await _explained(database, shape, queries)
        if scanned:
            detail = f"read whole {max(queries.count, 1)} times, {queries.milliseconds} ms in all"
            if queries.worst is not None:
                detail += f"; at worst {queries.worst}"
            if not shape.fields:
                detail += f"; {_why_no_fields(shape, queries.filter)}"
            report.advice.append(Advice("scan", shape.collection, shape.fields, detail))
    reads = [queries.worst for queries in seen.values() if queries.worst is not None]
    if reads:
        report.worst = max(reads, key=lambda read: (read.ratio, read.documents_read))
    elif seen:
        report.notes.append("The profiler says of no query how much it read (the embedded store's never does): the worst can't be told.")


def _why_no_fields(shape: Shape, wanted: Document) -> str:
    """What is said of a scan that no one index would serve: an `$or` needs one for each of its parts."""
    if parts := alternatives(wanted):
        return "its $or is served only when each part is: " + " or ".join(f"({', '.join(fields)})" for fields in parts)
    if shape.others:
        return f"no index is known to serve {', '.join(shape.others)}"
    return "it looks for nothing that an index could serve"


async def profiled(database: AsyncDatabase[Document]) -> dict[Shape, Seen]:
    """What the profiler has kept of this database, by shape."""
    seen: dict[Shape, Seen] = {}
    async for entry in database["system.profile"].find({}).limit(PROFILED_MAX):
        for collection, wanted, sort in _queries(entry):
            if collection.startswith("system."):
                continue
            shape = shape_of(collection, wanted, sort)
            known = seen.setdefault(shape, Seen())
            known.count += "originatingCommand" not in entry  # what is fetched later is no other query
            known.milliseconds += int(entry.get("millis") or 0)
            known.filter, known.sort = wanted, sort
            read = _read(shape, entry)
            if read is not None and (known.worst is None or read.ratio > known.worst.ratio):
                known.worst = read
            if "planSummary" in entry:
                known.scanned = bool(known.scanned) or "COLLSCAN" in str(entry["planSummary"])
    return seen


def _read(shape: Shape, entry: Mapping[str, Any]) -> Read | None:
    """What an entry says of reading: a search has found what it returned, an update what it matched, a delete what it deleted."""
    if "docsExamined" not in entry:
        return None
    found = next((int(entry[name]) for name in ("nreturned", "nMatched", "ndeleted") if name in entry), 0)
    return Read(shape.collection, shape.fields, int(entry["docsExamined"]), found)


def _queries(entry: Mapping[str, Any]) -> Iterator[tuple[str, Document, Document]]:
    """Collection, filter, order: of a find, a count, a findAndModify, an update (also inside its command) or a delete; of an aggregate its
    first $match; of a getMore what it goes on with."""
    command = entry.get("originatingCommand") or entry.get("command")
    if not isinstance(command, Mapping):
        return
    collection = str(entry.get("ns", "")).partition(".")[2]
    if "find" in command:
        yield collection, dict(command.get("filter") or {}), dict(command.get("sort") or {})
    elif "pipeline" in command:
        stages = [stage for stage in command["pipeline"] if isinstance(stage, Mapping)]
        if stages and "$match" in stages[0]:
            yield collection, dict(stages[0]["$match"]), {}
    elif "count" in command or "distinct" in command:
        yield collection, dict(command.get("query") or {}), {}
    elif "findAndModify" in command or "findandmodify" in command:
        yield collection, dict(command.get("query") or {}), dict(command.get("sort") or {})
    elif "q" in command:
        yield collection, dict(command["q"]), {}
    else:
        for part in (*command.get("updates", ()), *command.get("deletes", ())):
            if isinstance(part, Mapping) and isinstance(part.get("q"), Mapping):
                yield collection, dict(part["q"]), {}


async def _explained(database: AsyncDatabase[Document], shape: Shape, queries: Seen) -> bool:
    """An update or a delete is explained as the search that it begins with. What is declared as a scan of the embedded store is none."""
    asked: Document = {"find": shape.collection, "filter": queries.filter, "sort": queries.sort}
    explained = await database.command("explain", asked, verbosity="queryPlanner")
    return scans(explained) and not (shape in SCANNED_BY_EMBEDDED and by_embedded_store(explained))


def _day(since: object) -> str:
    return since.date().isoformat() if isinstance(since, datetime.datetime) else "the server's start"
