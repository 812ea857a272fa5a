"""Requests made from the API's document: a good one of each operation, and every place in it where an identifier fits."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from tests.e2e.running import device_key

Document = dict[str, Any]
KIND, CURSOR = "x-nexkey-kind", "x-nexkey-cursor"
NO_KIND = ""  # of a cursor: it names a place in a list


@dataclass(frozen=True, slots=True)
class Place:
    """Where an identifier of this kind fits. `name`: of the parameter; in a body the way to it, as in `roles/0/sites/0`."""

    where: Literal["path", "query", "body"]
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Asking:
    """A request, still to be sent by somebody."""

    method: str
    path: str
    identifiers: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None

    async def send(self, http: httpx.AsyncClient, headers: Mapping[str, str]) -> httpx.Response:
        options: dict[str, Any] = {} if self.body is None else {"json": self.body}
        path = self.path.format(**self.identifiers)
        return await http.request(self.method, path, params=self.query, headers={**self.headers, **headers}, **options)


@dataclass(frozen=True, slots=True)
class Described:
    """One operation of the document."""

    document: Document = field(repr=False)
    method: str
    path: str
    operation: Document = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def of_persons(self) -> bool:
        return bool(self.operation["security"])

    @property
    def of_operator(self) -> bool:
        """For the owners of the operator's organization alone."""
        return bool(self.operation["tags"] == ["Operator"])

    @property
    def example(self) -> Any:
        """Of the body; None for an operation without one."""
        body = self.operation.get("requestBody")
        return None if body is None else copy.deepcopy(body["content"]["application/json"]["example"])

    def codes(self, status: int) -> list[str]:
        """The problems of this status that are documented."""
        found = self.operation["responses"].get(str(status))
        if found is None:
            return []
        schema = resolved(self.document, found)["content"]["application/problem+json"]["schema"]
        coded = schema["allOf"][0] if "allOf" in schema else schema
        codes: list[str] = coded["properties"]["code"]["enum"]
        return codes

    def good(self, known: Mapping[str, str]) -> Asking:
        """A request that is taken, if these are identifiers of the caller's own objects, by kind."""
        identifiers: dict[str, str] = {}
        query: dict[str, str] = {}
        headers: dict[str, str] = {}
        for parameter in self.operation["parameters"]:
            name, schema = parameter["name"], parameter["schema"]
            value = known.get(schema.get(KIND, ""), next(iter(schema.get("examples", [])), "x"))
            if parameter["in"] == "path":
                identifiers[name] = value
            elif parameter["required"]:
                (query if parameter["in"] == "query" else headers)[name] = value
        body = self.example
        for place in self.places():
            if place.where == "body" and place.kind in known and found_at(body, place.name) is not None:
                body = placed(body, place.name, known[place.kind])
        return Asking(self.method, self.path, identifiers, query, headers, body)

    def places(self) -> Iterator[Place]:
        """Every place for an identifier, in the order of the document; cursors too."""
        for parameter in self.operation["parameters"]:
            schema = parameter["schema"]
            if KIND in schema:
                yield Place(parameter["in"], parameter["name"], schema[KIND])
            elif schema.get(CURSOR):
                yield Place("query", parameter["name"], NO_KIND)
        for media in self.operation.get("requestBody", {}).get("content", {}).values():
            yield from (Place("body", name, kind) for name, kind in self._in_body(media["schema"], ""))

    def _in_body(self, schema: Any, name: str) -> Iterator[tuple[str, str]]:
        schema = resolved(self.document, schema)
        if KIND in schema:
            yield name.strip("/"), schema[KIND]
            return
        for member, inner in schema.get("properties", {}).items():
            yield from self._in_body(inner, f"{name}/{member}")
        if "items" in schema:
            yield from self._in_body(schema["items"], f"{name}/0")
        for inner in (*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])):
            yield from self._in_body(inner, name)

    def with_identifier(self, place: Place, identifier: str, known: Mapping[str, str]) -> Iterator[Asking]:
        """The good request with this identifier at that place. In a body also without what it may exclude (one of door, area, site)."""
        good = self.good(known)
        if place.where == "path":
            yield Asking(good.method, good.path, {**good.identifiers, place.name: identifier}, good.query, good.headers, good.body)
            return
        if place.where == "query":
            yield Asking(good.method, good.path, good.identifiers, {**good.query, place.name: identifier}, good.headers, good.body)
            return
        others = [other.name for other in self.places() if other.where == "body" and other.name != place.name and "/" not in other.name]
        for left_out in (None, *(name for name in others if name in (good.body or {}))):
            body = {name: value for name, value in good.body.items() if name != left_out}
            body = placed(body, place.name, identifier)
            yield Asking(good.method, good.path, good.identifiers, good.query, good.headers, body)


def operations(document: Document) -> list[Described]:
    """All of them."""
    return [
        Described(document, method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def kind_made_by(document: Document, described: Described) -> str | None:
    """Of an operation that makes an object: its kind, which is what the path of one such object names."""
    if described.method != "POST" or "201" not in described.operation["responses"]:
        return None
    for path in document["paths"]:
        if match := re.fullmatch(re.escape(described.path) + r"/{(\w+)}", path):
            return match[1]
    return None


async def made_objects(http: httpx.AsyncClient, described: list[Described], headers: Mapping[str, str], known: dict[str, str]) -> None:
    """One object of every kind that can be made and isn't known, from the examples, into `known` by kind: first what the others name."""
    makers = {kind: each for each in described if (kind := kind_made_by(each.document, each)) is not None and kind not in known}
    while makers:
        ready = {kind: maker for kind, maker in makers.items() if named_in_example(maker) <= known.keys()}
        assert ready, f"each names another that isn't made yet: {sorted(makers)}"
        for kind, maker in ready.items():
            asking = maker.good(known)
            if "public_key" in asking.body:
                asking.body["public_key"] = device_key()  # which is one device's
            answer = await asking.send(http, headers)
            assert answer.status_code == 201, f"{maker.name}: its example is not taken: {answer.text}"
            known[kind] = answer.headers["location"].rpartition("/")[2]
            del makers[kind]


def named_in_example(maker: Described) -> set[str]:
    """Kinds that must be there before this can be made."""
    asking = maker.good({})
    marked = [place for place in maker.places() if place.where == "path" or (place.where == "body" and stands(asking, place))]
    return {place.kind for place in marked}


def stands(asking: Asking, place: Place) -> bool:
    value = asking.body
    for part in place.name.split("/"):
        value = value[int(part)] if isinstance(value, list) and value else value.get(part) if isinstance(value, dict) else None
    return value is not None


def resolved(document: Document, found: Document) -> Document:
    """What a reference names; anything else as it is."""
    if "$ref" not in found:
        return found
    target: Any = document
    for part in found["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return resolved(document, target)


def found_at(body: Any, name: str) -> Any:
    """None where nothing stands."""
    for part in name.split("/"):
        if isinstance(body, list):
            body = body[int(part)] if int(part) < len(body) else None
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body


def placed(body: Any, name: str, value: str) -> Any:
    """A copy with `value` there; lists and objects on the way are made."""
    body = json.loads(json.dumps(body))
    first, _, rest = name.partition("/")
    if isinstance(body, list):
        body[:1] = [placed(body[0] if body else None, rest, value) if rest else value]
        return body
    if body is None:
        return [placed(None, rest, value) if rest else value] if first == "0" else {first: placed(None, rest, value) if rest else value}
    body[first] = placed(body.get(first), rest, value) if rest else value
    return body
