"""Holds what a service sent to its store against the table of its queries. No I/O: plans are asked for elsewhere, and passed in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from py_service.stores.mongo import Document
from py_service.stores.queries import BY_SHAPE, Command, Query
from py_service.stores.query_shape import EQUAL, RANGES, Shape, by_embedded_store, operators_of, shape_of, stages
from tests.e2e.recording import Sent

Key = tuple[Command, Shape]
Table = Mapping[Key, Query]
LOWER, UPPER = {"$gt", "$gte"}, {"$lt", "$lte"}


def key_of(sent: Sent) -> Key:
    command: Command = "find" if sent.command == "find" else "update" if sent.command == "update" else "delete"
    return command, shape_of(sent.collection, sent.filter, sent.sort)


def complaints_about(sent: Sent, explained: Mapping[str, Any], organizations: Collection[str], table: Table = BY_SHAPE) -> list[str]:
    """What is wrong with one query; empty when it is as the table says. `explained`: the store's answer for it."""
    key = key_of(sent)
    found = [*_unjudged(sent)]
    row = table.get(key)
    if row is None:
        return [f"{shown(key)}: {complaint}" for complaint in (*found, "isn't declared")]
    found += _about_plan(row, explained)
    if not row.across and spans(sent, row, organizations):
        found.append("looks over all organizations, and isn't declared to")
    return [f"{shown(key)}: {complaint}" for complaint in found]


def complaints_about_table(sent: Iterable[Sent], organizations: Collection[str], table: Table = BY_SHAPE) -> list[str]:
    """What is declared and never happened."""
    by_key: dict[Key, list[Sent]] = {}
    for one in sent:
        by_key.setdefault(key_of(one), []).append(one)
    found: list[str] = []
    for key, row in table.items():
        if key not in by_key and not row.unseen:
            found.append(f"{shown(key)}: declared, and never sent: make the test send it, or take it out")
        if row.across and key in by_key and not any(spans(one, row, organizations) for one in by_key[key]):
            found.append(f"{shown(key)}: may look over all organizations, and never does")
    return found


def _unjudged(sent: Sent) -> Iterable[str]:
    """The law of queries (documents.md), where a shape doesn't show it."""
    for name, condition in sent.filter.items():
        operators = operators_of(condition)
        if name.startswith("$") or not operators <= EQUAL | RANGES:
            yield f"no index is known to serve {name} {sorted(operators)}"
        elif operators & RANGES and not (operators & LOWER and operators & UPPER):
            yield f"the range of {name} has one end"


def _about_plan(row: Query, explained: Mapping[str, Any]) -> Iterable[str]:
    plan = list(stages(explained))
    names = {str(stage["stage"]) for stage in plan}
    embedded = by_embedded_store(explained)
    if not row.index:
        return
    for stage, what in (("COLLSCAN", "reads the whole collection"), ("SORT", "sorts what it found")):
        if stage in names and not (embedded and row.embedded == stage):
            yield what
    if embedded and row.embedded and row.embedded not in names:
        yield f"the embedded server needs no {row.embedded} for it"
    used = {
        "_id_" if stage["stage"] == "IDHACK" else str(stage["indexName"])
        for stage in plan
        if "IXSCAN" in stage["stage"] or stage["stage"] == "IDHACK"
    }
    if "COLLSCAN" not in names and used != {row.index}:
        yield f"goes by {', '.join(sorted(used)) or 'no index'}, and {row.index} is declared"


def spans(sent: Sent, row: Query, organizations: Collection[str]) -> bool:
    """Whether what it walks through may belong to several organizations. An `_id` says which documents are meant, whosever they are."""
    if "_id" in sent.filter:
        return False
    condition = sent.filter.get(row.index.removesuffix("_1").split("_1_")[0])
    return not any(_within(condition, organization) for organization in organizations)


def _within(condition: object, organization: str) -> bool:
    """Ends at the character after the colon are those of a range over everything in one organization."""
    if isinstance(condition, str):
        return condition == organization or condition.startswith(f"{organization}:")
    if not isinstance(condition, Mapping):
        return False
    if operators_of(condition) <= EQUAL:
        values = [*condition.get("$in", []), *([condition["$eq"]] if "$eq" in condition else [])]
        return bool(values) and all(_within(value, organization) for value in values)
    if not operators_of(condition) & LOWER or not operators_of(condition) & UPPER:
        return False
    low = [str(condition[name]) for name in LOWER & condition.keys()]
    high = [str(condition[name]) for name in UPPER & condition.keys()]
    return all(_within(end, organization) for end in low) and all(_within(end, organization) or end == f"{organization};" for end in high)


def example_of(key: Key) -> Sent:
    """A query of this shape, for one that the test may not see."""
    command, shape = key
    wanted: Document = dict.fromkeys(shape.equal, "acme:a") | {name: {"$gte": "acme:a", "$lt": "acme:b"} for name in shape.ranges}
    return Sent(shape.collection, command, wanted, dict.fromkeys(shape.order, 1), False)


def shown(key: Key) -> str:
    """Without values."""
    command, shape = key
    return f"{command} {shape.collection} equality {list(shape.equal)} order {list(shape.order)} ranges {list(shape.ranges)}"
