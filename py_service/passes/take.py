"""Take a pass back, also one that hangs from one that one gave, or give up one that one holds.

It, all that was passed on from it, and all their grants end in one change. To repeat it is safe.
"""

from __future__ import annotations

from dataclasses import dataclass

from py_service.passes.givers import find_pass
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.pass_tree import end_passes


@dataclass(frozen=True, slots=True)
class TakePass:
    """`if_match`: the revision that the caller has seen, or None for any."""

    identifier: str
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await find_pass(view, self.identifier, to_end=True)
        if document.get("ended_at") is not None:
            return Plan(result={"passes": 0})
        check_match(document, self.if_match)
        plan = await end_passes(view, [document], "pass_taken")
        plan.result = {"passes": sum(image["kind"] == "pass" for image in plan.images)}
        return plan
