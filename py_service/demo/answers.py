"""What the demonstration's phones were told: followed in their log, and read as the time that each phase took.

What doesn't live here: how it is shown (`live.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from py_service.simulators.answer_line import AnswerLine, decode_answer
from py_service.simulators.phone import UnlockAnswer

PHASES = ("authenticated", "authorized", "committed", "commanded", "unlocked")
POLL_SECONDS = 0.1
CHUNK_BYTES_MAX = 1_000_000
LINE_BYTES_MAX = 65_536


async def follow_answers(log: Path) -> AsyncIterator[AnswerLine]:
    """Forever: what is appended from now on. A log that was replaced by a shorter one is read from its start."""
    position = await asyncio.to_thread(_size, log)
    rest = b""
    while True:
        text, start = await asyncio.to_thread(_appended, log, position)
        if start < position:
            rest = b""
        position = start + len(text)
        *lines, rest = (rest + text).split(b"\n")
        rest = rest[-LINE_BYTES_MAX:]
        for line in lines:
            if (answer := decode_answer(line)) is not None:
                yield answer
        if not text:
            await asyncio.sleep(POLL_SECONDS)


def phase_milliseconds(answer: UnlockAnswer) -> dict[str, float]:
    """How long each phase took. The service counts from the arrival of the request, so each is less the one before it."""
    ends = [(phase.phase, phase.milliseconds) for phase in answer.phases if phase.milliseconds is not None]
    took = {name: max(end - before, 0.0) for (_, before), (name, end) in pairwise([("arrival", 0.0), *ends])}
    return {name: took[name] for name in PHASES if name in took}


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _appended(log: Path, position: int) -> tuple[bytes, int]:
    size = _size(log)
    start = position if position <= size else 0
    if start == size:
        return b"", start
    with log.open("rb") as file:
        file.seek(start)
        return file.read(CHUNK_BYTES_MAX), start
