"""Collect a file: begin an import, put its parts, start it, stop it. Each is a change, so that they take turns with each other."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass

from py_service.errors import Problem
from py_service.imports.document import (
    CHARACTERS_MAX,
    COLLECTING_KEPT_MS,
    KIND,
    OPEN_MAX,
    UNDER_WAY,
    check_own,
    import_key,
    kept,
    part_key,
    problem_of,
    time_key,
)
from py_service.imports.operations import AT_SITES, PERMISSIONS
from py_service.imports.store import count_open, find_import, get_import
from py_service.imports.undo import end_or_undo
from py_service.permissions.change import Plan, View, Write
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class Begin:
    """`asked`: kind, format, all_or_nothing. With `text` it is whole, and starts at once. `subject`: who makes it."""

    identifier: str | None
    asked: Document
    text: str | None
    subject: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        _require(view, self.asked["kind"])
        identifier = self.identifier or f"{KIND}_{secrets.token_hex(8)}"
        if await find_import(view.mongo, view.organization, identifier, view.session) is not None:
            raise Problem(409, "id_taken", "There is an import with this id.")
        if await count_open(view.mongo, view.organization, OPEN_MAX, view.session) >= OPEN_MAX:
            raise Problem(409, "imports_too_many", f"{OPEN_MAX} imports of this organization are not over yet.")
        document: Document = {
            "_id": import_key(view.organization, identifier), "org": view.organization, "id": identifier, **self.asked,
            "state": "collecting", "by": self.subject, "parts": {}, "batches": 0, "position": 0,
            "rows_read": None, "rows_valid": None, "rows_applied": 0, "rows_refused": 0, "problem": None,
            "created_at": view.at_ms, "started_at": None, "ended_at": None, "expires_at": view.at_ms + COLLECTING_KEPT_MS,
            "by_time": time_key(view.organization, view.at_ms, identifier), "open_of": view.organization,
        }  # fmt: skip
        if self.text is None:
            return Plan(writes=[kept(document)], result=document)
        document, part = _with_part(document, 1, self.text)
        plan = _started(view, document)
        plan.writes.append(part)
        return plan


@dataclass(frozen=True, slots=True)
class PutPart:
    """To repeat it is safe."""

    identifier: str
    part: int
    text: str
    subject: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await _own(view, self.identifier, self.subject)
        if document["state"] != "collecting":
            raise Problem(409, "import_started", "The import was started: its file is fixed.")
        document, part = _with_part(document, self.part, self.text)
        return Plan(writes=[kept(document), part], result=document)


@dataclass(frozen=True, slots=True)
class Start:
    """To repeat it is safe."""

    identifier: str
    subject: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await _own(view, self.identifier, self.subject)
        if document["state"] in UNDER_WAY:
            return Plan(result=document)
        if document["state"] != "collecting":
            raise Problem(409, "import_started", "The import is over.")
        if len(document["parts"]) != max((int(part) for part in document["parts"]), default=0):
            raise Problem(409, "parts_missing", "Parts are numbered from 1, and one in between is missing.")
        return _started(view, document)


@dataclass(frozen=True, slots=True)
class Stop:
    """To repeat it is safe. The batch that is under way meets this change: it comes before it, or not at all."""

    identifier: str
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await get_import(view.mongo, view.organization, self.identifier, view.session)
        _require(view, document["kind"])
        if view.actor is None or document["by"] != view.actor.subject:
            view.require(PERMISSIONS[document["kind"]], None)  # as to read it: a role for some sites reaches its own imports
        return end_or_undo(view, document, "stopped", problem_of(Problem(409, "import_stopped", "Somebody stopped it.")))


def _require(view: View, kind: str) -> None:
    """Raises Problem 401, 403. Persons and groups are at no site, so a role for some sites would have every row refused."""
    if kind in AT_SITES:
        view.require_any(PERMISSIONS[kind])
    else:
        view.require(PERMISSIONS[kind], None)


async def _own(view: View, identifier: str, subject: str) -> Document:
    document = await get_import(view.mongo, view.organization, identifier, view.session)
    _require(view, document["kind"])
    check_own(document, subject)
    return document


def _with_part(document: Document, number: int, text: str) -> tuple[Document, Write]:
    """The import with this part, and the part. Raises Problem 409."""
    parts = {**document["parts"], str(number): len(text)}
    if sum(parts.values()) > CHARACTERS_MAX:
        raise Problem(409, "import_too_large", f"The file would have more than {CHARACTERS_MAX} characters.")
    identifier = part_key(document["org"], document["id"], number)
    return {**document, "parts": parts}, Write("import_parts", identifier, {"_id": identifier, "org": document["org"], "text": text})


def _started(view: View, document: Document) -> Plan:
    """From here on the worker has it. The caller's token stands behind every batch, as it was when they started it."""
    actor = None if view.actor is None else dataclasses.asdict(view.actor)
    started = {**document, "state": "waiting", "started_at": view.at_ms, "expires_at": None, "todo": True, "actor": actor}
    told = {name: document[name] for name in ("kind", "format", "all_or_nothing")} | {"characters": sum(document["parts"].values())}
    return Plan(writes=[kept(started)], events=[view.event("import_started", document["id"], detail=told)], result=started)
