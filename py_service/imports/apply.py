"""Apply the next batch of an import: its rows, what became of them and how far the import is, in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from py_service.errors import Problem
from py_service.imports.decide import Decided, decide
from py_service.imports.document import kept, lacks_stage, result_key
from py_service.imports.rows import Row, RowKind
from py_service.imports.store import get_import
from py_service.journal.event import Event
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.image import Image, encode_images
from py_service.stores.mongo import Document

RESULTS_AT_ONCE = 250  # rows of one stored document, and of one event

CheckGoesOn = Callable[[View], Awaitable[None]]
"""Raises Problem 401, 403 when whoever started the import couldn't go on with it now."""


@dataclass(frozen=True, slots=True)
class ApplyBatch:
    """`position`: how many rows are settled before these. Where the import stands elsewhere, somebody else has settled them."""

    identifier: str
    kind: RowKind
    rows: Sequence[Row]
    position: int
    check_goes_on: CheckGoesOn
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        """Raises Problem 409 `conflict` when the import has moved on, 401 and 403 when the caller doesn't stand any more."""
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        if document["state"] != "applying" or document["position"] != self.position or lacks_stage(document):
            raise Problem(409, "conflict", "The import has moved on.")
        await self.check_goes_on(view)
        decided, required = await decide(view, self.kind, self.rows, document.get("stage", 0))
        applied = [each for each in decided if each.problem is None]
        after = {
            **document,
            "position": self.position + len(decided),
            "rows_applied": document["rows_applied"] + len(applied),
            "rows_refused": document["rows_refused"] + sum(each.problem is not None for each in decided),
        }
        if "stage" in document:
            authority = {(asked["permission"], asked["site"]) for asked in document["authority"]} | required
            after["authority"] = [{"permission": permission, "site": site} for permission, site in authority]
        writes = _results(view, after, decided)
        writes.append(kept(after))
        return Plan([image for each in applied for image in each.images], _events(view, after, applied), after, writes=writes)


def _results(view: View, document: Document, decided: Sequence[Decided]) -> list[Write]:
    """Numbered on from those before; `document` learns how many there are."""
    writes: list[Write] = []
    for start in range(0, len(decided), RESULTS_AT_ONCE):
        identifier = result_key(view.organization, document["id"], document["batches"])
        rows = [_result(each) for each in decided[start : start + RESULTS_AT_ONCE]]
        writes.append(Write("import_results", identifier, {"_id": identifier, "org": view.organization, "rows": rows}))
        document["batches"] += 1
    return writes


def _result(decided: Decided) -> Document:
    row, problem = decided.row, decided.problem
    if problem is not None:
        return {"row": row.number, "line": row.line, "outcome": "refused", "code": problem.code, "detail": problem.detail}
    return {"row": row.number, "line": row.line, "outcome": "created", "id": decided.identifier}


def _events(view: View, document: Document, applied: Sequence[Decided]) -> list[Event]:
    """What the journal says of them: which objects, and the hash of what they are, which the change record has in the same order."""
    events: list[Event] = []
    what = "staged" if "stage" in document else "imported"
    for start in range(0, len(applied), RESULTS_AT_ONCE):
        some = applied[start : start + RESULTS_AT_ONCE]
        images = [image for each in some for image in each.images]
        detail = {"rows": [each.row.number for each in some], "ids": [each.identifier for each in some], "sha256": images_digest(images)}
        events.append(view.event(f"{document['kind']}_{what}", document["id"], detail=detail))
    return events


def images_digest(images: list[Image]) -> str:
    """SHA-256, in hex, of images as the core reads them."""
    return hashlib.sha256(encode_images(images)).hexdigest()
