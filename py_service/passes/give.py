"""Give a pass: as a manager, or as a person for what is their own to share; or pass on one that one holds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from py_service.errors import Problem, unknown
from py_service.passes.givers import KIND, gave_above, giver_of, manages, refuse_over
from py_service.passes.link import with_link
from py_service.passes.terms import counts_of, drafted
from py_service.permissions.change import Plan, View
from py_service.permissions.listing import listed_key
from py_service.permissions.pass_tree import PASSES_BELOW_MAX
from py_service.stores.mongo import Document

PASSES_OF_ONE_MAX = 500  # that concern one person: what they gave, and what they hold


@dataclass(frozen=True, slots=True)
class GivePass:
    """`values`: the fields of NewPass, times in ms. The plan's result has the token, which is stored nowhere."""

    values: Document
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.stand()
        doors = await view.get_many("door", sorted(set(self.values["doors"])))
        await _schedule_is_here(view, self.values)
        giver = await giver_of(view, doors)
        if giver is not None:
            await refuse_too_many(view, giver)
        return await _given(view, drafted(view, self.values, None), doors, giver, None)


@dataclass(frozen=True, slots=True)
class PassOn:
    """`values`: the fields of PassedOn, times in ms. By whoever holds `parent`.

    What it opens is asked of them at every use; its terms are as narrow as the parent's or narrower.
    """

    parent: str
    values: Document
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.stand()
        parent = await view.find_ended_or_not(KIND, self.parent)
        caller = None if view.actor is None else view.actor.subject
        if parent is None:
            raise unknown(KIND)
        seen = caller in (parent["accepted_by"], parent["given_by"]) or manages(view, set(parent["at_sites"]))
        if not seen and (view.actor is None or not await gave_above(view.mongo, view.actor, parent, view.session)):
            raise unknown(KIND)
        doors = await view.get_many("door", sorted(set(self.values["doors"] or parent["doors"])))
        await _schedule_is_here(view, self.values)
        refuse_over(parent, view.at_ms)
        if caller is None or parent["accepted_by"] != caller:
            raise Problem(403, "sharing_refused", "Only whoever has accepted a pass can pass it on.")
        if parent["passes_on_max"] < 1:
            raise Problem(403, "sharing_refused", "This pass can't be passed on.")
        plan = await _given(view, drafted(view, self.values, parent), doors, caller, parent)
        for above in (self.parent, *parent["above"]):
            if await view.count_listed(KIND, listed_key(view.organization, KIND, above), PASSES_BELOW_MAX) >= PASSES_BELOW_MAX:
                raise Problem(409, "passes_too_many", f"{PASSES_BELOW_MAX} passes hang from one already.")
        await refuse_too_many(view, caller)
        return plan


async def refuse_too_many(view: View, person: str) -> None:
    """Raises Problem 409."""
    if await view.count_listed(KIND, listed_key(view.organization, "person", person), PASSES_OF_ONE_MAX) >= PASSES_OF_ONE_MAX:
        raise Problem(409, "passes_too_many", f"{PASSES_OF_ONE_MAX} passes of one person: take some back first.")


async def _schedule_is_here(view: View, values: Document) -> None:
    if values["schedule"] is not None:
        await view.get("schedule", str(values["schedule"]))


async def _given(view: View, draft: Document, doors: list[Document], giver: str | None, parent: Document | None) -> Plan:
    document: Document = {
        **draft,
        "id": f"{KIND}_{secrets.token_hex(8)}",
        "at_sites": sorted({str(door["site"]) for door in doors}),
        "given_by": giver,
        "concerns": [] if giver is None else [giver],
        "parent": None if parent is None else parent["id"],
        "above": [] if parent is None else [parent["id"], *parent["above"]],
        "counts_above": [] if parent is None else counts_of(parent),
        "accepted_by": None,
        "accepted_at": None,
        "accepted_key": None,
        "link": 1,
        "created_at": view.at_ms,
    }
    what = "pass_given" if parent is None else "pass_passed_on"
    plan = view.written(KIND, document, what, **{name: draft[name] for name in TOLD}, parent=document["parent"])
    return await with_link(view, document, plan, by_mail="email" in document["receiver"])


TOLD = ("doors", "valid_from", "valid_until", "schedule", "uses", "passes_on_max")  # in the journal
