"""Links of passes: 256 random bits behind `#`, so that no server's log ever has them. Only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass

import segno

from py_service.errors import Problem
from py_service.passes.givers import KIND, find_pass, refuse_over
from py_service.permissions.change import Plan, View

_TOKEN_BYTES = 32
_QR_MODULE = 4  # SVG units a side


def new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> str:
    """SHA-256 in hex. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def link_of(public_url: str, token: str) -> str:
    """What the receiver opens."""
    return f"{public_url.rstrip('/')}/pass#{token}"


def qr_svg(link: str) -> str:
    """The link as a QR code (ISO/IEC 18004, level M), an SVG document."""
    made = io.BytesIO()
    segno.make(link, error="m", micro=False).save(made, kind="svg", scale=_QR_MODULE, xmldecl=False, nl=False)
    return made.getvalue().decode()


@dataclass(frozen=True, slots=True)
class RenewLink:
    """A new link of a pass that nobody has accepted yet; the old one is void."""

    identifier: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await find_pass(view, self.identifier)
        refuse_over(document, view.at_ms)
        if document["accepted_by"] is not None:
            raise Problem(409, "pass_accepted", "This pass was accepted: its link has done its work.")
        token = new_token()
        plan = view.written(KIND, {**document, "token_hash": token_hash(token)}, "pass_link_renewed")
        plan.result = {**(plan.result or {}), "token": token}
        return plan
