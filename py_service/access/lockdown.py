"""Lock down a door, an area or a site by hand, and let go of it."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.permissions.change import Plan, View
from py_service.permissions.holders import MANUAL, held_by, with_holder, without_holder
from py_service.permissions.listing import sites_of
from py_service.permissions.match import check_match


@dataclass(frozen=True, slots=True)
class SetLockdown:
    """`kind`: door, area or site. What a lockdown plan holds as well stays locked down after a release.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    kind: str
    place: str
    locked_down: bool
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any("lockdown.write")
        document = await view.get(self.kind, self.place)
        view.require("lockdown.write", self.place if self.kind == "site" else str(document["site"]))
        check_match(document, self.if_match)
        if (MANUAL in held_by(document)) == self.locked_down:
            return Plan(result=document)
        after = with_holder(document, MANUAL, view.revision) if self.locked_down else without_holder(document, MANUAL)
        what = f"{self.kind}_{'locked_down' if self.locked_down else 'released'}"
        plan = view.written(self.kind, after, what)
        door = self.place if self.kind == "door" else None
        plan.events = [view.event(what, self.place, sites_of(self.kind, document), door=door, detail={"held_by": after["held_by"]})]
        return plan
