"""Change a pass: what it is called, and when it ends. What was passed on from it never ends later than it does."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.errors import Problem, unknown
from py_service.passes.givers import KIND, find_pass, giver_of, manages
from py_service.passes.terms import check_window, wider
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.pass_tree import end_passes, grants_of, passes_below
from py_service.permissions.text import clean_names
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class ChangePass:
    """`values`: the fields that were sent, times in ms. `if_match`: the revision that the caller has seen, or None for any."""

    identifier: str
    values: Document
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        before = await find_pass(view, self.identifier)
        if before.get("ended_at") is not None:
            raise unknown(KIND)
        check_match(before, self.if_match)
        after = {**before, **self.values}
        clean_names(after, self.values)
        check_window(after)
        if after == before:
            return Plan(result=before)
        if after["valid_until"] > before["valid_until"]:
            await self._may_be_longer(view, after)
        changed = {name: after[name] for name in self.values if after[name] != before[name]}
        plan = view.written(KIND, after, "pass_changed", **changed)
        if after["valid_until"] != before["valid_until"]:
            await _move_end(view, plan, after)
        return plan

    @staticmethod
    async def _may_be_longer(view: View, after: Document) -> None:
        """Whoever makes a pass longer could give it like this now. Raises Problem 403, 422."""
        if after["parent"] is not None:
            parent = await view.get(KIND, str(after["parent"]))
            if wider(after, parent) is not None:
                raise Problem(422, "pass_wider", "valid_until: what is passed on can't be wider than what it is passed on from.")
        elif not manages(view, set(after["at_sites"])):
            await giver_of(view, await view.get_many("door", after["doors"]))


async def _move_end(view: View, plan: Plan, after: Document) -> None:
    """The end of its grants; and of those below that would end later, down to nothing."""
    ends = after["valid_until"]
    below = [document for document in await passes_below(view, str(after["id"])) if document["valid_until"] > ends]
    shorter = [{**document, "valid_until": ends} for document in below if document["valid_from"] < ends]
    plan.images += [view.image(KIND, document) for document in shorter]
    plan.images += [view.image("grant", {**grant, "valid_until": ends}) for grant in await grants_of(view, [after, *shorter])]
    over = [document for document in below if document["valid_from"] >= ends]
    if over:
        plan.join(await end_passes(view, over, "pass_taken"))
