"""A page of one room that asks nothing but this API: its HTML, with one script and one style inside, and the policy that names both."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from py_service.exchange import AnswerHeader, Request, Response

HTML = "text/html; charset=utf-8"
PAGE_HEADERS: tuple[AnswerHeader, ...] = ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy")


class ScriptedPage:
    """`room` is the package in which `<name>.html`, `.css` and `.js` lie; STYLE and SCRIPT in the first stand for the others.

    No secret may be in a page: it is the same for everybody.
    """

    def __init__(self, room: str, name: str) -> None:
        page, style, script = (
            resources.files(room).joinpath(f"{name}.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "css", "js")
        )
        # Nothing from elsewhere, nothing sent elsewhere (Content Security Policy Level 3); script and style are named by their hashes.
        self.security_policy = (
            f"default-src 'none'; script-src {_named(script)}; style-src {_named(style)}; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._body = page.replace("STYLE", style).replace("SCRIPT", script).encode()
        self._headers = {
            "content-security-policy": self.security_policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }

    async def answer(self, request: Request) -> Response:
        return Response(200, self._body, dict(self._headers), HTML)


def _named(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
