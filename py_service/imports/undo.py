"""End an import: at once, or after what it staged was undone, batch by batch, as nobody ever saw it."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.errors import Problem, stores_unavailable
from py_service.imports.document import counts, kept, over, result_key
from py_service.imports.store import get_import
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.image import Image
from py_service.stores.mongo import Document


def end_or_undo(view: View, document: Document, state: str, problem: Document | None) -> Plan:
    """The plan by which an import comes to `state`; what it has staged without going live is undone before. To repeat it is safe."""
    if "open_of" not in document or document["state"] == "undoing":
        return Plan(result=document)
    if "stage" in document and document["batches"] > 0:
        undoing = {**document, "state": "undoing", "batches_to_undo": document["batches"], "state_after": state, "problem": problem}
        return Plan(
            writes=[kept(undoing)], events=[view.event("import_undo_started", document["id"], detail=counts(undoing))], result=undoing
        )
    ended, writes = over(view, document, state, problem)
    began = document["state"] != "collecting"
    return Plan(writes=writes, events=[view.event("import_ended", document["id"], detail=counts(ended))] if began else [], result=ended)


@dataclass(frozen=True, slots=True)
class UndoBatch:
    """Take back what the rows of one document of results made, the last one first.

    `batches_to_undo`: how many documents of results there are to do. `kind`: of what they made.
    """

    identifier: str
    kind: str
    batches_to_undo: int
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        """Raises Problem 409 `conflict` when somebody else has come further."""
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        if document["state"] != "undoing" or document["batches_to_undo"] != self.batches_to_undo:
            raise Problem(409, "conflict", "The import has moved on.")
        key = result_key(view.organization, self.identifier, self.batches_to_undo - 1)
        results = await view.mongo.database["import_results"].find_one({"_id": key}, session=view.session)
        if results is None:
            raise stores_unavailable("The results of an import are gone.")
        made = [str(row["id"]) for row in results["rows"] if row["outcome"] == "created"]
        rows = [row if row["outcome"] != "created" else _left_out(row) for row in results["rows"]]
        images: list[Image] = [{"kind": self.kind, "id": identifier, "document": None} for identifier in made]
        after = {**document, "batches_to_undo": self.batches_to_undo - 1, "rows_applied": document["rows_applied"] - len(made)}
        plan = Plan(images, writes=[Write("import_results", key, {**results, "rows": rows})])
        plan.erased = frozenset((self.kind, identifier) for identifier in made)
        if made:
            plan.events.append(view.event(f"{document['kind']}_unstaged", self.identifier, detail={"ids": made}))
        if after["batches_to_undo"] > 0:
            plan.writes.append(kept(after))
        else:
            after, writes = over(view, after, document["state_after"], document["problem"])
            plan.writes += writes
            plan.events.append(view.event("import_ended", self.identifier, detail=counts(after)))
        plan.result = after
        return plan


def _left_out(row: Document) -> Document:
    return {"row": row["row"], "line": row["line"], "outcome": "left_out"}
