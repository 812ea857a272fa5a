"""How a process ends what it does beside its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 1.5  # whoever was heard has this long for what it still has to leave in order


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel them until each has ended; how it ended is the caller's to ask.

    Once isn't enough: up to Python 3.11 `asyncio.wait_for`, by which the driver waits for the store, drops a cancellation that comes in the
    moment of the answer, and the task goes on for ever.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at: else it is told as one that nobody heard of
