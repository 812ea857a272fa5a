"""Tasks end, also those to which a cancellation got lost."""

from __future__ import annotations

import asyncio

import pytest

from py_service import tasks
from py_service.tasks import end_tasks


@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_a_task_ends_although_cancellations_get_lost(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    heard = 0

    async def work() -> None:
        nonlocal heard
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard += 1
                if heard > lost:
                    raise

    running = [asyncio.create_task(work())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(running)
    assert running[0].cancelled() and heard == lost + 1


async def test_what_a_task_leaves_in_order_is_not_cut_short() -> None:
    left: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            left.append("in order")

    running = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end_tasks([running])
    assert left == ["in order"] and running.cancelled()


async def test_one_that_failed_or_is_over_holds_up_nobody() -> None:
    async def fails() -> None:
        raise ValueError("broken")

    async def returns() -> int:
        return 7

    over = [asyncio.create_task(fails()), asyncio.create_task(returns())]
    await asyncio.wait(over)
    async with asyncio.timeout(5):
        await end_tasks(over)
    assert isinstance(over[0].exception(), ValueError) and over[1].result() == 7
