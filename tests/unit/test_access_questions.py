"""Questions about everybody don't stop the loop: an unlock that arrives meanwhile is decided."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from py_service.access.questions import AccessQuestions
from py_service.exchange import Request
from tests.unit.edge_support import MadeClaims

LOOKING_SECONDS = 0.4


class SlowIndex:
    """An organization that is so large that to look at everybody takes a while."""

    def reach(self, *_: object) -> tuple[object, None]:
        return SimpleNamespace(allowed=True), None

    def door(self, *_: object) -> object:
        return SimpleNamespace(site="site")

    def authenticate(self, *_: object) -> None:
        return None

    def revision(self, _: str) -> int:
        return 7

    def persons_at(self, *_: object) -> list[object]:
        time.sleep(LOOKING_SECONDS)
        return []

    doors_open_to = persons_at


@pytest.mark.parametrize(("asked", "query"), [("who", {"door": "front"}), ("what", {"person": "nora"})])
async def test_a_question_about_everybody_leaves_the_loop_alone(asked: str, query: dict[str, str]) -> None:
    questions = AccessQuestions(cast("Any", SlowIndex()), cast("Any", None))
    request = Request("GET", "/", {}, query, {}, b"", "id", 0, cast("Any", MadeClaims(organization="acme")))
    answer = asyncio.ensure_future(getattr(questions, asked)(request))
    longest, last = 0.0, time.monotonic()
    while not answer.done():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert answer.result().status == 200
    assert longest < LOOKING_SECONDS / 2
