"""A query without its values, and what the store's plan for one does. Which shapes the service has is in `queries.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EQUAL = frozenset({"$eq", "$in"})
RANGES = frozenset({"$gt", "$gte", "$lt", "$lte"})
COMPARED = RANGES | {"$ne", "$nin", "$exists", "$regex"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a query looks for, without values. `others`: conditions that no one index serves, such as `$or`, by their operators."""

    collection: str
    equal: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.equal, *self.order, *self.ranges)))


def shape_of(collection: str, wanted: Mapping[str, Any], sort: Mapping[str, Any]) -> Shape:
    """The fields by what is asked of them. What stands under `$or`, `$expr` and the like has no one index: only the operator is told."""
    equal: list[str] = []
    ranges: list[str] = []
    others: list[str] = []
    for name, condition in conditions(wanted):
        operators = operators_of(condition)
        if name.startswith("$"):
            others.append(name)
        elif operators <= EQUAL:
            equal.append(name)
        elif operators & COMPARED:
            ranges.append(name)
    order = [name for name in sort if not name.startswith("$")]
    return Shape(collection, tuple(sorted(set(equal))), tuple(order), tuple(sorted(set(ranges) - set(equal))), tuple(sorted(set(others))))


def conditions(wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Field and condition, also of those under `$and`; other operators by their name. A comment is no condition."""
    for name, condition in wanted.items():
        if name == "$and" and isinstance(condition, list):
            for part in condition:
                if isinstance(part, Mapping):
                    yield from conditions(part)
        elif name != "$comment":
            yield name, condition


def alternatives(wanted: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The fields of each part of every `$or`."""
    parts = [part for name, condition in conditions(wanted) if name == "$or" and isinstance(condition, list) for part in condition]
    return [shape_of("", part, {}).fields for part in parts if isinstance(part, Mapping)]


def operators_of(condition: object) -> set[str]:
    """None for a plain value."""
    return set(condition) if isinstance(condition, Mapping) and any(str(key).startswith("$") for key in condition) else set()


def stages(explained: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Of the plan that won, from an answer to `explain`: plans that were turned down are no matter."""
    return _stages(explained["queryPlanner"]["winningPlan"])


def _stages(plan: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(plan, Mapping):
        if "stage" in plan:
            yield plan
        for part in plan.values():
            yield from _stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from _stages(part)


def scans(explained: Mapping[str, Any]) -> bool:
    """Whether the plan reads the whole collection."""
    return any(stage["stage"] == "COLLSCAN" for stage in stages(explained))


def by_embedded_store(explained: Mapping[str, Any]) -> bool:
    """Whether it was the embedded store that explained it."""
    return bool(explained.get("serverInfo", {}).get("host") == "secantus")
