"""Which headers an answer carries, always or sometimes. `tests/e2e/conformance.py` holds every answer against this, both ways.

Left out is what HTTP itself needs (`Content-Type`, `Content-Length`, `Content-Encoding`, `Date`, and what a server adds).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from py_service.edge.openapi.schemas import Schema
from py_service.exchange import Route

IN_FLIGHT = "idempotency_key_in_flight"
SOMETIMES = ".sometimes"  # what a header's component is called where it may be missing
REFERENCE = "#/components/headers"
# Answers that may be given before it is known whose quota a request takes from: it is malformed, an API key's where only persons have
# something to do, or one too many for the process.
_BEFORE_THE_QUOTA = (400, 403, 500, 503)

_DESCRIBED: dict[str, tuple[Schema, str]] = {
    "X-Request-Id": ({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "The request's own id if it sent a good one, else a new one."),
    "Cache-Control": (
        {"type": "string", "pattern": "^(no-store|public, max-age=[0-9]+)$"},
        "`no-store`, except for what is the same for everybody.",
    ),
    "Vary": ({"type": "string", "enum": ["accept-encoding"]}, "It is compressed for whoever takes that."),
    "ETag": ({"type": "string", "pattern": '^"[!#-~]+"$'}, "Of what was read or written, for `If-Match` or `If-None-Match`."),
    "Location": ({"type": "string", "pattern": "^/v1/(operator/)?[a-z-]+/[a-z0-9_-]{1,64}$"}, "Of what was made."),
    "Retry-After": (
        {"type": "integer", "minimum": 1},
        f"Seconds after which another try makes sense. Of a 409 it says so with `{IN_FLIGHT}`, which ends by itself.",
    ),
    "RateLimit-Policy": (
        {"type": "string", "pattern": '^"[a-z-]+";q=[0-9]+;w=[0-9]+$', "examples": ['"request";q=1200;w=60']},
        "The quota: `q` requests in `w` seconds, by draft-ietf-httpapi-ratelimit-headers-11.",
    ),
    "RateLimit": (
        {"type": "string", "pattern": '^"[a-z-]+";r=[0-9]+;t=[0-9]+$', "examples": ['"request";r=1199;t=1']},
        "What is left of it: `r` requests; whole again in `t` seconds (with none left: the next one is taken in `t` seconds).",
    ),
    "WWW-Authenticate": ({"type": "string", "enum": ["Bearer", 'Bearer error="invalid_token"']}, "RFC 6750."),
    "Idempotent-Replayed": ({"type": "string", "enum": ["true"]}, "This is the recorded answer of an earlier request with the same key."),
    "Content-Security-Policy": ({"type": "string", "pattern": "^default-src 'none'; "}, "What the page may load: nothing from elsewhere."),
    "X-Content-Type-Options": ({"type": "string", "enum": ["nosniff"]}, "It is what its type says."),
    "Referrer-Policy": ({"type": "string", "enum": ["no-referrer"]}, "Nobody hears where a link of the page was followed."),
}

Headers = dict[str, Any]


def components() -> Headers:
    """Header Objects (OpenAPI 3.1.0, 4.8.21) by name: each as one that is always there, and as one that may be missing."""
    made: Headers = {}
    for name, (schema, description) in _DESCRIBED.items():
        made[name] = {"description": description, "required": True, "schema": schema}
        made[name + SOMETIMES] = {"description": description, "required": False, "schema": schema}
    return made


def headers_of_answer(route: Route, status: int) -> Headers:
    """Of what the route's operation says of itself."""
    about = route.about
    always = ["X-Request-Id", "Cache-Control", *about.tells]
    if route.quota != "none":
        always += ["RateLimit-Policy", "RateLimit"]
    if about.etag:
        always.append("ETag")
    if status == 201:
        always.append("Location")
    return _referred(always, ["Idempotent-Replayed"] if route.keyed else [])


def headers_of_problem(route: Route, status: int, codes: Collection[str]) -> Headers:
    """Of a problem with one of these codes."""
    always = ["X-Request-Id", "Cache-Control"]
    sometimes: list[str] = []
    if route.quota != "none":
        (sometimes if status in _BEFORE_THE_QUOTA else always).extend(("RateLimit-Policy", "RateLimit"))
    if status == 401:
        always.append("WWW-Authenticate")
    if status in (429, 503):
        always.append("Retry-After")
    elif IN_FLIGHT in codes:
        (always if set(codes) == {IN_FLIGHT} else sometimes).append("Retry-After")
    return _referred(always, sometimes)


def _referred(always: Collection[str], sometimes: Collection[str]) -> Headers:
    found = {name: {"$ref": f"{REFERENCE}/{name}"} for name in always}
    return found | {name: {"$ref": f"{REFERENCE}/{name}{SOMETIMES}"} for name in sometimes}
