"""What a row is: the types and changes of other rooms, passed in by the composition root; and a row as it was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from py_service.errors import Problem
from py_service.permissions.change import Change


@dataclass(frozen=True, slots=True)
class RowKind:
    """One kind of rows. `name`: of the objects that they create; `row`: their type, with an `id` where it may be chosen.

    `names`: fields that hold identifiers (one, or a list), and the kind that these are of.
    `by_email`, `by_name`: fields that name the same otherwise, and the field that they stand for (`person_email`: `person`).
    `change`: the change of the single operation. Its `plan` gives the images, and the object as its `result`.
    """

    name: str
    row: type[msgspec.Struct]
    change: Callable[[Any], Change]
    names: Mapping[str, str]
    by_email: Mapping[str, str] = field(default_factory=dict)
    by_name: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file. `number` and `line` count from 1. Either `value` (of the kind's type) or what is wrong with it."""

    number: int
    line: int
    value: Any
    problem: Problem | None = None
