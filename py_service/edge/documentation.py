"""`GET /v1/openapi.json` and `GET /docs`: the API's document and its page. Made once in a process, the same bytes until it ends."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from py_service.edge.openapi.document import make_document
from py_service.edge.openapi.page import SECURITY_POLICY, make_page
from py_service.exchange import Media, Operation, Request, Response, Route
from py_service.scripted_page import PAGE_HEADERS

_TAG = "This document"
DOCUMENT = Operation(
    "The API as an OpenAPI 3.1 document", _TAG, {200: Media("application/json"), 304: None}, headers=("If-None-Match",), etag=True,
    tells=("Vary",),
)  # fmt: skip
_HTML = "text/html; charset=utf-8"
PAGE = Operation(
    "The API as a page for people", _TAG, {200: Media(_HTML), 304: None}, headers=("If-None-Match",), etag=True,
    tells=("Vary", *PAGE_HEADERS),
)  # fmt: skip
_CACHED = {"cache-control": "public, max-age=60", "vary": "accept-encoding"}
_PAGE_HEADERS = {"content-security-policy": SECURITY_POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class Prepared:
    """An answer that is always the same, plain and compressed. Each form has its strong ETag (RFC 9110 section 8.8.3.3)."""

    def __init__(self, body: bytes, content_type: str, headers: Mapping[str, str]) -> None:
        self._content_type = content_type
        self._forms = {"identity": body, "gzip": gzip.compress(body, 9, mtime=0)}
        name = hashlib.sha256(body).hexdigest()[:32]
        self._headers = {form: {"etag": f'"{name}-{form}"', **_CACHED, **headers} for form in self._forms}
        self._headers["gzip"]["content-encoding"] = "gzip"

    def answer(self, request: Request) -> Response:
        """304 for who has it (RFC 9110 section 13.1.2)."""
        form = "gzip" if takes_gzip(request.headers.get("accept-encoding", "")) else "identity"
        headers = dict(self._headers[form])
        known = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
        if headers["etag"] in known or "*" in known:
            return Response(304, headers={name: value for name, value in headers.items() if name != "content-encoding"})
        return Response(200, self._forms[form], headers, self._content_type)


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not to refuse it (RFC 9110 section 12.5.3). Anything unusual: no."""
    for entry in accepted.lower().split(","):
        coding, _, weight = entry.replace(" ", "").partition(";")
        if coding == "gzip":
            return not weight or weight.strip("q=0.") != ""
    return False


class Documentation:
    """`routes`: the others and its own, which are in the document too."""

    def __init__(self, others: Sequence[Route]) -> None:
        self.routes = [
            *others,
            Route("GET", "/v1/openapi.json", self.get_document, access="anyone", fenced=False, body_bytes_max=0, about=DOCUMENT),
            Route("GET", "/docs", self.get_page, access="anyone", fenced=False, body_bytes_max=0, about=PAGE),
        ]
        self._making: asyncio.Task[tuple[Prepared, Prepared]] | None = None

    async def get_document(self, request: Request) -> Response:
        """GET /v1/openapi.json"""
        return (await self._made())[0].answer(request)

    async def get_page(self, request: Request) -> Response:
        """GET /docs"""
        return (await self._made())[1].answer(request)

    async def _made(self) -> tuple[Prepared, Prepared]:
        """Made by whoever asks first, and beside the loop: it takes a quarter of a second, in which others want through a door."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)

    def _make(self) -> tuple[Prepared, Prepared]:
        document = make_document(self.routes)
        return Prepared(msgspec.json.encode(document), "application/json", {}), Prepared(make_page(document), _HTML, _PAGE_HEADERS)
