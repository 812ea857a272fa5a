"""The table of commands against the API's document: each row is an operation, with the names that the operation has."""

from __future__ import annotations

from typing import Any

import pytest

from py_service.commands.table import NOUNS, VERBS
from py_service.commands.verb import Verb
from tests.boundary.openapi_document import Document, document, resolved


def operation_of(verb: Verb) -> Document:
    found: Document = document()["paths"][verb.path][verb.method.lower()]
    return found


def properties(schema: Document) -> dict[str, Any]:
    """Of a schema or what it names; of all parts, where it has several."""
    whole = resolved(schema)
    parts = [properties(part) for key in ("allOf", "anyOf") for part in whole.get(key, ())]
    own: dict[str, Any] = whole.get("properties", {})
    return {name: found for part in parts for name, found in part.items()} | own


def answered(verb: Verb) -> dict[str, Any]:
    """Names that its good answers have."""
    found: dict[str, Any] = {}
    for status, response in operation_of(verb)["responses"].items():
        if status < "300":
            found |= properties(resolved(response)["content"]["application/json"]["schema"])
    return found


def name_of(verb: Verb) -> str:
    return f"{verb.noun} {verb.verb}"


@pytest.mark.parametrize("verb", VERBS, ids=name_of)
def test_a_row_is_an_operation_with_its_names(verb: Verb) -> None:
    operation = operation_of(verb)
    for place in ("path", "query"):
        known = {one["name"]: one["required"] for one in operation["parameters"] if one["in"] == place}
        taken = {parameter.name: parameter.needed for parameter in verb.takes if parameter.place == place}
        assert taken.keys() <= known.keys()
        assert {name for name, needed in known.items() if needed} == {name for name, needed in taken.items() if needed}
    body = resolved(operation["requestBody"]["content"]["application/json"]["schema"]) if "requestBody" in operation else {}
    fields = {parameter.name: parameter.needed for parameter in verb.takes if parameter.place == "body" and "." not in parameter.name}
    for inner in [parameter for parameter in verb.takes if "." in parameter.name]:
        outer, name = inner.name.split(".")
        assert name in properties(body["properties"][outer]) and not inner.needed
    assert fields.keys() <= body.get("properties", {}).keys()
    assert set(body.get("required", ())) == {name for name, needed in fields.items() if needed}
    assert verb.waits == any(one["name"] == "Prefer" for one in operation["parameters"])


@pytest.mark.parametrize("verb", VERBS, ids=name_of)
def test_what_is_shown_is_in_the_answer(verb: Verb) -> None:
    known = answered(verb)
    assert set(verb.shape.fields or ()) <= known.keys()
    assert verb.shape.scanned is None or verb.shape.scanned in known
    if verb.shape.rows is not None:
        item = known[verb.shape.rows]["items"]
        assert verb.shape.columns
        assert set(verb.shape.columns) <= properties(item).keys()
    assert (verb.shape.rows == "items") == ("items" in known)
    assert verb.listed == ("next_cursor" in known)


def test_names_are_given_once_and_every_noun_has_a_verb() -> None:
    names = [name_of(verb) for verb in VERBS]
    assert len(names) == len(set(names))
    assert {verb.noun for verb in VERBS} == NOUNS.keys()
    for verb in VERBS:
        options = [parameter.option for parameter in verb.takes]
        assert len(options) == len(set(options))
