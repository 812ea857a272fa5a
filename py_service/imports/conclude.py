"""What the worker concludes of an import: that its file was read, that it goes live, that it is over."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.errors import Problem
from py_service.imports.apply import CheckGoesOn
from py_service.imports.document import counts, is_unread, kept, lacks_stage, over, problem_of
from py_service.imports.store import find_staging, get_import
from py_service.imports.undo import end_or_undo
from py_service.permissions.change import Plan, View
from py_service.permissions.stage import next_stage


@dataclass(frozen=True, slots=True)
class SayRead:
    """How many rows the file has, and how many of them are good in form. From here on rows are applied.

    All or nothing: they get a stage, whose number was never given before. One import of an organization has one at a time.
    """

    identifier: str
    rows_read: int
    rows_valid: int
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        """Raises Problem 409 `conflict` while another import stages."""
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        if not is_unread(document):
            return Plan(result=document)
        read = {**document, "state": "applying", "rows_read": self.rows_read, "rows_valid": self.rows_valid}
        if not document["all_or_nothing"]:
            return Plan(writes=[kept(read)], result=read)
        if await find_staging(view.mongo, view.organization, view.session) is not None:
            raise Problem(409, "conflict", "Another import that is all or nothing is under way.")
        organization = await view.get("organization", view.organization)
        read |= {"stage": next_stage(organization), "authority": []}
        image = view.image("organization", {**organization, "stages_given": read["stage"]})
        return Plan([image], result=read, writes=[kept(read)])


@dataclass(frozen=True, slots=True)
class GoLive:
    """Every row of a stage is settled: from this revision on all of it shows. Or, where one was refused, none of it ever does."""

    identifier: str
    check_goes_on: CheckGoesOn
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        """Raises Problem 409 `conflict` when the import has moved on, 401 and 403 when the caller doesn't stand any more."""
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        if document["state"] != "applying" or document["position"] != document["rows_read"]:
            raise Problem(409, "conflict", "The import has moved on.")
        await self.check_goes_on(view)
        for asked in document.get("authority", []):  # of who made it, for each of its rows, when that was staged
            view.require(asked["permission"], asked["site"])
        if document["rows_refused"] > 0:
            problem = Problem(409, "import_rows_refused", f"{document['rows_refused']} rows were refused, so nothing was applied.")
            return end_or_undo(view, document, "refused", problem_of(problem))
        ended, writes = over(view, document, "ended", None)
        if lacks_stage(document):  # a version before stages has applied all of it at once
            return Plan(events=[view.event("import_ended", self.identifier, detail=counts(ended))], result=ended, writes=writes)
        organization = await view.get("organization", view.organization)
        image = view.image("organization", {**organization, "stages_live": document["stage"]})
        return Plan([image], [view.event("import_ended", self.identifier, detail=counts(ended))], ended, writes=writes)


@dataclass(frozen=True, slots=True)
class Conclude:
    """`ended`: every row is settled; `refused`: nothing was applied; `stopped`: no further row is."""

    identifier: str
    state: str
    problem: Problem | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        return end_or_undo(view, document, self.state, problem_of(self.problem))
