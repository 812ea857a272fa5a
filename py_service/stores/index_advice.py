"""Which indexes are missing, unused or undeclared, and which queries read a whole collection: from what the store itself has counted.

Sources: `$indexStats` (uses since the server's start), `system.profile` (queries while the profiler was on) and `explain`, as in MongoDB's
manual. Only the shapes of queries are told, never a value.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from pymongo.asynchronous.database import AsyncDatabase

from py_service.settings import Settings, need
from py_service.stores.indexes import INDEXES
from py_service.stores.mongo import Document, Mongo, store_errors
from py_service.stores.queries import READ_WHOLE
from py_service.stores.query_shape import Shape, scans, shape_of

PROFILED_MAX = 20_000
What = Literal["missing", "undeclared", "unused", "scan"]


class Advice(msgspec.Struct, frozen=True):
    """`fields`: of the index that is spoken of; of a scan, of the one that would serve it: equality, then order, then ranges."""

    what: What
    collection: str
    fields: tuple[str, ...]
    detail: str


class Report(msgspec.Struct, frozen=True):
    """`notes`: what could not be judged here, and why."""

    advice: list[Advice]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Uses:
    """Of one index, since the server's start."""

    count: int
    since: object


@dataclass(slots=True)
class Seen:
    """How often, the last one's filter and order (to be explained), and what the profiler said of its plan."""

    count: int = 0
    milliseconds: int = 0
    filter: Document = field(default_factory=dict)
    sort: Document = field(default_factory=dict)
    scanned: bool | None = None


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
    present: dict[tuple[str, tuple[str, ...]], Uses] = {}
    for name in sorted(names):
        async for stats in await database[name].aggregate([{"$indexStats": {}}]):
            accesses = stats["accesses"]
            present[name, tuple(stats["key"])] = Uses(int(accesses["ops"]), accesses["since"])
    judge_indexes(present, report)
    return names


def judge_indexes(present: Mapping[tuple[str, tuple[str, ...]], Uses], report: Report) -> None:
    """Declared against present, and present against used."""
    declared: dict[tuple[str, tuple[str, ...]], str] = {(index.collection, index.fields): index.serves for index in INDEXES}
    for (name, fields), serves in declared.items():
        if (name, fields) not in present:
            report.advice.append(Advice("missing", name, fields, f"declared for: {serves}"))
    counted = any(uses.count for uses in present.values())
    for (name, fields), uses in present.items():
        if fields == ("_id",):
            continue
        if (name, fields) not in declared:
            report.advice.append(Advice("undeclared", name, fields, "no query of the service is declared for it"))
        elif counted and not uses.count:
            report.advice.append(Advice("unused", name, fields, f"not used once since {_day(uses.since)}; it is paid for at every write"))
    if not counted:
        report.notes.append("The server counts no use of any index (the embedded store never does): what is unused can't be told.")


async def _scans(database: AsyncDatabase[Document], report: Report, names: set[str]) -> None:
    seen = await profiled(database)
    if not seen:
        report.notes.append("The profiler has kept nothing: turn it on for a while (db.setProfilingLevel(2)), then ask again.")
    for shape, queries in seen.items():
        if shape.collection not in names or shape in READ_WHOLE:
            continue
        scanned = queries.scanned if queries.scanned is not None else await _explained(database, shape, queries)
        if scanned:
            detail = f"read whole {queries.count} times, {queries.milliseconds} ms in all"
            if not shape.fields:
                detail += "; it looks for nothing that an index could serve"
            report.advice.append(Advice("scan", shape.collection, shape.fields, detail))


async def profiled(database: AsyncDatabase[Document]) -> dict[Shape, Seen]:
    """What the profiler has kept of this database, by shape."""
    seen: dict[Shape, Seen] = {}
    async for entry in database["system.profile"].find({}).limit(PROFILED_MAX):
        for collection, wanted, sort in _queries(entry):
            if collection.startswith("system."):
                continue
            known = seen.setdefault(shape_of(collection, wanted, sort), Seen())
            known.count += 1
            known.milliseconds += int(entry.get("millis") or 0)
            known.filter, known.sort = wanted, sort
            if "planSummary" in entry:
                known.scanned = bool(known.scanned) or "COLLSCAN" in str(entry["planSummary"])
    return seen


def _queries(entry: Mapping[str, Any]) -> Iterator[tuple[str, Document, Document]]:
    """Collection, filter, order: of a find, a count, an update (also inside its command) or a delete; of an aggregate its first $match."""
    command = entry.get("command")
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
    elif "q" in command:
        yield collection, dict(command["q"]), {}
    else:
        for part in (*command.get("updates", ()), *command.get("deletes", ())):
            if isinstance(part, Mapping) and isinstance(part.get("q"), Mapping):
                yield collection, dict(part["q"]), {}


async def _explained(database: AsyncDatabase[Document], shape: Shape, queries: Seen) -> bool:
    """An update or a delete is explained as the search that it begins with."""
    asked: Document = {"find": shape.collection, "filter": queries.filter, "sort": queries.sort}
    return scans(await database.command("explain", asked, verbosity="queryPlanner"))


def _day(since: object) -> str:
    return since.date().isoformat() if isinstance(since, datetime.datetime) else "the server's start"
