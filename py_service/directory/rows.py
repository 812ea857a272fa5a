"""Rows of a bulk import that create persons and groups: the fields and the change of the single operation."""

from __future__ import annotations

from typing import Annotated

import msgspec

from py_service.directory import fields
from py_service.directory.create import Create
from py_service.directory.document import values_of
from py_service.directory.kinds import BY_NAME
from py_service.identifiers import NewIdentifier

_ONLY_IN_ROWS = ("group_names",)


class PersonRow(fields.PersonFields, kw_only=True, forbid_unknown_fields=True):
    """A person; their groups by identifier, by name, or both."""

    id: NewIdentifier | None = None
    group_names: Annotated[list[fields.Name], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=list)


class GroupRow(fields.GroupFields, kw_only=True, forbid_unknown_fields=True):
    """A group. One that includes another stands after it."""

    id: NewIdentifier | None = None


def create_person(row: PersonRow) -> Create:
    """`groups` is whole."""
    return _create("person", row.id, row)


def create_group(row: GroupRow) -> Create:
    """As POST /v1/groups."""
    return _create("group", row.id, row)


def _create(kind: str, identifier: str | None, row: fields.Fields) -> Create:
    values = {name: value for name, value in values_of(row).items() if name not in _ONLY_IN_ROWS}
    return Create(BY_NAME[kind], identifier, values)
