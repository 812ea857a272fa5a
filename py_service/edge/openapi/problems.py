"""Which problems an operation can answer with: those that follow from what its route takes, and those that it names itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from py_service.edge.identity import TOKEN_CODES
from py_service.edge.openapi.schemas import Schema, Schemas
from py_service.errors import KEY_REFUSALS
from py_service.exchange import Route
from py_service.identifiers import KIND

SUSPENDED = ("403 person_suspended", "403 organization_suspended")
# What a role is refused with: documents.md, "Order of check".
ROLE_REFUSED = (*SUSPENDED, "403 role_missing", "403 not_yet_valid", "403 expired", "403 unknown_credential")
PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `code` is stable; `detail` is for people.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "`/problems/<code>`"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "pattern": "^[a-z_]+$"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "Finds the request in the service's log."},
    },
    "required": ["type", "title", "status", "code", "detail", "request_id"],
}


def codes_of(route: Route, schemas: Schemas) -> dict[int, list[str]]:
    """By status, in order, each once."""
    found: dict[int, list[str]] = {}
    for entry in (*_followed(route, schemas), *route.about.codes):
        status, _, code = entry.partition(" ")
        codes = found.setdefault(int(status), [])
        if code not in codes:
            codes.append(code)
    return dict(sorted(found.items()))


def _followed(route: Route, schemas: Schemas) -> list[str]:
    about = route.about
    found = ["400 header_invalid", "400 query_invalid", "408 body_timeout", "413 body_too_large", "500 internal"]
    found += ["503 overloaded", "503 stores_unavailable"]
    if "cursor" in about.query:
        found.append("400 cursor_invalid")
    if about.body is not None:
        found += ["400 body_malformed", "400 field_invalid", "415 content_type_unsupported"]
    found += ["400 if_match_invalid", "412 changed_meanwhile"] if "If-Match" in route.headers else ["400 if_match_unsupported"]
    if route.quota != "none":
        found.append("429 rate_limited")
    if route.keyed:
        found += ["409 idempotency_key_in_flight", "422 idempotency_key_reused"]
    if route.keyed and not route.own_key:
        found.append("409 idempotent_answer_lost")
    return found if route.access == "anyone" else found + _followed_for_persons(route, schemas)


def _followed_for_persons(route: Route, schemas: Schemas) -> list[str]:
    about = route.about
    named = [*re.findall(r"{(\w+)}", route.pattern), *(kind for type_ in about.query.values() for kind in kinds_in(schemas, type_))]
    if about.body is not None:
        named += kinds_in(schemas, about.body)
    found = [f"401 {code}" for code in TOKEN_CODES] + [f"404 {kind}_unknown" for kind in dict.fromkeys(named)]
    found += [f"401 {code}" for code in KEY_REFUSALS] if route.takes_api_keys else ["403 person_needed"]
    found += SUSPENDED if about.permission is None else ROLE_REFUSED
    if route.method != "GET" and about.by_lane and not route.own_key:
        found += ["409 change_too_large", "422 object_invalid", "503 outcome_unknown"]
    return found


def kinds_in(schemas: Schemas, wanted: Any) -> list[str]:
    """The kinds of objects that a type names, each once."""
    return list(dict.fromkeys(_kinds(schemas, schemas.of(wanted))))


def _kinds(schemas: Schemas, schema: object) -> list[str]:
    if isinstance(schema, list):
        return [kind for item in schema for kind in _kinds(schemas, item)]
    if not isinstance(schema, dict):
        return []
    if KIND in schema:
        return [str(schema[KIND])]
    return [kind for value in schemas.resolved(schema).values() for kind in _kinds(schemas, value)]


def problem_example(status: int, code: str, members: Mapping[str, object]) -> dict[str, object]:
    """A problem document as edge/problem.py writes it."""
    return {
        **members,
        "type": f"/problems/{code}",
        "title": title_of(code),
        "status": status,
        "code": code,
        "detail": title_of(code) + ".",
        "request_id": "3f9c2d4e8b1a7c60-1",
    }


def title_of(code: str) -> str:
    """As in a problem's `title`."""
    return code.replace("_", " ").capitalize()
