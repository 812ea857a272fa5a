"""A word that a connection has to end is said, said again a little later, and begun anew when Redis was away in between."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from py_service.stores import cuts
from py_service.stores.cuts import AGAIN_SECONDS, KEPT_SECONDS, Cuts


class Gateways:
    """What was said, and a bus that can be away."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str | None, int]] = []
        self.away = False

    async def cut(self, organization: str, subject: str | None, revision: int) -> None:
        if self.away:
            raise RedisConnectionError("away")
        self.said.append((organization, subject, revision))


class Scene:
    def __init__(self) -> None:
        self.gateways, self.now = Gateways(), 100.0
        self.cuts = Cuts(self.gateways, lambda: self.now)

    async def after(self, seconds: float) -> list[tuple[str, str | None, int]]:
        """What is said then."""
        self.now += seconds
        before = len(self.gateways.said)
        await self.cuts.step()
        return self.gateways.said[before:]


ADA = ("acme", "ada", 7)


async def test_it_is_said_at_once_and_once_more() -> None:
    scene = Scene()
    scene.cuts.owe(*ADA)
    scene.cuts.owe("acme", None, 8)
    assert await scene.after(0) == [ADA, ("acme", None, 8)]
    assert await scene.after(AGAIN_SECONDS - 0.1) == []
    assert await scene.after(0.2) == [ADA, ("acme", None, 8)]
    assert await scene.after(10 * AGAIN_SECONDS) == []


async def test_what_redis_did_not_take_is_kept_until_it_does() -> None:
    scene = Scene()
    scene.gateways.away = True
    scene.cuts.owe(*ADA)
    assert await scene.after(0) == await scene.after(100) == []
    scene.gateways.away = False
    assert await scene.after(1) == [ADA]
    assert await scene.after(AGAIN_SECONDS) == [ADA]


async def test_it_begins_anew_when_redis_was_away_after_the_first_time() -> None:
    """The first word may have been lost with the connections that broke."""
    scene = Scene()
    scene.cuts.owe(*ADA)
    assert await scene.after(0) == [ADA]
    scene.gateways.away = True
    assert await scene.after(AGAIN_SECONDS) == []
    scene.gateways.away = False
    assert await scene.after(0.1) == [ADA]
    assert await scene.after(AGAIN_SECONDS) == [ADA]
    assert await scene.after(AGAIN_SECONDS) == []


async def test_it_is_forgotten_when_no_token_of_that_moment_lives() -> None:
    scene = Scene()
    scene.gateways.away = True
    scene.cuts.owe(*ADA)
    assert await scene.after(KEPT_SECONDS + 1) == []
    scene.gateways.away = False
    assert await scene.after(0) == []


async def test_a_later_cut_of_the_same_subject_is_said_for_itself() -> None:
    scene = Scene()
    scene.cuts.owe(*ADA)
    await scene.after(0)
    scene.cuts.owe("acme", "ada", 9)
    assert await scene.after(0.1) == [("acme", "ada", 9)]
    assert await scene.after(AGAIN_SECONDS) == [("acme", "ada", 9)]


async def test_an_earlier_cut_that_is_read_later_takes_nothing_back() -> None:
    """Two processes made a change each, and the log of the first is read after the other's."""
    scene = Scene()
    scene.cuts.owe("acme", "ada", 9)
    scene.cuts.owe(*ADA)
    assert await scene.after(0) == [("acme", "ada", 9)]


async def test_it_runs_by_itself() -> None:
    gateways = Gateways()
    cuts = Cuts(gateways)
    running = asyncio.create_task(cuts.run())
    cuts.owe(*ADA)
    await asyncio.sleep(0.3)
    running.cancel()
    assert gateways.said == [ADA]


async def test_of_more_than_can_be_kept_every_connection_of_their_organization_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cut is ended by a word of their own or by one about their organization, of that revision or a later one."""
    monkeypatch.setattr(cuts, "OWED_MAX", 5)
    scene = Scene()
    scene.gateways.away = True
    owed = [(f"org{number % 3}", f"p{number % 9}", number) for number in range(40)]
    for one in owed:
        scene.cuts.owe(*one)
        await scene.after(0.01)
    scene.gateways.away = False
    said = await scene.after(1)
    assert len(said) == 5 + 3
    for organization, subject, revision in owed:
        assert any(each[0] == organization and each[1] in (subject, None) and each[2] >= revision for each in said)
