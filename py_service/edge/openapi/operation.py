"""One route becomes one operation of the document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from py_service.edge.openapi.examples import example_of
from py_service.edge.openapi.headers import Headers, headers_of_answer, headers_of_problem
from py_service.edge.openapi.problems import codes_of, problem_example
from py_service.edge.openapi.schemas import Schema, Schemas
from py_service.exchange import Media, Route
from py_service.identifiers import IN_PATHS

PERSON_NEEDED = "person_needed"
PROBLEM_TYPE = "application/problem+json"
REFERENCE = "#/components"
# What a request header takes, and whether it has to be there.
REQUEST_HEADERS: dict[str, tuple[Schema, bool, str]] = {
    "If-Match": (
        {"type": "string", "pattern": r'^("[0-9]{1,18}"|\*)$', "examples": ['"1804"']}, False,
        "The `ETag` that was read: 412 `changed_meanwhile` when it has changed since.",
    ),
    "If-None-Match": ({"type": "string", "examples": ['"5f1c..."']}, False, "The `ETag` that is known: 304 when it hasn't changed."),
    "Idempotency-Key": (
        {"type": "string", "pattern": "^[!-~]{1,128}$", "examples": ["8e03978e-40d5-43dd-bc93-6894a57f9324"]}, False,
        "Makes a repeat safe: it gets the first answer and does nothing again.",
    ),
    "Prefer": (
        {"type": "string", "examples": ["wait=2"]}, False,
        "`wait=<seconds>` (RFC 7240): wait so long for the lock's answer, 10 at most. Other preferences are ignored.",
    ),
    "X-Nexkey-Assertion": ({"type": "string", "minLength": 1}, True, "The device's assertion (docs/protocols/tokens.md)."),
}  # fmt: skip


def operation_id(route: Route) -> str:
    """From method and path: `get_doors`, `patch_door`, `post_door_unlock`, `get_person_sessions`."""
    words: list[str] = []
    for segment in route.pattern.split("/")[1:]:
        if not segment.startswith("{"):
            words.append(re.sub("[^a-z0-9]+", "_", segment).strip("_"))
            continue
        parameter = segment.strip("{}")
        if words and words[-1].rstrip("s").replace("_", "").endswith(parameter.replace("_", "")):
            words[-1] = parameter
        else:
            words.append(parameter)
    return "_".join([route.method.lower(), *(word for word in words if word != "v1")])


def make_operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    """An Operation Object (OpenAPI 3.1.0, 4.8.10), whose problems stand in it whole."""
    about = route.about
    made: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": about.summary,
        "description": _description(route),
        "tags": [about.tag],
        "security": _security(route),
        "parameters": _parameters(route, schemas),
    }
    if about.permission is not None:
        made["x-nexkey-permission"] = about.permission
    if route.quota != "none":
        made["x-nexkey-quota"] = route.quota
    if about.body is not None:
        schema = schemas.of(about.body)
        example = dict(about.example) if about.example is not None else example_of(schemas, schema)
        made["requestBody"] = {"required": about.body_needed, "content": {"application/json": {"schema": schema, "example": example}}}
    made["responses"] = _responses(route, schemas)
    return made


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access == "anyone":
        return []
    return [{"bearer": []}, {"api_key": []}] if route.takes_api_keys else [{"bearer": []}]


def _description(route: Route) -> str:
    about = route.about
    who = "Open to anyone." if route.access == "anyone" else "For every person."
    if about.permission is not None:
        who = f"Needs a role, or an API key, with `{about.permission}`."
    return f"{who} {about.detail}".strip()


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    about = route.about
    made = [_parameter("path", name, True, schemas.of(IN_PATHS[name])) for name in re.findall(r"{(\w+)}", route.pattern)]
    made += [_parameter("query", name, name in about.needed, schemas.of(type_)) for name, type_ in about.query.items()]
    for name in route.headers:
        schema, required, description = REQUEST_HEADERS[name]
        made.append(_parameter("header", name, required, {**schema, "description": description}))
    return made


def _parameter(place: str, name: str, required: bool, schema: Schema) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "in": place, "required": required}
    if "description" in schema:
        made["description"] = schema["description"]
    return made | {"schema": {key: value for key, value in schema.items() if key != "description"}}


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    about = route.about
    made: dict[str, Any] = {}
    for status, answer in sorted(about.answers.items()):
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": headers_of_answer(route, status)}
        if isinstance(answer, Media):
            response["content"] = {
                answer.content_type: {"schema": {"type": "object" if answer.content_type.endswith("json") else "string"}}
            }
        elif answer is not None:
            schema = schemas.of(answer)
            known = {**(about.example or {}), **about.shows.get(status, {})}
            response["content"] = {"application/json": {"schema": schema, "example": example_of(schemas, schema, known)}}
        made[str(status)] = response
    for status, codes in codes_of(route, schemas).items():
        members = schemas.of(about.members[status]) if status in about.members else None
        headers = headers_of_problem(route, status, codes)
        made[str(status)] = _problem(schemas, status, codes, headers, members, about.shows.get(status, {}))
    return made


def _problem(
    schemas: Schemas, status: int, codes: list[str], headers: Headers, members: Schema | None, known: Mapping[str, object]
) -> dict[str, Any]:
    schema: Schema = {"$ref": f"{REFERENCE}/schemas/Problem", "properties": {"code": {"enum": codes}}}
    more = {} if members is None else example_of(schemas, members, known)
    if members is not None:
        # The edge refuses an API key before the room is asked, which knows the members.
        of_edge: Schema = {"properties": {"code": {"const": PERSON_NEEDED}}}
        schema = {"allOf": [schema, {"anyOf": [members, of_edge]} if PERSON_NEEDED in codes else members]}
    content = {"schema": schema, "example": problem_example(status, str(known.get("code", codes[0])), more)}
    described = ", ".join(f"`{code}`" for code in codes)
    return {"description": f"{HTTPStatus(status).phrase}: {described}", "headers": headers, "content": {PROBLEM_TYPE: content}}
