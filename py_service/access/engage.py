"""Engage a lockdown plan, and release it: all of its places in one change, or none."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.access.lockdown_plan import KIND, read_places, require_everywhere
from py_service.access.plan_messages import READ_PERMISSION
from py_service.permissions.change import Plan, View
from py_service.permissions.holders import held_by, plan_holder, with_holder, without_holder
from py_service.permissions.match import check_match


@dataclass(frozen=True, slots=True)
class SetEngaged:
    """What others hold as well stays locked down after a release. To repeat it is safe.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    identifier: str
    engaged: bool
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any(READ_PERMISSION)
        document = await view.get(KIND, self.identifier)
        require_everywhere(view, document)
        check_match(document, self.if_match)
        holder = plan_holder(self.identifier)
        moved = [(kind, place) for kind, place in await read_places(view, document) if (holder in held_by(place)) != self.engaged]
        if not moved and document["engaged"] == self.engaged:
            return Plan(result=document)
        after = {**document, "engaged": self.engaged}
        if self.engaged:
            after |= {"engaged_at": view.at_ms, "engaged_by": None if view.actor is None else view.actor.subject}
        what = "lockdown_plan_engaged" if self.engaged else "lockdown_plan_released"
        plan = view.written(KIND, after, what, **{f"{name}s": document[f"{name}s"] for name in ("door", "area", "site")})
        for kind, place in moved:
            held = with_holder(place, holder, view.revision) if self.engaged else without_holder(place, holder)
            plan.images.append(view.image(kind, held))  # one event says it all
        return plan
