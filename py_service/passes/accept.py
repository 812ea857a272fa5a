"""Accept a pass: it becomes somebody's, and its grants are written, in one change. Of two at once one wins."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from py_service.errors import Problem, unknown
from py_service.passes.give import refuse_too_many
from py_service.passes.givers import KIND, refuse_over
from py_service.passes.link import Link
from py_service.passes.terms import counts_of
from py_service.permissions.change import Plan, View
from py_service.permissions.image import Image
from py_service.permissions.listing import sites_of
from py_service.permissions.pass_tree import grant_id
from py_service.permissions.text import clean_name
from py_service.stores.mongo import Document

REPEATED_MS_MAX = 600_000  # an app that lost the answer asks again at once, or not at all
KEY_CHARACTERS_MIN = 16  # what could be guessed by somebody else who has the link is no key


@dataclass(frozen=True, slots=True)
class AcceptPass:
    """Without a caller a guest is made, by `name` or by the pass's; else the pass becomes the caller's.

    `key`: the Idempotency-Key of somebody who isn't signed in, or None. Link and key together get the same guest again, for ten minutes:
    the link alone (it may have been read by others) is good once.
    """

    link: Link
    name: str | None = None
    key: str | None = None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.stand()
        organization = await view.get("organization", view.organization)
        document = await view.find_ended_or_not(KIND, self.link.identifier)
        if document is None or document["link"] != self.link.number:
            raise unknown(KIND)  # there is a newer link
        if not organization["active"]:
            raise Problem(403, "organization_suspended", "This organization is suspended.")
        refuse_over(document, view.at_ms)
        if document["accepted_by"] is not None:
            return self._again(view, document)
        if document["given_by"] is not None and await view.find("person", str(document["given_by"])) is None:
            raise Problem(410, "pass_revoked", "Who gave this pass is gone.")
        images: list[Image] = []
        if view.actor is None:
            guest = _guest(clean_name(self.name) if self.name else str(document["name"]), view.at_ms)
            images.append(view.image("person", guest))
            person = str(guest["id"])
        else:
            person = view.actor.subject
            await refuse_too_many(view, person)
        accepted = {
            **document,
            "accepted_by": person,
            "accepted_at": view.at_ms,
            "accepted_key": _kept(self.link.identifier, self.key),
            "concerns": sorted({*document["concerns"], person}),
        }
        plan = Plan([view.image(KIND, accepted), *images])
        plan.result = plan.images[0]["document"]
        # A door can't have been deleted meanwhile: the pass names it.
        site_of = {str(door["id"]): str(door["site"]) for door in await view.find_many("door", document["doors"])}
        plan.images += [view.image("grant", grant) for grant in grants_made(accepted, site_of, view.at_ms)]
        made = "guest" if images else "person"
        plan.events.append(
            view.event(
                "pass_accepted",
                self.link.identifier,
                sites_of(KIND, document),
                person=person,
                detail={"doors": document["doors"], "by": made},
            )
        )
        return plan

    def _again(self, view: View, document: Document) -> Plan:
        """Raises Problem 409, except for whoever accepted it a moment ago."""
        key, first = _kept(self.link.identifier, self.key), document["accepted_key"]
        early = view.at_ms - int(document["accepted_at"]) <= REPEATED_MS_MAX
        if view.actor is None and early and key is not None and first is not None and hmac.compare_digest(key, str(first)):
            return Plan(result=document)
        raise Problem(409, "pass_accepted", "This pass was accepted already.")


def _kept(identifier: str, key: str | None) -> str | None:
    """What is stored of a key; None of one that is too short to be secret."""
    if key is None or len(key) < KEY_CHARACTERS_MIN:
        return None
    return hashlib.sha256(f"{identifier}:{key}".encode()).hexdigest()


def _guest(name: str, at_ms: int) -> Document:
    return {
        "id": f"person_{secrets.token_hex(8)}", "name": name, "email": None, "kind": "guest", "state": "active",
        "valid_from": None, "valid_until": None, "groups": [], "roles": [], "tokens_valid_after": 0, "created_at": at_ms,
    }  # fmt: skip


def grants_made(document: Document, site_of: Mapping[str, str], at_ms: int) -> list[Document]:
    """Of a pass that was accepted: one at each of its doors. `site_of`: each door's site."""
    terms = {"id": document["id"], "given_by": document["given_by"], "counts": counts_of(document)}
    return [
        {
            "id": grant_id(str(document["id"]), number), "effect": "allow", "person": document["accepted_by"], "group": None, "door": door,
            "area": None, "site": None, "schedule": document["schedule"], "valid_from": document["valid_from"],
            "valid_until": document["valid_until"], "at_site": site_of[door], "pass": terms, "created_at": at_ms,
        }
        for number, door in enumerate(document["doors"])
    ]  # fmt: skip
