"""Groups in any order of changes, held against a plain twin: refused is exactly what would make a circle or too long a chain."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_service.directory import nesting
from py_service.errors import Problem
from py_service.permissions.change import View
from py_service.permissions.listing import stored_object
from py_service.stores.mongo import Document

DEPTH_MAX = 2
GROUPS = [f"g{number}" for number in range(8)]
# Most name only what is before them in the alphabet, as circles would keep chains short.
STEPS = st.lists(
    st.tuples(st.sampled_from(GROUPS), st.sets(st.sampled_from(GROUPS), max_size=3), st.sampled_from([True, True, True, False])),
    min_size=8, max_size=40,
)  # fmt: skip
DEMANDED = (None, "group_cycle", "group_too_deep")
SEEN_MIN = 20
ROUNDS_MAX = 10
Includes = dict[str, set[str]]


class Groups(View):
    """What a plan may see, of groups only, without a store."""

    def __init__(self) -> None:
        nothing = cast("Any", None)
        super().__init__(nothing, nothing, nothing, "acme", None, 2, 0)
        self.stored: dict[str, Document] = {}

    def put(self, document: Document) -> None:
        self.stored[str(document["id"])] = stored_object("acme", "group", document)

    async def find_many(self, kind: str, identifiers: list[str]) -> list[Document]:
        return [self.stored[name] for name in identifiers if name in self.stored]

    async def listed_any(self, kind: str, keys: list[str], limit: int) -> list[Document]:
        return [document for document in self.stored.values() if not set(keys).isdisjoint(document["listed"])][:limit]


def longest_chain(includes: Includes, group: str, above: tuple[str, ...] = ()) -> int:
    """How many groups a chain from here has below. Raises RecursionError for a circle."""
    if group in above:
        raise RecursionError
    return max((1 + longest_chain(includes, below, (*above, group)) for below in includes[group]), default=0)


def twin_refuses(includes: Includes) -> str | None:
    try:
        depth = max(longest_chain(includes, group) for group in includes)
    except RecursionError:
        return "group_cycle"
    return "group_too_deep" if depth > DEPTH_MAX else None


def refusal(groups: Groups, after: Document, before: Document | None) -> str | None:
    try:
        asyncio.run(nesting.check_group(groups, after, before))
    except Problem as problem:
        assert problem.status == 422
        return problem.code
    return None


def test_a_change_is_refused_exactly_when_no_chain_may_come_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "GROUP_DEPTH_MAX", DEPTH_MAX)
    seen: Counter[str | None] = Counter()

    @settings(max_examples=100, deadline=None)
    @given(changes=STEPS)
    def play(changes: list[tuple[str, set[str], bool]]) -> None:
        groups, includes = Groups(), cast("Includes", {})
        # What isn't there is refused before (`check_references`): once all are made, everything may be named.
        for group, wanted, forward in [*((name, set[str](), True) for name in GROUPS), *changes]:
            named = {name for name in wanted & includes.keys() if name < group or not forward}
            after: Document = {"id": group, "name": group, "includes": list(named)}
            expected = twin_refuses({**includes, group: named})
            told = refusal(groups, after, groups.stored.get(group))
            seen[told] += 1
            assert told == expected, (includes, group, named)
            if told is None:
                includes[group] = named
                groups.put(after)

    # What is rare in what was drawn gets another round.
    for _ in range(ROUNDS_MAX):
        play()
        if min(seen[told] for told in DEMANDED) > SEEN_MIN:
            break
    assert min(seen[told] for told in DEMANDED) > SEEN_MIN, seen


def test_what_stands_in_too_long_a_chain_can_be_taken_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that were made before they were measured both ways: renamed and shortened, but not made longer."""
    groups = Groups()
    for number in range(DEPTH_MAX + 4):
        groups.put({"id": f"g{number}", "name": "", "includes": [f"g{number - 1}"] if number else []})
    monkeypatch.setattr(nesting, "GROUP_DEPTH_MAX", DEPTH_MAX)
    middle = groups.stored["g4"]
    assert refusal(groups, {**middle, "name": "renamed"}, middle) is None
    assert refusal(groups, {**middle, "includes": []}, middle) is None
    assert refusal(groups, {**middle, "includes": ["g3", "g2"]}, middle) == "group_too_deep"


def test_more_groups_than_can_be_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "GROUPS_AROUND_MAX", 3)
    groups = Groups()
    for name in ("a", "b", "c", "d", "leaf", "new"):
        groups.put({"id": name, "name": name, "includes": ["leaf"] if len(name) == 1 else []})
    leaf = groups.stored["leaf"]
    assert refusal(groups, {**leaf, "includes": ["new"]}, leaf) == "group_too_deep"
    assert refusal(groups, {"id": "wide", "name": "wide", "includes": ["a", "b", "c", "d"]}, None) == "group_too_deep"
    assert refusal(groups, {"id": "wide", "name": "wide", "includes": ["a", "b"]}, None) is None
