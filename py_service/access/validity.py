"""When a grant holds: from a moment, until a moment, both of them optional."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_service.errors import Problem

MOMENT_MS_MAX = 253_402_300_800_000  # the year 10000


def check_validity(document: Mapping[str, Any]) -> None:
    """`valid_from` and `valid_until` in ms, or None. Raises Problem 400 `field_invalid`."""
    begins, ends = document.get("valid_from"), document.get("valid_until")
    for moment in (begins, ends):
        if moment is not None and not 0 <= moment < MOMENT_MS_MAX:
            raise Problem(400, "field_invalid", "A moment lies outside 1970 to 9999.")
    if begins is not None and ends is not None and ends <= begins:
        raise Problem(400, "field_invalid", "valid_until must come after valid_from.")
