"""Between bodies and stored documents: moments, names and references."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from py_service.directory.kinds import Kind
from py_service.exchange import moment
from py_service.permissions.change import View
from py_service.permissions.holders import held_by
from py_service.stores.mongo import Document

MOMENTS = ("valid_from", "valid_until", "created_at", "changed_at", "ended_at", "effective_by")
TYPED = ("name", "address")


def values_of(body: msgspec.Struct) -> Document:
    """The fields that were sent (or have defaults), as they are stored: times in ms."""
    values: Document = {
        name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET and name != "id"
    }
    plain: Document = msgspec.to_builtins(values, builtin_types=(datetime.datetime,))
    for name in MOMENTS:
        if isinstance(plain.get(name), datetime.datetime):
            plain[name] = int(plain[name].timestamp() * 1_000)
    return plain


def shown(kind_type: type[msgspec.Struct], document: Document) -> msgspec.Struct:
    """The answer's struct of a stored document."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind_type):
        value = document.get(field.name, field.default if field.default is not msgspec.NODEFAULT else None)
        if field.name == "held_by":
            value = held_by(document)
        if field.name in MOMENTS and value is not None:
            value = moment(int(value))
        found[field.name] = int(value) if field.name == "revision" and value is not None else value
    found["revision"] = found["revision"] or 0
    return kind_type(**found)


async def check_references(view: View, kind: Kind, after: Document, before: Document | None) -> None:
    """Everything newly named exists here. Raises Problem 404 `<kind>_unknown`, like for an id of another organization."""
    for field, other in kind.references.items():
        named = _identifiers(after.get(field)) - (set() if before is None else _identifiers(before.get(field)))
        for identifier in sorted(named):
            await view.get(other, identifier)


def _identifiers(value: object) -> set[str]:
    if value is None:
        return set()
    return {str(item) for item in value} if isinstance(value, list) else {str(value)}
