"""Links of passes: 256 random bits behind `#`, so that no server's log ever has them. Only their SHA-256 is stored.

A link is a document of its own, never changed: it names its pass, and how many times a link of that had been asked for. Only those of the
last time are good.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass
from typing import Final

import segno
from pymongo.asynchronous.database import AsyncDatabase

from py_service.errors import Problem
from py_service.mail.letter import Letter
from py_service.mail.quiet import letter_writes
from py_service.passes.givers import KIND, find_pass, refuse_over
from py_service.passes.terms import DAY_MS, WINDOW_MS_MAX
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.match import check_match
from py_service.stores.mongo import Document, store_errors

COLLECTION = "pass_links"
LETTER: Final = "pass"
LINKS_AT_ONCE_MAX = 500
_KEPT_MS = WINDOW_MS_MAX + 30 * DAY_MS  # from the beginning of a pass: longer than any holds, so that a late link hears why
_TOKEN_BYTES = 32
_QR_MODULE = 4  # SVG units a side


@dataclass(frozen=True, slots=True)
class Link:
    """Which pass a token is for. `number`: of the pass's links."""

    organization: str
    identifier: str
    number: int


def new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def link_write(organization: str, document: Document, token: str) -> Write:
    """What is stored of the link that this pass has now."""
    identifier = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()  # 256 random bits need no salt and no slow hash
    forget_at = int(document["valid_from"]) + _KEPT_MS
    made: Document = {"_id": identifier, "org": organization, "pass": document["id"], "number": document["link"], "forget_at": forget_at}
    return Write(COLLECTION, identifier, made)


async def find_link(database: AsyncDatabase[Document], token: str) -> Link | None:
    """By a hash: the time that it takes says nothing of the token. Raises Problem 503."""
    identifier = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    async with store_errors():
        found = await database[COLLECTION].find_one({"_id": identifier})
    return None if found is None else Link(str(found["org"]), str(found["pass"]), int(found["number"]))


async def delete_forgotten(database: AsyncDatabase[Document], now_ms: int) -> int:
    """Links of passes that were over long ago, 500 at most; how many. Raises Problem 503."""
    async with store_errors():
        found = await database[COLLECTION].find({"forget_at": {"$gte": 0, "$lt": now_ms}}, {"_id": 1}).limit(LINKS_AT_ONCE_MAX).to_list()
        if found:
            await database[COLLECTION].delete_many({"_id": {"$in": [document["_id"] for document in found]}})
    return len(found)


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
    """A new link of a pass that nobody has accepted yet; those before it are void. `by_mail`: to its receiver, else to the caller.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    identifier: str
    by_mail: bool
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await find_pass(view, self.identifier)
        check_match(document, self.if_match)
        refuse_over(document, view.at_ms)
        if document["accepted_by"] is not None:
            raise Problem(409, "pass_accepted", "This pass was accepted: its link has done its work.")
        if self.by_mail and "email" not in document["receiver"]:
            raise Problem(409, "receiver_without_email", "This pass has no e-mail address to which its link could go.")
        after = {**document, "link": document["link"] + 1}
        return await with_link(view, after, view.written(KIND, after, "pass_link_renewed"), self.by_mail)


async def with_link(view: View, document: Document, plan: Plan, by_mail: bool) -> Plan:
    """The plan, with a link of this pass: in a letter, which makes it when it is sent, or with its token in the plan's result.

    Raises Problem 429: its receiver was sent many letters.
    """
    if by_mail:
        about = f"{document['id']}.{document['link']}"
        letter = Letter(LETTER, view.organization, about, str(document["receiver"]["email"]), view.at_ms)
        plan.writes += [Write(*one) for one in await letter_writes(view.mongo.database, view.session, letter)]
        return plan
    token = new_token()
    plan.writes.append(link_write(view.organization, document, token))
    plan.result = {**(plan.result or {}), "token": token}
    return plan
