"""When to try again: doubling pauses with full jitter, and what the server asked for in a close frame. Pure."""

from __future__ import annotations

import random
import re

FIRST_SECONDS = 0.2
LAST_SECONDS = 10.0
REPLACED_SECONDS = 10.0
CLOSE_DRAINING = 4007
CLOSE_REPLACED = 4010
_AFTER = re.compile(r"reconnect_after_ms=(\d{1,6})")


class Reconnect:
    """The pauses of one connection. `worked` starts them anew."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()
        self._failures = 0

    def worked(self) -> None:
        self._failures = 0

    def pause_seconds(self, close_code: int | None = None, close_reason: str = "") -> float:
        """How long to wait now. The server's word (`reconnect_after_ms`) goes before our own; a replaced lock doesn't fight."""
        if close_code == CLOSE_DRAINING and (asked := _AFTER.search(close_reason)) is not None:
            return min(int(asked.group(1)) / 1_000, 60.0)
        if close_code == CLOSE_REPLACED:
            return REPLACED_SECONDS
        longest = min(FIRST_SECONDS * 2.0 ** min(self._failures, 10), LAST_SECONDS)
        self._failures += 1
        return self._chance.uniform(longest / 2, longest)
