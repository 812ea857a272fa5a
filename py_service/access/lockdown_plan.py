"""Lockdown plans: named sets of doors, areas and sites that are locked down and released together. What they do: engage.py."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from py_service.access.place import PLACES
from py_service.access.plan_messages import READ_PERMISSION, WRITE_PERMISSION
from py_service.errors import Problem, unknown
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.text import clean_name, clean_names
from py_service.stores.mongo import Document

KIND = "lockdown_plan"


def places_of(document: Document) -> list[tuple[str, list[str]]]:
    """Kind and ids of the places of a plan."""
    return [(kind, [str(place) for place in document[f"{kind}s"]]) for kind in PLACES]


async def read_places(view: View, document: Document) -> list[tuple[str, Document]]:
    """Kind and document of every place of a plan. Raises Problem 404 for one that isn't there, or is another organization's."""
    return [(kind, place) for kind, ids in places_of(document) for place in await view.get_many(kind, ids)]


def require_everywhere(view: View, document: Document) -> None:
    """Raises Problem 403 when the caller may not lock down each of the plan's sites."""
    for site in document["at_sites"]:
        view.require(WRITE_PERMISSION, str(site))


async def _placed(view: View, document: Document) -> None:
    """Puts the places in order and writes down their sites: the site of a door or an area never changes. Raises Problem 400, 404."""
    for kind, ids in places_of(document):
        document[f"{kind}s"] = sorted(set(ids))
    places = await read_places(view, document)
    if not places:
        raise Problem(400, "field_invalid", "A plan names at least one door, area or site.")
    document["at_sites"] = sorted({str(place["id"] if kind == "site" else place["site"]) for kind, place in places})


@dataclass(frozen=True, slots=True)
class CreatePlan:
    """`values`: name, doors, areas, sites."""

    identifier: str | None
    values: Document
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any(WRITE_PERMISSION)
        identifier = self.identifier or f"{KIND}_{secrets.token_hex(8)}"
        if await view.find_ended_or_not(KIND, identifier) is not None:
            raise Problem(409, "id_taken", "There is, or was, a lockdown plan with this id.")
        document: Document = {**self.values, "id": identifier, "engaged": False, "engaged_at": None, "engaged_by": None}
        document |= {"name": clean_name(str(document["name"])), "created_at": view.at_ms}
        await _placed(view, document)
        require_everywhere(view, document)
        return view.written(KIND, document, "lockdown_plan_created")


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """`values`: the fields that were sent. `if_match`: the revision that the caller has seen, or None for any."""

    identifier: str
    values: Document
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any(READ_PERMISSION)
        before = await view.get(KIND, self.identifier)
        require_everywhere(view, before)
        check_match(before, self.if_match)
        after = {**before, **self.values}
        clean_names(after, self.values)
        await _placed(view, after)
        require_everywhere(view, after)
        if before["engaged"] and places_of(before) != places_of(after):
            raise Problem(409, "plan_engaged", "The places of a plan that is engaged are fixed: release it first.")
        if after == before:
            return Plan(result=before)
        return view.written(KIND, after, "lockdown_plan_changed", changed=sorted(self.values))


@dataclass(frozen=True, slots=True)
class EndPlan:
    """To repeat it is safe."""

    identifier: str
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any(READ_PERMISSION)
        document = await view.find_ended_or_not(KIND, self.identifier)
        if document is None:
            raise unknown(KIND)
        require_everywhere(view, document)
        if document.get("ended_at") is not None:
            return Plan()
        check_match(document, self.if_match)
        if document["engaged"]:
            raise Problem(409, "plan_engaged", "A plan that is engaged can't be deleted: release it first.")
        return view.ended(KIND, document, "lockdown_plan_deleted")
