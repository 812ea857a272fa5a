"""Read imports and their results, page by page."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import get_args

from py_service.errors import Problem
from py_service.imports.messages import Outcome, RowResult
from py_service.imports.operations import RESULTS
from py_service.imports.store import place_of, read_page, read_results
from py_service.paging import cursor_invalid, read_limit, read_place, write_cursor
from py_service.stores.mongo import Document, Mongo, store_errors

LIST_CURSOR, RESULTS_CURSOR = "i1", "r1"
CURSOR_CHARACTERS_MAX = 200
_PLACE = re.compile(r"([0-9]{1,6}):([0-9]{1,6})\Z")
BATCHES_AT_ONCE = 20  # that one page looks through for an outcome


@dataclass(frozen=True, slots=True)
class ListImports:
    """One per request."""

    mongo: Mongo

    async def __call__(
        self, organization: str, limit: int, cursor: str | None, subject: str, kinds: Collection[str]
    ) -> tuple[list[Document], str | None]:
        """Newest first: those of `kinds`, and `subject`'s own. What isn't shown leaves a gap in its page. Raises Problem 400, 503."""
        before = None if cursor is None else read_place(LIST_CURSOR, cursor, CURSOR_CHARACTERS_MAX)
        async with store_errors():
            page = await read_page(self.mongo, organization, before, limit + 1)
        following = write_cursor(LIST_CURSOR, place_of(page[limit - 1])) if len(page) > limit else None
        return [document for document in page[:limit] if document["kind"] in kinds or document["by"] == subject], following


@dataclass(frozen=True, slots=True)
class AskedResults:
    """A query string, read. The page begins at row `offset` of `batch`."""

    limit: int
    batch: int
    offset: int
    outcome: str | None


def read_results_query(query: Mapping[str, str]) -> AskedResults:
    """Raises Problem 400 `query_invalid` or `cursor_invalid`."""
    if query.keys() - RESULTS.query.keys():
        raise Problem(400, "query_invalid", f"Known here: {', '.join(sorted(RESULTS.query))}.")
    outcome = query.get("outcome")
    if outcome is not None and outcome not in get_args(Outcome):
        raise Problem(400, "query_invalid", f"outcome is one of {', '.join(get_args(Outcome))}.")
    batch = offset = 0
    if (cursor := query.get("cursor")) is not None:
        place = _PLACE.match(read_place(RESULTS_CURSOR, cursor, CURSOR_CHARACTERS_MAX))
        if place is None:
            raise cursor_invalid()
        batch, offset = int(place[1]), int(place[2])
    return AskedResults(read_limit(query.get("limit")), batch, offset, outcome)


@dataclass(frozen=True, slots=True)
class ReadResults:
    """One per request."""

    mongo: Mongo

    async def __call__(self, document: Document, asked: AskedResults) -> tuple[list[RowResult], str | None]:
        """A page, and the cursor of the next one. Raises Problem 503."""
        last = int(document["batches"])
        batches = range(asked.batch, min(asked.batch + BATCHES_AT_ONCE, last))
        async with store_errors():
            stored = await read_results(self.mongo, document["org"], document["id"], batches)
        found: list[RowResult] = []
        for batch, results in zip(batches, stored, strict=False):
            rows = results["rows"]
            for offset in range(asked.offset if batch == asked.batch else 0, len(rows)):
                if asked.outcome is not None and rows[offset]["outcome"] != asked.outcome:
                    continue
                if len(found) == asked.limit:
                    return found, write_cursor(RESULTS_CURSOR, f"{batch}:{offset}")
                found.append(_result(rows[offset]))
        return found, write_cursor(RESULTS_CURSOR, f"{batches.stop}:0") if batches.stop < last and batches else None


def _result(row: Document) -> RowResult:
    return RowResult(row["row"], row["line"], row["outcome"], row.get("id"), row.get("code"), row.get("detail"))
