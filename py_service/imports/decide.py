"""Decide the rows of one batch, in their order: each as the single operation would, with what the rows before it make."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from py_service._core_rs import SnapshotError
from py_service.errors import Problem
from py_service.imports.batch_view import BatchView, Required
from py_service.imports.rows import Row, RowKind
from py_service.permissions.change import Plan, View
from py_service.permissions.image import Image, encode_images
from py_service.stores.kinds import PERMISSION_KINDS

ROWS_AT_A_STRETCH = 20  # 3 ms: then reports of locks and the projection have their turn


@dataclass(frozen=True, slots=True)
class Decided:
    """A row, and its images, or why there are none. `identifier`: of the object that it creates."""

    row: Row
    images: list[Image]
    identifier: str | None
    problem: Problem | None


async def decide(view: View, kind: RowKind, rows: Sequence[Row], stage: int) -> tuple[list[Decided], set[Required]]:
    """In the transaction of `view`: what becomes of each, and what was asked of the caller for that.

    What rows make gets this stage (0: none).

    Raises Problem 401 and 503: those are no row's fault; pymongo errors.
    """
    batch = BatchView.of(view, stage)
    values = [_with_identifier(kind, row.value) for row in rows]
    await _fetch(batch, kind, [value for value in values if value is not None])
    decided: list[Decided] = []
    for number, (row, value) in enumerate(zip(rows, values, strict=True), 1):
        decided.append(await _decide(batch, kind, row, value))
        if number % ROWS_AT_A_STRETCH == 0:
            await asyncio.sleep(0)
    return decided, batch.required


def _with_identifier(kind: RowKind, value: Any) -> Any:
    """Made here, so that all of a batch are looked for in one read."""
    if value is None or getattr(value, "id", "") is not None:
        return value
    return msgspec.structs.replace(value, id=f"{kind.name}_{secrets.token_hex(8)}")


async def _fetch(batch: BatchView, kind: RowKind, values: Sequence[Any]) -> None:
    await batch.fetch(kind.name, [value.id for value in values if hasattr(value, "id")])
    for field, other in kind.names.items():
        await batch.fetch(other, [name for value in values for name in _several(getattr(value, field))])
    emails = [field for field in (*kind.by_email, "email") if field in kind.row.__struct_fields__]
    await batch.fetch_emails([email for value in values for field in emails for email in _several(getattr(value, field))])


def _several(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


async def _decide(batch: BatchView, kind: RowKind, row: Row, value: Any) -> Decided:
    if row.problem is not None:
        return Decided(row, [], None, row.problem)
    try:
        plan = await kind.change(await _resolved(batch, kind, value)).plan(batch)
        if batch.stage:
            _stage(plan, batch.stage)
        _check_form(batch, plan)
    except Problem as problem:
        if problem.status == 401 or problem.status >= 500:
            raise
        return Decided(row, [], None, problem)
    batch.add(plan)
    return Decided(row, plan.images, None if plan.result is None else str(plan.result["id"]), None)


def _stage(plan: Plan, stage: int) -> None:
    """INVARIANT: a row makes one object and changes none, as a stage could neither hide nor undo that."""
    (image,) = plan.images
    if image["document"] is None or plan.result is None or image["id"] != plan.result["id"] or plan.writes:
        raise RuntimeError("a row of an import did more than make an object")
    image["document"]["staged"] = stage


def _check_form(batch: BatchView, plan: Plan) -> None:
    """What no process could read isn't written: here, so that it is one row that is refused. Raises Problem 422."""
    try:
        batch.index.validate(batch.organization, encode_images([image for image in plan.images if image["kind"] in PERMISSION_KINDS]))
    except SnapshotError:
        raise Problem(422, "object_invalid", "The permissions can't take this in the form in which it was sent.") from None


async def _resolved(batch: BatchView, kind: RowKind, value: Any) -> Any:
    """With identifiers instead of addresses and names. Raises Problem 400, 404, 409, 422."""
    found: dict[str, object] = {}
    for field, target in kind.by_email.items():
        if (email := getattr(value, field)) is not None:
            _check_alone(value, field, target)
            found[target] = await batch.person_with(email)
    for field, target in kind.by_name.items():
        named = getattr(value, field)
        if isinstance(named, list):
            found[target] = [*getattr(value, target), *[await batch.group_named(name) for name in named]]
        elif named is not None:
            _check_alone(value, field, target)
            found[target] = await batch.group_named(named)
    return msgspec.structs.replace(value, **found) if found else value


def _check_alone(value: Any, field: str, target: str) -> None:
    if getattr(value, target) is not None:
        raise Problem(400, "field_invalid", f"{field} stands for {target}: only one of them.")
