"""Changes of the service itself that have fallen due: each for itself, so that one which is refused keeps no other from being made."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from py_service.errors import Problem
from py_service.permissions.change import Change, Submitter

logger = structlog.get_logger(__name__)


async def carry_out_due(lane: Submitter, due: Iterable[tuple[str, str, Change]]) -> None:
    """One after the other. `due`: the organization, the identifier of what it is about, and the change.

    Raises Problem 503 when the store is away: the rest waits for the next time.
    """
    for organization, subject, change in due:
        try:
            await lane.submit(organization, None, change)
        except Problem as problem:
            if problem.status == 503:
                raise
            logger.error("due_refused", change=type(change).__name__, organization=organization, subject=subject, error=problem.code)
