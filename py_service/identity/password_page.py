"""The page behind the links of mails: whoever opens one chooses a password there. It asks nothing but this API."""

from __future__ import annotations

from py_service.exchange import Media, Operation, Route
from py_service.scripted_page import HTML, PAGE_HEADERS, ScriptedPage

PASSWORD_PAGE = ScriptedPage("py_service.identity", "password_page")
_DETAIL = (
    "The token stands behind `#` and isn't sent with this request; the page's script sends it with the password that its reader chooses."
)
INVITED = Operation("The page behind the link of an invitation", "Sign-in", {200: Media(HTML)}, tells=PAGE_HEADERS, detail=_DETAIL)
FORGOTTEN = Operation("The page behind the link to a new password", "Sign-in", {200: Media(HTML)}, tells=PAGE_HEADERS, detail=_DETAIL)


def page_routes() -> list[Route]:
    """GET /accept-invitation, /reset-password: which of the two, the script reads from its own address."""
    return [
        Route("GET", path, PASSWORD_PAGE.answer, access="anyone", fenced=False, body_bytes_max=0, about=about)
        for path, about in (("/accept-invitation", INVITED), ("/reset-password", FORGOTTEN))
    ]
