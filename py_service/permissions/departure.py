"""What somebody who is deleted leaves behind: their grants, and the passes that they gave or hold, with what was passed on from those.

None of it lets anybody in any more once its person is gone: a grant of nobody opens nothing, and a pass whose giver may not pass the door
isn't heard (one that was passed on again opens what its last giver may open without it). So it need not end in that same change. What is
more than one change takes is ended in further ones, by the worker, which finds its person in `departures`. Nothing new comes to it
meanwhile: whoever is gone can't be named.
"""

from __future__ import annotations

from dataclasses import dataclass

from py_service.permissions.change import Plan, Submitter, View, Write
from py_service.permissions.due import carry_out_due
from py_service.permissions.listing import listed_key
from py_service.permissions.pass_tree import end_only, passes_below
from py_service.stores.mongo import Document, Mongo, store_errors

COLLECTION = "departures"
TAKEN_ALONG_MAX = 900  # grants and passes that end together with their person: each is an image of the change record, most are an event
ENDED_AT_ONCE_MAX = 200  # in each change after that, for which nobody waits
PASSES_AT_ONCE_MAX = 50  # of one change: for each it is asked what was passed on from it
DEPARTURES_AT_ONCE_MAX = 10


async def end_left_behind(view: View, person: str, ended_max: int) -> tuple[Plan, bool]:
    """The plan that ends about so many of what names this person, also what is staged, and at least one; and whether that was all.

    Passes first: those whose link somebody may still open, then those that may have been passed on: who holds one of a pass of theirs may
    vouch for others.
    """
    plan, all_passes = await _end_passes(view, person, ended_max)
    ended = {image["id"] for image in plan.images if image["kind"] == "grant"}
    found = await view.listed("grant", listed_key(view.organization, "person", person), ended_max + 1)
    left = [grant for grant in found if str(grant["id"]) not in ended]
    going = left[: max(0, ended_max - len(plan.images))]
    for grant in going:
        plan.join(view.ended("grant", grant, "grant_deleted"))
    return plan, all_passes and len(found) <= ended_max and len(going) == len(left)


async def _end_passes(view: View, person: str, ended_max: int) -> tuple[Plan, bool]:
    found = await view.listed("pass", listed_key(view.organization, "person", person), ended_max + 1)
    ending: dict[str, Document] = {}
    images = 0
    for number, document in enumerate(
        sorted(found, key=lambda one: (one["accepted_by"] is not None, -int(one["passes_on_max"]), str(one["id"])))
    ):
        hanging = {
            str(one["id"]): one for one in (document, *await passes_below(view, str(document["id"]))) if str(one["id"]) not in ending
        }
        more = sum(1 + (len(one["doors"]) if one["accepted_by"] is not None else 0) for one in hanging.values())
        if number > 0 and (number >= PASSES_AT_ONCE_MAX or images + more > ended_max):
            return await end_only(view, list(ending.values()), "pass_taken"), False
        ending |= hanging
        images += more
    return await end_only(view, list(ending.values()), "pass_taken"), len(found) <= ended_max


def departure_write(organization: str, person: str, deleted_at: int | None) -> Write:
    """That there is more to end of this person's, or (None) that there is nothing left."""
    identifier = f"{organization}:{person}"
    document: Document = {"_id": identifier, "org": organization, "person": person, "deleted_at": deleted_at}
    return Write(COLLECTION, identifier, None if deleted_at is None else document)


@dataclass(frozen=True, slots=True)
class EndLeftBehind:
    """Some of what somebody left behind. To repeat it is safe."""

    person: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await view.find_ended_or_not("person", self.person)
        if document is not None and document.get("ended_at") is None:
            return Plan(writes=[departure_write(view.organization, self.person, None)])  # never: only of who is gone anything is ended
        plan, is_all = await end_left_behind(view, self.person, ENDED_AT_ONCE_MAX)
        if is_all:
            plan.writes.append(departure_write(view.organization, self.person, None))
        return plan


async def end_departed(mongo: Mongo, lane: Submitter, now_ms: int) -> int:
    """A change for each of those who were deleted and have left something behind, ten of them at most; how many. Raises Problem 503."""
    async with store_errors():
        due = mongo.database[COLLECTION].find({"deleted_at": {"$gte": 0, "$lt": now_ms}})
        found = await due.limit(DEPARTURES_AT_ONCE_MAX).to_list()
    await carry_out_due(lane, ((str(one["org"]), str(one["person"]), EndLeftBehind(str(one["person"]))) for one in found))
    return len(found)
