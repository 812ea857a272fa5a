"""The document of the whole API: OpenAPI 3.1, made from the table of routes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

import msgspec

from py_service._core_rs import __version__
from py_service.edge.openapi.headers import components
from py_service.edge.openapi.operation import PROBLEM_TYPE, REFERENCE, make_operation
from py_service.edge.openapi.problems import PROBLEM
from py_service.edge.openapi.schemas import Schemas
from py_service.exchange import Media, Route
from py_service.identifiers import IN_PATHS

NAME_CHARACTERS_MAX = 60
INTRODUCTION = """\
Access control: people open doors, managers give and take access away at once.

Identifiers match `[a-z0-9_-]{1,64}`; one of another organization is unknown everywhere. Times are RFC 3339 in UTC. Bodies are JSON, and \
fields that aren't known are refused. Lists come in pages: `limit`, `cursor`, and `next_cursor` in the answer. Every answer carries \
`X-Request-Id`, the request's own when that is 1 to 64 of `[A-Za-z0-9_-]`. Whatever goes wrong is a problem document (RFC 9457) with a \
stable `code`. Whoever asks too often gets 429 `rate_limited`; what is left of a quota stands in \
`RateLimit`, and whose it is in each operation's `x-nexkey-quota`: `unlock` and `request` are of a person or an API key, `open` and \
`sign-in` of a client's address, each counted by one process of the service. What takes access away says `effective_by`: after that moment \
not even a command signed before can move a lock."""
API_KEY = {"type": "http", "scheme": "bearer", "bearerFormat": "nxk_...", "description": "An API key (docs/protocols/tokens.md)."}
BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The `access_token` of a sign-in."}


def make_document(routes: Sequence[Route]) -> dict[str, Any]:
    """An OpenAPI Object (3.1.0, 4.8.1). The same routes give the same bytes."""
    schemas = Schemas(_types(routes))
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(routes, key=lambda route: route.pattern):
        operation = make_operation(route, schemas)
        paths.setdefault(route.pattern, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nexkey",
            "summary": "Cloud access control",
            "description": INTRODUCTION,
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "Where this document was read"}],
        "tags": [{"name": tag} for tag in sorted({route.about.tag for route in routes})],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components, "Problem": PROBLEM},
            "responses": _share_problems(paths),
            "headers": components(),
            "securitySchemes": {"bearer": BEARER, "api_key": API_KEY},
        },
    }


def _types(routes: Sequence[Route]) -> Iterator[Any]:
    yield from IN_PATHS.values()
    for route in routes:
        about = route.about
        answers = [answer for answer in about.answers.values() if answer is not None and not isinstance(answer, Media)]
        yield from (*about.query.values(), *answers, *about.members.values())
        if about.body is not None:
            yield about.body


def _share_problems(paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Problems that several operations answer with stand once, under the names of their codes."""
    places = [
        (operation["responses"], status)
        for operations in paths.values()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if PROBLEM_TYPE in response.get("content", {})
    ]
    texts = [msgspec.json.encode(responses[status]) for responses, status in places]
    often = Counter(texts)
    shared: dict[str, Any] = {}
    for (responses, status), text in zip(places, texts, strict=True):
        if often[text] > 1:
            name = _name(status, responses[status])
            if shared.setdefault(name, responses[status]) != responses[status]:  # the same codes with other headers
                name = f"{name}.{crc32(text):08x}"
                shared[name] = responses[status]
            responses[status] = {"$ref": f"{REFERENCE}/responses/{name}"}
    return dict(sorted(shared.items()))


def _name(status: str, response: dict[str, Any]) -> str:
    schema = response["content"][PROBLEM_TYPE]["schema"]
    codes = (schema["allOf"][0] if "allOf" in schema else schema)["properties"]["code"]["enum"]
    name = ".".join([status, *codes])
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{status}.{codes[0]}.{crc32(msgspec.json.encode(response)):08x}"
