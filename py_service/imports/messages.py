"""What goes in and out of the imports room. Times are RFC 3339 in UTC outside, milliseconds inside."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from py_service.identifiers import Moment, NewIdentifier
from py_service.paging import NextCursor

TEXT_CHARACTERS_MAX = 1_000_000
ImportKind = Literal["persons", "groups", "grants"]
ImportFormat = Literal["ndjson", "csv"]
ImportState = Literal["collecting", "waiting", "applying", "undoing", "ended", "refused", "stopped"]
Outcome = Literal["created", "refused", "left_out"]
Text = Annotated[
    str,
    msgspec.Meta(
        max_length=TEXT_CHARACTERS_MAX, description="NDJSON or CSV, as the import says.", examples=["id,name\nclimbers,Climbers\n"]
    ),
]


class NewImport(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """With `text` it is the whole file, and is started at once; without, parts follow."""

    id: NewIdentifier | None = None
    kind: ImportKind
    format: ImportFormat
    all_or_nothing: bool = False
    text: Text | None = None


class PartOfFile(msgspec.Struct, forbid_unknown_fields=True):
    """The file is its parts in the order of their numbers; it may be cut anywhere."""

    text: Text


class ImportProblem(msgspec.Struct):
    """Why an import was refused or stopped as a whole. `line`: of the file, when it is one's fault."""

    code: str
    detail: str
    line: int | None


class Import(msgspec.Struct, kw_only=True):
    """An import and how far it is. `rows_read` and `rows_valid` (in form) are null until the file was read.

    All or nothing: what `rows_applied` counts is invisible until it has `ended`, and is undone when it doesn't end so.
    `by`: who made it. `characters`: of all parts. What is over is kept until `expires_at`; one that was never started is thrown away then.
    """

    id: str
    kind: ImportKind
    format: ImportFormat
    all_or_nothing: bool
    state: ImportState
    by: str
    parts: int
    characters: int
    rows_read: int | None
    rows_valid: int | None
    rows_applied: int
    rows_refused: int
    problem: ImportProblem | None
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    expires_at: Moment | None


class ImportPage(msgspec.Struct):
    """Newest first."""

    items: list[Import]
    next_cursor: NextCursor


class RowResult(msgspec.Struct):
    """What became of one row. `row` counts rows, `line` the lines of the file, both from 1. `id`: of what was created.

    `left_out`: it was good, and nothing of the import was applied. `code` and `detail`: as the single operation would have answered.
    """

    row: int
    line: int
    outcome: Outcome
    id: str | None
    code: str | None
    detail: str | None


class RowResultPage(msgspec.Struct):
    """In the order of the file, as far as it was applied. With a filter a page may be short, or empty, and not the last."""

    items: list[RowResult]
    next_cursor: NextCursor
