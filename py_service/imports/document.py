"""The stored import: its keys, its states, and how it is shown (docs/protocols/documents.md)."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.exchange import moment, moment_or_none
from py_service.imports.messages import Import, ImportProblem
from py_service.permissions.change import View, Write
from py_service.stores.mongo import Document

KIND = "import"
PARTS_MAX = 64
CHARACTERS_MAX = 32_000_000
ROWS_MAX = 100_000
OPEN_MAX = 4  # of an organization at once: what isn't over takes room, and the worker's time
COLLECTING_KEPT_MS = 24 * 3_600_000
OVER_KEPT_MS = 30 * 24 * 3_600_000
UNTIL_OVER = ("todo", "open_of", "actor", "stage", "authority", "batches_to_undo", "state_after")
UNDER_WAY = ("waiting", "applying", "undoing")


def import_key(organization: str, identifier: str) -> str:
    """`_id` of an import."""
    return f"{organization}:{identifier}"


def part_key(organization: str, identifier: str, part: int) -> str:
    """`_id` of a part, numbered from 1."""
    return f"{organization}:{identifier}:{part:02d}"


def result_key(organization: str, identifier: str, batch: int) -> str:
    """`_id` of the results of one batch, numbered from 0."""
    return f"{organization}:{identifier}:{batch:06d}"


def time_key(organization: str, created_at: int, identifier: str) -> str:
    """What a list is ordered by."""
    return f"{organization}:{created_at:015d}:{identifier}"


def kept(document: Document) -> Write:
    """The import as it is from now on."""
    return Write("imports", str(document["_id"]), document)


def over(view: View, document: Document, state: str, problem: Document | None) -> tuple[Document, list[Write]]:
    """The import when it is over, and what is written: its parts, which hold what people are called, are thrown away.

    `problem`: as it is stored.
    """
    ended = {
        name: value
        for name, value in document.items()
        if name not in ("todo", "open_of", "actor", "stage", "batches_to_undo", "state_after", "authority")
    }
    ended |= {"state": state, "ended_at": view.at_ms, "expires_at": view.at_ms + OVER_KEPT_MS, "problem": problem}
    gone = [Write("import_parts", part_key(view.organization, document["id"], int(part)), None) for part in document["parts"]]
    return ended, [kept(ended), *gone]


def problem_of(problem: Problem | None) -> Document | None:
    """As it is stored."""
    return None if problem is None else {"code": problem.code, "detail": problem.detail, "line": problem.members.get("line")}


def counts(document: Document) -> Document:
    """For the event that ends it."""
    names = ("rows_read", "rows_applied", "rows_refused")
    return {name: document[name] for name in names} | {"state": document["state"], "kind": document["kind"]}


def is_unread(document: Document) -> bool:
    """Whether its file is to be read: it waits; or a version before stages has read it, to apply all of it at once, and didn't."""
    return document["state"] == "waiting" or (document["state"] == "applying" and lacks_stage(document) and document["position"] == 0)


def lacks_stage(document: Document) -> bool:
    """Whether rows of it can't be applied, as nothing would hide them."""
    return bool(document["all_or_nothing"]) and "stage" not in document


def check_own(document: Document, subject: str) -> None:
    """Raises Problem 403: whoever starts an import answers for every row, so nobody else adds to it."""
    if document["by"] != subject:
        raise Problem(403, "import_of_another", "Only who made an import adds to it and starts it.")


def shown(document: Document) -> Import:
    """A stored import as it is read."""
    problem = document["problem"]
    same = ("id", "kind", "format", "all_or_nothing", "state", "by", "rows_read", "rows_valid", "rows_applied", "rows_refused")
    return Import(
        **{name: document[name] for name in same},
        parts=len(document["parts"]),
        characters=sum(document["parts"].values()),
        problem=None if problem is None else ImportProblem(problem["code"], problem["detail"], problem["line"]),
        created_at=moment(int(document["created_at"])),
        started_at=moment_or_none(document["started_at"]),
        ended_at=moment_or_none(document["ended_at"]),
        expires_at=moment_or_none(document["expires_at"]),
    )
