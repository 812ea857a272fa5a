"""When something holds: from a moment, until a moment, both of them optional. One rule for persons, grants and passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_service.errors import Problem

MOMENT_MS_MAX = 253_402_300_800_000  # the year 10000: an offset can put a moment of 9999 there, which no answer could be written with


def is_moment(moment_ms: float) -> bool:
    """Whether this many milliseconds since 1970 are a moment of 1970 to 9999, in UTC."""
    return 0 <= moment_ms < MOMENT_MS_MAX


def check_moment(moment_ms: float) -> None:
    """Raises Problem 422 `validity_invalid`."""
    if not is_moment(moment_ms):
        raise Problem(422, "validity_invalid", "A moment lies outside 1970 to 9999.")


def check_validity(document: Mapping[str, Any]) -> None:
    """`valid_from` and `valid_until` in ms, or None. Raises Problem 422 `validity_invalid`."""
    begins, ends = document.get("valid_from"), document.get("valid_until")
    for moment in (begins, ends):
        if moment is not None:
            check_moment(moment)
    if begins is not None and ends is not None and ends <= begins:
        raise Problem(422, "validity_invalid", "valid_until must come after valid_from.")
