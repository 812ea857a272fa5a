"""`GET /v1/openapi.json`: the API's document, built once when the process starts, and the same bytes until it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from py_service.edge.openapi.document import make_document
from py_service.exchange import Media, Operation, Request, Response, Route

_TAG = "This document"
DOCUMENT = Operation(
    "The API as an OpenAPI 3.1 document", _TAG, {200: Media("application/json"), 304: None}, headers=("If-None-Match",), etag=True
)
_CACHED = "public, max-age=60"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer that is always the same, and its strong ETag."""

    body: bytes
    content_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """304 for who has it (RFC 9110 section 13.1.2)."""
        headers = {"etag": self.etag, "cache-control": _CACHED}
        known = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or "*" in known:
            return Response(304, headers=headers)
        return Response(200, self.body, headers, self.content_type)


def prepared(body: bytes, content_type: str) -> Prepared:
    """With the ETag of its bytes."""
    return Prepared(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class Documentation:
    """`routes`: the others and its own, which are in the document too. `metered`: see `make_document`."""

    def __init__(self, others: Sequence[Route], metered: frozenset[str]) -> None:
        self.routes = [
            *others,
            Route("GET", "/v1/openapi.json", self.get_document, access="anyone", fenced=False, body_bytes_max=0, about=DOCUMENT),
        ]
        self.document = make_document(self.routes, metered)
        self._document = prepared(msgspec.json.encode(self.document), "application/json")

    async def get_document(self, request: Request) -> Response:
        """GET /v1/openapi.json"""
        return self._document.answer(request)
