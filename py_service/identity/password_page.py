"""The page behind the links of mails: whoever opens one chooses a password there. It asks nothing but this API."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from py_service.exchange import Media, Operation, Request, Response, Route


def _part(name: str) -> str:
    return resources.files("py_service.identity").joinpath(name).read_text(encoding="utf-8")


def _named(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE, _SCRIPT = _part("password_page.css"), _part("password_page.js")
# Nothing from elsewhere, nothing sent elsewhere; the one script and the one style are named by their hashes.
SECURITY_POLICY = (
    f"default-src 'none'; script-src {_named(_SCRIPT)}; style-src {_named(_STYLE)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = _part("password_page.html").replace("STYLE", _STYLE).replace("SCRIPT", _SCRIPT).encode()
_HEADERS = {"content-security-policy": SECURITY_POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_HTML = "text/html; charset=utf-8"
_DETAIL = (
    "The token stands behind `#` and isn't sent with this request; the page's script sends it with the password that its reader chooses."
)
INVITED = Operation("The page behind the link of an invitation", "Sign-in", {200: Media(_HTML)}, detail=_DETAIL)
FORGOTTEN = Operation("The page behind the link to a new password", "Sign-in", {200: Media(_HTML)}, detail=_DETAIL)


async def _answer(request: Request) -> Response:
    """GET /accept-invitation, /reset-password: which of the two, the script reads from its own address."""
    return Response(200, _PAGE, dict(_HEADERS), _HTML)


def page_routes() -> list[Route]:
    """No secret is in the page: it is the same for everybody."""
    return [
        Route("GET", path, _answer, access="anyone", fenced=False, body_bytes_max=0, about=about)
        for path, about in (("/accept-invitation", INVITED), ("/reset-password", FORGOTTEN))
    ]
