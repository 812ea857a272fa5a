"""What the worker concludes of an import: that its file was read, and that it is over."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.errors import Problem
from py_service.imports.document import counts, kept, over
from py_service.imports.store import get_import
from py_service.permissions.change import Plan, View


@dataclass(frozen=True, slots=True)
class SayRead:
    """How many rows the file has, and how many of them are good in form. From here on rows are applied."""

    identifier: str
    rows_read: int
    rows_valid: int
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        if document["state"] != "waiting":
            return Plan(result=document)
        read = {**document, "state": "applying", "rows_read": self.rows_read, "rows_valid": self.rows_valid}
        return Plan(writes=[kept(read)], result=read)


@dataclass(frozen=True, slots=True)
class Conclude:
    """`ended`: every row is settled; `refused`: nothing was applied; `stopped`: no further row is."""

    identifier: str
    state: str
    problem: Problem | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        applied = self.state == "refused" and document["position"] > 0  # what nobody was told of took effect after all
        if "todo" not in document or applied:
            return Plan(result=document)
        ended, writes = over(view, document, self.state, self.problem)
        event = view.event("import_ended", self.identifier, detail=counts(ended))
        return Plan(writes=writes, events=[event], result=ended)
