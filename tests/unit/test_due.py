"""Due changes: one that is refused is passed over, and a store that is away stops the rest."""

from __future__ import annotations

import pytest

from py_service.errors import Problem, stores_unavailable
from py_service.permissions.change import Actor, Change, Changed, Plan, View
from py_service.permissions.due import carry_out_due


class Named:
    """A change that only has a name."""

    takes_authority = False

    def __init__(self, name: str) -> None:
        self.name = name

    async def plan(self, view: View) -> Plan:
        raise AssertionError


class Lane:
    """Refuses what it is told to."""

    def __init__(self, refusals: dict[str, Problem]) -> None:
        self.refusals = refusals
        self.asked: list[tuple[str, str]] = []

    async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed:
        assert actor is None and isinstance(change, Named)
        self.asked.append((organization, change.name))
        if change.name in self.refusals:
            raise self.refusals[change.name]
        return Changed(1, 0, None)


DUE = [("acme", "a", Named("a")), ("other", "b", Named("b")), ("acme", "c", Named("c"))]


@pytest.mark.parametrize("refused", [set(), {"a"}, {"a", "b"}, {"b", "c"}, {"a", "b", "c"}])
async def test_whatever_is_refused_the_others_are_asked_for(refused: set[str]) -> None:
    lane = Lane({name: Problem(409, "in_use", "No.") for name in refused})
    await carry_out_due(lane, DUE)
    assert lane.asked == [(organization, name) for organization, name, _ in DUE]


async def test_a_store_that_is_away_is_said_at_once() -> None:
    lane = Lane({"b": stores_unavailable()})
    with pytest.raises(Problem, match="503"):
        await carry_out_due(lane, DUE)
    assert lane.asked == [("acme", "a"), ("other", "b")]
