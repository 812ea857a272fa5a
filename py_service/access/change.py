"""Change a grant: when it holds, and whether it gives or takes. Who it is for and where stay as they are."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.access.place import PLACES, SUBJECTS, site_of_grant
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.listing import sites_of
from py_service.permissions.match import check_match
from py_service.permissions.validity import check_validity
from py_service.stores.mongo import Document

FIXED = (*SUBJECTS, *PLACES)


@dataclass(frozen=True, slots=True)
class ChangeGrant:
    """`values`: the fields that were sent, times in ms; no other is touched. `if_match`: the revision that the caller has seen, or None."""

    grant: str
    values: Document
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any("grants.write")
        before = await view.get("grant", self.grant)
        view.require("grants.write", await site_of_grant(view.find, before))
        check_match(before, self.if_match)
        if before.get("pass") is not None:
            raise Problem(422, "field_fixed", "This grant is of a pass: change the pass.")
        for name in FIXED:
            if name in self.values and self.values[name] != before.get(name):
                raise Problem(422, "field_fixed", f"{name} can't change; give another grant and take this one.")
        changed = {name: value for name, value in self.values.items() if value != before.get(name)}
        if not changed:
            return Plan(result=before)
        after = {**before, **changed}
        check_validity(after)
        if changed.get("schedule") is not None:
            await view.get("schedule", str(changed["schedule"]))
        plan = view.written("grant", after, "grant_changed")
        plan.events = [
            view.event(
                "grant_changed", self.grant, sites_of("grant", before), person=before.get("person"), door=before.get("door"), detail=changed
            )
        ]
        return plan
