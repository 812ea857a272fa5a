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


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.method in ("POST", "PATCH", "PUT")], ids=name_of)
def test_what_is_one_of_a_few_words_lists_them(verb: Verb) -> None:
    """The help of an option is also what a refusal of it shows."""
    body = operation_of(verb).get("requestBody")
    fields = properties(body["content"]["application/json"]["schema"]) if body is not None else {}
    for parameter in verb.takes:
        schema = resolved(fields.get(parameter.name, {})) if parameter.place == "body" else {}
        for part in (schema, *map(resolved, schema.get("anyOf", ()))):
            for word in part.get("enum", ()):
                assert word is None or word in parameter.help, f"{name_of(verb)} --{parameter.option}: {word}"


WITHOUT_A_VERB = {
    "GET /healthz": "a balancer's", "GET /readyz": "a balancer's", "GET /metrics": "a collector's",
    "GET /docs": "a page", "GET /pass": "a page", "GET /accept-invitation": "a page", "GET /reset-password": "a page",
    "GET /v1/openapi.json": "a program's", "GET /.well-known/jwks.json": "a program's",
    "POST /v1/sign-in": "nexkey login", "POST /v1/refresh": "done when it is needed", "POST /v1/sign-out": "nexkey logout",
    "GET /v1/me": "nexkey whoami", "POST /v1/me/realtime-token": "a program's: it lasts for minutes",
    "POST /v1/passes/accept": "by whoever has no account: the page behind the link",
    "POST /v1/invitations/accept": "by whoever has no account: the page behind the link",
    "POST /v1/password-reset": "by whoever can't sign in", "POST /v1/password-reset/confirm": "the page behind the link",
    "POST /v1/imports": "nexkey import add: of a file, under an id that is made up",
    "PUT /v1/imports/{import}/parts/{part}": "nexkey import add", "POST /v1/imports/{import}/start": "nexkey import add",
    "POST /v1/access/preview": "takes a list of changes: a program's",
    "GET /v1/devices/{device}/configuration": "a lock's", "POST /v1/devices/{device}/time": "a lock's",
    "POST /v1/devices/{device}/hold": "a lock's",
    "POST /v1/devices/{device}/token": "a lock's",
    **dict.fromkeys((
        "GET /v1/operator/organizations", "POST /v1/operator/organizations", "GET /v1/operator/organizations/{organization}",
        "PATCH /v1/operator/organizations/{organization}", "DELETE /v1/operator/organizations/{organization}",
        "POST /v1/operator/organizations/{organization}/suspend", "POST /v1/operator/organizations/{organization}/resume",
    ), "a program's of the operator; by hand nexkey organization create, list, rename, suspend, resume, archive"),
}  # fmt: skip
WITHOUT_AN_OPTION = dict.fromkeys(
    (("pass add", "receiver.link"), ("pass pass-on", "receiver.link")), "what is meant where neither --email nor --phone is given"
)


def accepted(verb: Verb) -> set[str]:
    """Names of all that its operation takes in path, query and body; of a part with fields that isn't taken whole, the fields'."""
    operation = operation_of(verb)
    names = {one["name"] for one in operation["parameters"] if one["in"] in ("path", "query")}
    body = operation["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in operation else {}
    taken = {parameter.name for parameter in verb.takes if parameter.place == "body"}
    for name, schema in properties(body).items():
        parts = {} if name in taken else properties(schema)
        names |= {f"{name}.{part}" for part in parts} or {name}
    return names


def test_a_verb_takes_all_that_its_operation_does_or_there_is_a_reason() -> None:
    taken = {name_of(verb): {parameter.name for parameter in verb.takes} for verb in VERBS}
    missing = {(name_of(verb), name) for verb in VERBS for name in accepted(verb) - taken[name_of(verb)]}
    assert missing == WITHOUT_AN_OPTION.keys()


def test_every_operation_has_a_verb_or_a_reason_to_have_none() -> None:
    operations = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    carried_out = {f"{verb.method} {verb.path}" for verb in VERBS}
    assert operations - carried_out == WITHOUT_A_VERB.keys()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.method in ("PATCH", "PUT")], ids=name_of)
def test_what_changes_something_takes_every_field_and_clears_what_may_be_empty(verb: Verb) -> None:
    body = resolved(operation_of(verb)["requestBody"]["content"]["application/json"]["schema"])["properties"]
    taken = {parameter.name: parameter.clears for parameter in verb.takes if parameter.place == "body"}
    assert taken == {name: emptied(schema) for name, schema in body.items()}


def emptied(schema: Document) -> str:
    """What an empty field is, by its schema; an empty text: it can't be."""
    schema = resolved(schema)
    if any(resolved(one).get("type") == "null" for one in schema.get("anyOf", ())):
        return "null"
    return "list" if schema.get("type") == "array" and not schema.get("minItems") else ""


@pytest.mark.parametrize("verb", VERBS, ids=name_of)
def test_if_match_is_an_option_where_the_operation_reads_it(verb: Verb) -> None:
    read = any(one["name"] == "If-Match" for one in operation_of(verb)["parameters"])
    assert read == any(parameter.place == "header" for parameter in verb.takes)


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
