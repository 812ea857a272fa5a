"""How a simulated lock keeps to the time, with the verifier that firmware embeds; each answer takes as long as it is told to."""

from __future__ import annotations

import os

import httpx
import pytest

from py_service._core_rs import KeyRing, LockRefusal, LockVerifier
from py_service.simulators.clock import EVERY_MS, RETRY_MS, ROUND_TRIP_MS_MAX, UNSURE_MS, ClockKeeper
from py_service.simulators.command import UNCERTAINTY_MS_MAX

ORGANIZATION, LOCK, KEY_ID = "nordlicht", "lock-1", "nordlicht.1"
NOW = 1_800_000_000_000


class Bench:
    """A lock that asks for the time; `takes_ms`: how long the next answer takes, None when it is lost."""

    def __init__(self) -> None:
        self.ring = KeyRing(os.urandom(32))
        self.ring.generate("command", ORGANIZATION, KEY_ID)
        self.ring.activate("command", ORGANIZATION, KEY_ID)
        self.verifier = LockVerifier(ORGANIZATION, LOCK, KEY_ID, self.ring.public_key("command", ORGANIZATION, KEY_ID), 64)
        self.takes_ms: int | None = 0
        self.tick = 50_000
        self.noted: list[Exception] = []
        self.clock = ClockKeeper(self, self.verifier, self.sure_at, lambda: self.tick, self.noted.append)

    async def time(self, nonce: bytes) -> bytes:
        if self.takes_ms is None:
            raise httpx.ReadTimeout("lost")
        told = self.ring.sign_time(ORGANIZATION, LOCK, nonce, NOW + self.tick)
        self.tick += self.takes_ms
        return told

    def sure_at(self, tick: int) -> bool:
        try:
            return self.verifier.uncertainty_ms(tick) <= UNCERTAINTY_MS_MAX
        except LockRefusal:
            return False

    async def asks(self, takes_ms: int | None) -> tuple[bool, int]:
        """Whether it is sure of the time then, and after how many milliseconds it asks again."""
        self.takes_ms = takes_ms
        await self.clock.ask()
        return self.sure_at(self.tick), self.clock.due_ms - self.tick


async def test_a_lock_that_is_not_sure_of_the_time_asks_again_soon() -> None:
    """It refuses every command until then."""
    bench = Bench()
    assert await bench.asks(5_000) == (False, UNSURE_MS)
    assert await bench.asks(10) == (True, EVERY_MS)
    assert not bench.noted


@pytest.mark.parametrize("takes_ms", [ROUND_TRIP_MS_MAX, 920, 950, 990, 996])
async def test_a_lock_is_sure_until_it_asks_again(takes_ms: int) -> None:
    """Of a slow answer its own clock leaves it less than 15 minutes."""
    bench = Bench()
    sure, again_ms = await bench.asks(takes_ms)
    assert sure and again_ms == (EVERY_MS if takes_ms == ROUND_TRIP_MS_MAX else UNSURE_MS)
    assert bench.sure_at(bench.clock.due_ms)


async def test_a_lock_that_is_sure_leaves_an_answer_alone_that_would_make_it_less_so() -> None:
    bench = Bench()
    assert await bench.asks(10) == (True, EVERY_MS)
    assert await bench.asks(ROUND_TRIP_MS_MAX + 1_000) == (True, RETRY_MS - ROUND_TRIP_MS_MAX - 1_000)


@pytest.mark.parametrize("sure", [False, True])
async def test_without_an_answer_the_old_time_stands(sure: bool) -> None:
    bench = Bench()
    if sure:
        await bench.asks(10)
    assert await bench.asks(None) == (sure, RETRY_MS if sure else UNSURE_MS)
    assert [type(error) for error in bench.noted] == [httpx.ReadTimeout]
