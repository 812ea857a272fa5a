"""Give access: a new grant."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from py_service.access.messages import GrantRequest, to_ms
from py_service.access.place import SUBJECTS, one_of, site_of_grant
from py_service.permissions.change import Plan, View
from py_service.permissions.listing import sites_of
from py_service.permissions.validity import check_validity
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class GiveGrant:
    """Validated in the transaction: what the grant names must exist when it is written."""

    request: GrantRequest
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = _document(self.request)
        kind, subject = one_of(document, SUBJECTS)
        document["at_site"] = await site_of_grant(view.get, document)  # the site of a door or an area never changes
        view.require("grants.write", document["at_site"])
        await view.get(kind, subject)
        if self.request.schedule is not None:
            await view.get("schedule", self.request.schedule)
        identifier, request = str(document["id"]), self.request
        plan = view.written("grant", {**document, "created_at": view.at_ms}, "grant_given")
        plan.events = [
            view.event(
                "grant_given", identifier, sites_of("grant", document), person=request.person, door=request.door, detail=_detail(document)
            )
        ]
        return plan


def _document(request: GrantRequest) -> Document:
    document: Document = {
        "id": f"grant_{secrets.token_hex(8)}",
        "effect": request.effect,
        "person": request.person,
        "group": request.group,
        "door": request.door,
        "area": request.area,
        "site": request.site,
        "schedule": request.schedule,
        "valid_from": to_ms(request.valid_from),
        "valid_until": to_ms(request.valid_until),
    }
    check_validity(document)
    return document


def _detail(document: Document) -> Document:
    return {name: value for name, value in document.items() if value is not None and name not in ("id", "at_site")}
