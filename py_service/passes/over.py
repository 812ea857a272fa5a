"""End passes that have been over for a while: they are in the way of nothing any more that they name, and count against nobody's limit."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.passes.givers import KIND
from py_service.permissions.change import Plan, Submitter, View
from py_service.permissions.due import carry_out_due
from py_service.permissions.pass_tree import end_passes
from py_service.stores.mongo import Mongo, store_errors

KEPT_MS = 24 * 3_600_000  # after its end: until then whoever gave it may still make it longer
ENDED_AT_ONCE_MAX = 50


@dataclass(frozen=True, slots=True)
class EndOverPass:
    """With what was passed on from it, which is never longer. One whose end was moved meanwhile stays, and so does one that has ended."""

    identifier: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await view.find(KIND, self.identifier)
        if document is None or document["valid_until"] >= view.at_ms - KEPT_MS:
            return Plan()
        return await end_passes(view, [document], "pass_over")


async def end_over_passes(mongo: Mongo, lane: Submitter, now_ms: int) -> int:
    """Those that were over a day ago, of any organization, 50 at most, each in a change of its own; how many. Raises Problem 503."""
    over = {"ended_at": None, "valid_until": {"$gte": 0, "$lt": now_ms - KEPT_MS}}
    async with store_errors():
        found = await mongo.database["passes"].find(over, {"org": 1, "id": 1}).limit(ENDED_AT_ONCE_MAX).to_list()
    await carry_out_due(lane, ((str(one["org"]), str(one["id"]), EndOverPass(str(one["id"]))) for one in found))
    return len(found)
