"""Types become JSON Schema (2020-12): msgspec does the work, and what it says in Python's words is put into those of the standard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]
_TEMPLATE = "#/components/schemas/{name}"


class Schemas:
    """`components` are the named ones. Types are told apart by identity: an annotated one need not be hashable."""

    def __init__(self, types: Iterable[Any]) -> None:
        self._types = list({id(each): each for each in types}.values())
        schemas, components = msgspec.json.schema_components(self._types, ref_template=_TEMPLATE)
        self._schemas: list[Schema] = [standard(schema) for schema in schemas]
        self.components: dict[str, Schema] = {name: standard(schema) for name, schema in sorted(components.items())}

    def of(self, wanted: Any) -> Schema:
        """Raises LookupError for a type that wasn't given at the start."""
        for known, schema in zip(self._types, self._schemas, strict=True):
            if known is wanted:
                return schema
        raise LookupError(wanted)

    def resolved(self, schema: Schema) -> Schema:
        """What a reference names; anything else as it is."""
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        return self.components[name] if name else schema


def standard(schema: Any) -> Any:
    r"""Regular expressions of ECMA-262 have no `\Z`, and their `$` means the very end."""
    if isinstance(schema, dict):
        return {
            key: value[:-2] + "$" if key == "pattern" and isinstance(value, str) and value.endswith(r"\Z") else standard(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list | tuple):
        return [standard(item) for item in schema]
    return schema
