"""The API's document as a test sees it: its operations, its references, and validators for what stands in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec

from py_service.edge.openapi.document import make_document
from py_service.exchange import Route
from tests.e2e.route_table import route_table

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """An operation, with what its route says."""

    method: str
    path: str
    operation: Document
    route: Route

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@cache
def routes() -> tuple[Route, ...]:
    return tuple(asyncio.run(route_table()))


@cache
def document() -> Document:
    """As JSON has it."""
    made: Document = msgspec.json.decode(msgspec.json.encode(make_document(routes())))
    return made


def operations() -> Iterator[Described]:
    by_name = {(route.method, route.pattern): route for route in routes()}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield Described(method.upper(), path, operation, by_name[(method.upper(), path)])


def resolved(found: Document) -> Document:
    """What a reference names; anything else as it is. Raises KeyError for one that names nothing."""
    if set(found) != {"$ref"}:
        return found
    target: Any = document()
    for part in found["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return resolved(target)


def validator(schema: Document) -> jsonschema_rs.Validator:
    """For one schema of the document, whose references it can follow. Formats count."""
    rooted = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document()["components"], "allOf": [schema]}
    return jsonschema_rs.Draft202012Validator(rooted, validate_formats=True)


def contents(described: Described) -> Iterator[tuple[str, Document]]:
    """Every body of an operation, by where it stands: its media type object."""
    body = described.operation.get("requestBody", {}).get("content", {})
    yield from ((f"{described.name} body", media) for media in body.values())
    for status, response in described.operation["responses"].items():
        yield from ((f"{described.name} {status}", media) for media in resolved(response).get("content", {}).values())
