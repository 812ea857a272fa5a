"""Who may give a pass, and who may look after one."""

from __future__ import annotations

from pymongo.asynchronous.client_session import AsyncClientSession

from py_service.errors import Problem, unknown
from py_service.permissions.change import Actor, View
from py_service.permissions.listing import object_key
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo, find_by_ids

WRITE_PERMISSION = "grants.write"
KIND = "pass"


def manages(view: View, sites: set[str]) -> bool:
    """Whether the caller may write grants at all of these sites (or is the service itself)."""
    actor = view.actor
    if actor is None:
        return True
    return all(view.index.check_role(view.organization, actor.subject, WRITE_PERMISSION, site, view.at_ms).allowed for site in sites)


async def giver_of(view: View, doors: list[Document]) -> str | None:
    """Who a new pass for these doors is given by: None for a manager of all of them, else the caller. Raises Problem 401, 403.

    A person shares doors that allow it, and that a grant of their own opens to them at this moment. A pass doesn't count: it says itself
    whether it may be passed on.
    """
    view.stand()
    if view.actor is None or manages(view, {str(door["site"]) for door in doors}):
        return None
    person = view.actor.subject
    for door in doors:
        decision = view.index.check(view.organization, person, str(door["id"]), view.at_ms)
        rule = await view.find("grant", decision.rule) if decision.allowed and decision.rule is not None else None
        if not door.get("sharing") or rule is None or rule.get("pass") is not None:
            raise Problem(403, "sharing_refused", "You may give passes for doors that allow it and that your own grants open now.")
    return person


async def gave_above(mongo: Mongo, actor: Actor, document: Document, session: AsyncClientSession | None = None) -> bool:
    """Whether the caller gave a pass from which this one was passed on, any number of times in a row.

    To hold one of those is not enough; and who may write grants may so by their role, not by this.
    """
    names = [object_key(actor.organization, KIND, above) for above in document["above"]]
    found = await find_by_ids(mongo.database, OBJECT_COLLECTIONS[KIND], names, session=session)
    return any(above["given_by"] == actor.subject for above in found)


async def find_pass(view: View, identifier: str, *, to_end: bool = False) -> Document:
    """A pass that the caller may look after, also one that has ended: its giver, or whoever may write grants at all of its sites.

    `to_end`: whoever holds it, or gave one above it, too: they may end it, and no more. Its link is not theirs to have.

    Raises Problem 401, 403 for those two where they don't do, 404 for everybody else.
    """
    view.stand()
    document = await view.find_ended_or_not(KIND, identifier)
    if document is None:
        raise unknown(KIND)
    if view.actor is None or document["given_by"] == view.actor.subject or manages(view, set(document["at_sites"])):
        return document
    if document["accepted_by"] == view.actor.subject or await gave_above(view.mongo, view.actor, document, view.session):
        if to_end:
            return document
        raise Problem(403, "role_missing", f"This needs {WRITE_PERMISSION}, or to have given the pass.")
    raise unknown(KIND)


def was_taken_back(document: Document) -> bool:
    """Whether it ended before its time. One that was over by then is only kept no longer."""
    ended_at = document.get("ended_at")
    return ended_at is not None and bool(ended_at < document["valid_until"])


def is_over(document: Document, at_ms: int) -> bool:
    """Whether it has come to its end, or was taken back."""
    return document.get("ended_at") is not None or bool(document["valid_until"] <= at_ms)


def refuse_over(document: Document, at_ms: int) -> None:
    """Raises Problem 410 for a pass that was taken back or is over."""
    if was_taken_back(document):
        raise Problem(410, "pass_revoked", "This pass was taken back.")
    if is_over(document, at_ms):
        raise Problem(410, "pass_expired", "This pass is over.")
