"""The document of the API: valid by the standard's own schema, the same set as the routes, with the protocol's codes and true examples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import get_args

import jsonschema_rs
import msgspec
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from py_service.directory.fields import DoorMode
from py_service.edge.limits import Limits
from py_service.stores.kinds import OBJECT_COLLECTIONS
from tests.boundary.openapi_document import Document, contents, document, operations, resolved, routes, validator
from tests.boundary.test_problem_codes import listed

# The last is what `nexkey organization create` says.
# Told of a row of an import, or of the whole of one, in an answer that is a success.
OF_IMPORTS = {
    (409, "import_stopped"), (409, "import_rows_refused"), (409, "name_ambiguous"),
    (422, "import_file_invalid"), (422, "import_too_many_rows"), (422, "row_malformed"),
}  # fmt: skip
PAGES = ("/docs", "/pass", "/accept-invitation", "/reset-password")
NOT_OF_AN_OPERATION = {(404, "route_unknown"), (405, "method_not_allowed"), (422, "password_weak"), *OF_IMPORTS}


def test_the_document_is_valid() -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document())] == []
    for name, schema in document()["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert re.fullmatch("[A-Za-z]+", name), f"{name}: two types have one name"


def test_a_document_that_is_wrong_is_found() -> None:
    assert not OPENAPI_31_VALIDATOR.is_valid(document() | {"openapi": "3.0.0"})
    assert not OPENAPI_31_VALIDATOR.is_valid(document() | {"paths": {"v1/doors": {}}})
    assert not validator({"$ref": "#/components/schemas/Problem"}).is_valid({"type": "/problems/x"})


def test_document_and_routes_are_the_same_set() -> None:
    described = {(one.method, one.path) for one in operations()}
    assert described == {(route.method, route.pattern) for route in routes()}
    assert len(described) == len(routes()) > 60
    identifiers = [one.operation["operationId"] for one in operations()]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", identifier) for identifier in identifiers)


def test_every_parameter_of_a_path_is_described_and_every_operation_says_who_may_ask() -> None:
    for one in operations():
        in_path = [parameter["name"] for parameter in one.operation["parameters"] if parameter["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", one.path), one.name
        api_key: list[dict[str, list[str]]] = [{"api_key": []}] if one.route.takes_api_keys else []
        assert one.operation["security"] == ([{"bearer": []}, *api_key] if one.route.access == "person" else []), one.name
        assert ("401" in one.operation["responses"]) or one.route.access == "anyone", one.name
    assert any(one.operation["security"] for one in operations())


def test_every_answer_says_which_headers_it_carries() -> None:
    """By docs/protocols/http.md; `tests/e2e/conformance.py` holds what the running service answers against it."""
    sometimes: set[tuple[str, str]] = set()
    for one in operations():
        route, metered = one.route, one.route.quota != "none"
        for status, response in one.operation["responses"].items():
            headers = {name: resolved(found) for name, found in resolved(response)["headers"].items()}
            codes = codes_in(response)
            expected = {
                "X-Request-Id": True,
                "Cache-Control": True,
                "RateLimit": metered,
                "RateLimit-Policy": metered,
                "Retry-After": status in ("429", "503") or "idempotency_key_in_flight" in codes,
                "WWW-Authenticate": status == "401",
                "ETag": route.about.etag and status < "400",
                "Location": status == "201",
                "Idempotent-Replayed": route.keyed and status < "400",
                "Vary": one.path in ("/docs", "/v1/openapi.json") and status < "400",
                **dict.fromkeys(
                    ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"), one.path in PAGES and status < "400"
                ),
            }
            assert headers.keys() == {name for name, there in expected.items() if there}, (one.name, status)
            sometimes |= {(name, status) for name, found in headers.items() if not found["required"]}
            if "Retry-After" in headers and status == "409":
                assert headers["Retry-After"]["required"] == (codes == ["idempotency_key_in_flight"]), one.name
        assert ("429" in one.operation["responses"]) == (one.path not in Limits().always_open), one.name
        assert one.operation.get("x-nexkey-quota", "none") == one.route.quota
    before_the_quota = {(name, status) for name in ("RateLimit", "RateLimit-Policy") for status in ("400", "403", "500", "503")}
    replayed = {("Idempotent-Replayed", status) for status in ("200", "201", "202", "204")}
    assert sometimes - replayed == {("Retry-After", "409"), *before_the_quota}
    quotas = {(one.route.access, one.route.quota) for one in operations()}
    assert quotas == {
        ("person", "request"), ("person", "unlock"), ("person", "sign-in"), ("anyone", "open"), ("anyone", "sign-in"), ("anyone", "none"),
    }  # fmt: skip


def test_who_is_suspended_may_be_told_so_by_every_operation_of_a_person() -> None:
    """Whether the edge looks (a fenced route), or the change itself does, in its transaction."""
    told = {"person_suspended", "organization_suspended"}
    untold = [
        one.name
        for one in operations()
        if one.route.access == "person" and not told <= set(codes_in(resolved(one.operation["responses"]["403"])))
    ]
    assert untold == []


def test_problems_of_the_same_codes_are_shared_only_with_the_same_headers() -> None:
    """What isn't counted by a quota says nothing of one, though its codes are those of others."""
    uncounted = resolved(document()["paths"]["/readyz"]["get"]["responses"]["413"])
    counted = resolved(document()["paths"]["/docs"]["get"]["responses"]["413"])
    assert codes_in(uncounted) == codes_in(counted)
    assert counted["headers"].keys() - uncounted["headers"].keys() == {"RateLimit", "RateLimit-Policy"}


def codes_in(response: Document) -> list[str]:
    """Of a problem; of another answer none."""
    for media in resolved(response).get("content", {}).values():
        schema = media["schema"]
        coded = schema["allOf"][0] if "allOf" in schema else schema
        codes: list[str] = coded.get("properties", {}).get("code", {}).get("enum", [])
        return codes
    return []


def test_every_example_fits_its_schema() -> None:
    tried: set[str] = set()
    for one in operations():
        for place, media in contents(one):
            text = json.dumps(media, sort_keys=True)
            if text in tried:
                continue  # shared by several operations
            tried.add(text)
            if media["schema"] == {"type": "string"} or "example" not in media:
                assert "example" not in media, place
                continue
            errors = [f"{error.instance_path}: {error.message}" for error in validator(media["schema"]).iter_errors(media["example"])]
            assert errors == [], (place, media["example"])
        for parameter in one.operation["parameters"]:
            for example in parameter["schema"].get("examples", []):
                assert validator(parameter["schema"]).is_valid(example), (one.name, parameter["name"])
    assert len(tried) > 100


def test_every_example_of_a_body_is_taken_by_its_decoder() -> None:
    bodies = [one for one in operations() if one.route.about.body is not None]
    for one in bodies:
        example = one.operation["requestBody"]["content"]["application/json"]["example"]
        assert example, one.name
        msgspec.json.decode(msgspec.json.encode(example), type=one.route.about.body)
    assert len(bodies) > 20


def schemas_within(part: object) -> Iterator[Document]:
    """Every object in a part of the document."""
    if isinstance(part, dict):
        yield part
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in inner:
        yield from schemas_within(one)


def test_a_mode_of_a_door_says_everywhere_whom_it_lets_in_and_which_is_held_open() -> None:
    """People take `first_person_in` for a door that stands open then, and `card_and_pin` for a card."""
    modes = set(get_args(get_args(DoorMode)[0]))
    found = [schema for schema in schemas_within(document()) if set(schema.get("enum", ())) == modes]
    assert len(modes) == 4 and len(found) == 5
    for schema in found:
        told = schema.get("description", "")
        assert (
            modes <= set(re.findall(r"`(\w+)`", told))
            and "its lock holds it open" in told
            and "its bolt stays out" in told
            and "no card" in told
        )


def test_the_codes_of_the_document_are_those_of_the_protocol() -> None:
    """Each in some operation with its status; which operation can answer which is held against the running service."""
    found: set[tuple[int, str]] = set()
    for one in operations():
        for status, response in one.operation["responses"].items():
            found |= {(int(status), code) for code in codes_in(response)}
    kinds = {*OBJECT_COLLECTIONS, "attempt", "import", "part"} - {"door"}
    unknown = {(404, f"{kind}_unknown") for kind in kinds}
    assert found - unknown - (listed() - {(404, "<object>_unknown")}) == set(), "not in docs/protocols/http.md"
    assert listed() - {(404, "<object>_unknown")} - NOT_OF_AN_OPERATION - found == set(), (
        "in docs/protocols/http.md, and no operation has it"
    )
