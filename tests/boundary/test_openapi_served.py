"""Document and page as they are served: the same bytes, known by an ETag; and a page that loads, runs and sends nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import msgspec
import pytest

from py_service.edge.documentation import Documentation
from py_service.edge.openapi.page import make_page
from py_service.exchange import Request
from tests.boundary.openapi_document import document, operations, routes

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWN = {"/v1/openapi.json", "/docs"}


def asking(**headers: str) -> Request:
    return Request("GET", "/v1/openapi.json", {}, {}, headers, b"", "test", 0)


@pytest.fixture(scope="module")
def documentation() -> Documentation:
    return Documentation([route for route in routes() if route.pattern not in OWN])


async def test_the_document_is_served_as_it_is_and_known_by_its_etag(documentation: Documentation) -> None:
    answer = await documentation.get_document(asking())
    assert (answer.status, msgspec.json.decode(answer.body)) == (200, document())
    etag = answer.headers["etag"]
    assert etag.startswith('"') and "public" in answer.headers["cache-control"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await documentation.get_document(asking(**{"if-none-match": known}))
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert (await documentation.get_document(asking(**{"if-none-match": '"other"'}))).status == 200


VOID = {"meta", "br", "hr", "link", "img", "input"}


class Read(HTMLParser):
    """A page as a browser reads it: what is opened is closed in order; ids, links, and whatever would load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "data", "action", "style") or name.startswith("on"):
                self.loads.append(f"{tag} {name}={value}")
        if tag in ("script", "link", "img", "iframe", "object", "embed", "form", "base"):
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


async def test_the_page_has_every_operation_and_needs_nobody_else(documentation: Documentation) -> None:
    answer = await documentation.get_page(asking())
    text = answer.body.decode()
    read = Read(text)
    assert read.open == [] and read.loads == [] and len(set(read.ids)) == len(read.ids)
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text
    assert {one.operation["operationId"] for one in operations()} <= set(read.ids)
    for one in operations():
        assert one.path in read.words and one.operation["summary"] in read.words, one.name
    assert {link.removeprefix("#") for link in read.links if link.startswith("#")} <= set(read.ids)
    assert {link for link in read.links if not link.startswith("#")} == {"/v1/openapi.json"}
    assert '<meta name="viewport" content="width=device-width' in text


async def test_the_page_lets_nothing_in(documentation: Documentation) -> None:
    answer = await documentation.get_page(asking())
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert set(policy) == {"default-src", "style-src", "base-uri", "form-action", "frame-ancestors"}
    style = answer.body.decode().partition("<style>")[2].partition("</style>")[0]
    assert policy["style-src"] == f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"
    assert answer.content_type == "text/html; charset=utf-8" and answer.headers["x-content-type-options"] == "nosniff"


async def test_what_stands_in_the_document_can_not_become_markup() -> None:
    wild = json.loads(json.dumps(document()))
    operation = wild["paths"]["/v1/me"]["get"]
    operation["summary"] = operation["description"] = "<script>alert(1)</script> `<b>`"
    text = make_page(wild).decode()
    assert "<script" not in text and "<b>`" not in text and Read(text).loads == []


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("br, gzip;q=0.8", True), ("GZIP", True), ("", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.000", False),
     ("*", False)],
)  # fmt: skip
async def test_the_page_is_compressed_for_who_takes_it(documentation: Documentation, accepted: str, compressed: bool) -> None:
    plain = await documentation.get_page(asking())
    answer = await documentation.get_page(asking(**{"accept-encoding": accepted}))
    assert ("content-encoding" in answer.headers) == compressed and "accept-encoding" in answer.headers["vary"]
    assert (gzip.decompress(answer.body) if compressed else answer.body) == plain.body
    assert (answer.headers["etag"] != plain.headers["etag"]) == compressed
    again = await documentation.get_page(asking(**{"accept-encoding": accepted, "if-none-match": answer.headers["etag"]}))
    assert again.status == 304 and "content-encoding" not in again.headers


async def test_document_and_page_are_made_once(documentation: Documentation) -> None:
    first, *others = await asyncio.gather(*(documentation.get_document(asking()) for _ in range(8)))
    assert all(other.body is first.body for other in others)
