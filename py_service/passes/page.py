"""The page behind the link of a pass: a receiver without an app accepts there and opens doors. It asks nothing but this API."""

from __future__ import annotations

from py_service.exchange import Media, Operation, Route
from py_service.scripted_page import HTML, PAGE_HEADERS, ScriptedPage

PASS_PAGE = ScriptedPage("py_service.passes", "page")
PAGE = Operation(
    "The page behind the link of a pass", "Passes", {200: Media(HTML)}, tells=PAGE_HEADERS,
    detail="The token stands behind `#` and isn't sent with this request; the page's script accepts the pass, when its reader says so.",
)  # fmt: skip


def page_route() -> Route:
    return Route("GET", "/pass", PASS_PAGE.answer, access="anyone", fenced=False, body_bytes_max=0, about=PAGE)
