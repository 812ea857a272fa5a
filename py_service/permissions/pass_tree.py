"""What hangs from a pass: its grants, and the passes that were passed on from it. Whatever ends a pass ends all of it, in one change."""

from __future__ import annotations

from collections.abc import Iterable

from py_service.permissions.change import Plan, View
from py_service.permissions.listing import listed_key, sites_of
from py_service.stores.mongo import Document

PASSES_BELOW_MAX = 100  # below one pass: its end travels in one change record


def grant_id(identifier: str, number: int) -> str:
    """Of the grant at a pass's nth door. By id it comes after a person's other grants, so that it isn't the rule without need."""
    return f"{identifier}_{number:02}"


async def passes_below(view: View, identifier: str) -> list[Document]:
    """Those that were passed on from it, however many times, and have not ended."""
    return await view.listed("pass", listed_key(view.organization, "pass", identifier), PASSES_BELOW_MAX + 1)


async def grants_of(view: View, passes: Iterable[Document]) -> list[Document]:
    """Their grants that have not ended: none for a pass that nobody has accepted."""
    names = [grant_id(str(document["id"]), number) for document in passes for number in range(len(document["doors"]))]
    return [grant for grant in await view.find_many("grant", names) if grant.get("ended_at") is None]


async def end_passes(view: View, passes: list[Document], what: str) -> Plan:
    """The plan that ends these passes, their grants, and all that hangs from them; one event for each pass."""
    ending = {str(document["id"]): document for document in passes}
    for identifier in list(ending):
        ending |= {str(document["id"]): document for document in await passes_below(view, identifier)}
    return await end_only(view, list(ending.values()), what)


async def end_only(view: View, passes: list[Document], what: str) -> Plan:
    """The same of these passes, among which is all that hangs from them."""
    plan = Plan()
    for document in passes:
        ended = view.ended("pass", document, what)
        ended.events = [
            view.event(
                what, str(document["id"]), sites_of("pass", document), person=document["accepted_by"], detail={"doors": document["doors"]}
            )
        ]
        plan.join(ended)
    for grant in await grants_of(view, passes):
        plan.images.append({"kind": "grant", "id": str(grant["id"]), "document": None})  # the pass's event says it
    return plan
