"""Give access: a new grant."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from py_service.access.messages import GrantRequest, to_ms
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.stores.mongo import Document

MOMENT_MS_MAX = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True)
class GiveGrant:
    """Validated in the transaction: what the grant names must exist when it is written."""

    request: GrantRequest
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        request = self.request
        place = _one_of(request, ("door", "area", "site"))
        subject = _one_of(request, ("person", "group"))
        site = await _site_of(view, place, getattr(request, place))
        view.require("grants.write", site)
        await _must_exist(view, subject, getattr(request, subject))
        if request.schedule is not None:
            await _must_exist(view, "schedule", request.schedule)
        document = _document(request)
        event = view.event("grant_given", str(document["id"]), person=request.person, door=request.door, detail=_detail(document))
        return Plan([{"kind": "grant", "id": str(document["id"]), "document": document}], [event], document)


def _one_of(request: GrantRequest, names: tuple[str, ...]) -> str:
    given = [name for name in names if getattr(request, name) is not None]
    if len(given) != 1:
        raise Problem(400, "field_invalid", f"Exactly one of {', '.join(names)} is needed.")
    return given[0]


async def _site_of(view: View, place: str, identifier: str) -> str:
    document = await _must_exist(view, place, identifier)
    return identifier if place == "site" else str(document["site"])


async def _must_exist(view: View, kind: str, identifier: str) -> Document:
    document = await view.find(kind, identifier)
    if document is None:
        raise Problem(404, f"{kind}_unknown", f"There is no such {kind}.")
    return document


def _document(request: GrantRequest) -> Document:
    valid_from, valid_until = to_ms(request.valid_from), to_ms(request.valid_until)
    for moment in (valid_from, valid_until):
        if moment is not None and not 0 <= moment < MOMENT_MS_MAX:
            raise Problem(400, "field_invalid", "A moment lies outside 1970 to 9999.")
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise Problem(400, "field_invalid", "valid_until must come after valid_from.")
    return {
        "id": f"grant_{secrets.token_hex(8)}",
        "effect": request.effect,
        "person": request.person,
        "group": request.group,
        "door": request.door,
        "area": request.area,
        "site": request.site,
        "schedule": request.schedule,
        "valid_from": valid_from,
        "valid_until": valid_until,
    }


def _detail(document: Document) -> Document:
    return {name: value for name, value in document.items() if value is not None and name != "id"}
