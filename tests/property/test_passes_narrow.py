"""What is passed on opens nothing that the pass above it doesn't, whatever the terms and whatever else its holders may: through the core.

The terms are checked by the service, the grants are those that an acceptance writes, and the core decides. A witness holds each pass's
terms and nothing else, given by nobody: what the witness may not, nobody below may.
"""

from __future__ import annotations

import collections
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem
from py_service.passes.accept import grants_made
from py_service.passes.terms import DAY_MS, LEFT_OUT, counts_of, drafted, wider
from py_service.permissions.change import View
from py_service.stores.mongo import Document

ORGANIZATION, NOW_MS = "o", 1_800_000_000_000
DOORS, SCHEDULES = ("front", "back"), ("mornings", "evenings")
HOLDERS = ("h0", "h1", "h2", "h3")
EXAMPLES = 250

BEGINS = st.integers(-2, 3).map(lambda days: NOW_MS + days * DAY_MS)
ENDS = st.integers(2, 9).map(lambda days: NOW_MS + days * DAY_MS)
INSTANTS = range(NOW_MS - 3 * DAY_MS, NOW_MS + 10 * DAY_MS, 3 * 3_600_000 - 1)  # drifts over the edges of windows and schedules
DOOR_LISTS = st.lists(st.sampled_from(DOORS), min_size=1, max_size=2, unique=True)
TERMS = st.fixed_dictionaries(
    {
        "name": st.just("Pass"),
        "doors": DOOR_LISTS,
        "valid_from": st.none() | BEGINS,
        "valid_until": ENDS,
        "schedule": st.none() | st.sampled_from(SCHEDULES),
        "uses": st.none() | st.integers(1, 4),
    }
)
DENIES = st.sampled_from([False, False, False, False, True])
OTHER_GRANTS = st.lists(
    st.tuples(st.sampled_from(HOLDERS[:3]), st.sampled_from(DOORS), st.none() | st.sampled_from(SCHEDULES), DENIES), max_size=8
)


@st.composite
def chains(draw: st.DrawFn) -> list[Document]:
    """The terms that are asked for: the first are a manager's. Each below says something else in one or two, seldom more than it may:
    independent draws would hardly ever be narrower."""
    depth = draw(st.integers(1, 3))
    asked = [draw(TERMS) | {"passes_on_max": depth}]
    for number in range(1, depth + 1):
        terms, said = draw(TERMS), draw(st.sets(st.sampled_from([*LEFT_OUT, "valid_from"]), max_size=2))
        left = depth - number + draw(st.sampled_from([0, 0, 0, 0, 0, 1]))
        asked.append({name: terms[name] if name in said or name == "name" else None for name in terms} | {"passes_on_max": left})
    return asked


def accepted(view: View, asked: Document, number: int, parent: Document | None) -> Document:
    """The pass as it stands when the nth holder has accepted it. Raises Problem."""
    draft = drafted(view, asked, parent)
    return {
        **draft, "id": f"p{number}", "given_by": None if parent is None else parent["accepted_by"], "accepted_by": HOLDERS[number],
        "counts_above": [] if parent is None else counts_of(parent),
    }  # fmt: skip


def images(passes: list[Document], others: list[tuple[str, str, str | None, bool]]) -> bytes:
    site: Document = {"name": "s", "time_zone": "Europe/Berlin", "address": None, "locked_down": False}
    every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    found: list[tuple[str, Document]] = [("organization", {"id": ORGANIZATION, "name": "O", "active": True}), ("site", {"id": "s", **site})]
    found += [
        ("door", {"id": door, "site": "s", "area": None, "name": door, "lock": None, "mode": "locked", "locked_down": False})
        for door in DOORS
    ]
    for schedule, start, end in (("mornings", "06:00", "12:00"), ("evenings", "11:00", "23:00")):
        windows = [{"days": every_day, "start": start, "end": end}]
        found.append(
            ("schedule", {"id": schedule, "name": schedule, "windows": windows, "calendar": None, "holiday_windows": [], "exceptions": []})
        )
    persons = [*HOLDERS, *(f"witness-{each['id']}" for each in passes)]
    guest: Document = {
        "email": None,
        "kind": "guest",
        "state": "active",
        "valid_from": None,
        "valid_until": None,
        "groups": [],
        "roles": [],
    }
    found += [("person", {"id": person, "name": person, **guest, "tokens_valid_after": 0}) for person in persons]
    sites = dict.fromkeys(DOORS, "s")
    for each in passes:
        witness = {
            **each,
            "id": f"w{each['id']}",
            "accepted_by": f"witness-{each['id']}",
            "given_by": None,
            "uses": None,
            "counts_above": [],
        }
        found += [("grant", grant) for made in (each, witness) for grant in grants_made(made, sites, NOW_MS)]
    last = passes[-1]["accepted_by"]  # has nothing else: what it may, it may by the pass
    plain: Document = {"group": None, "area": None, "site": None, "valid_from": None, "valid_until": None}
    found += [
        (
            "grant",
            {"id": f"x{number}", "effect": "deny" if denies else "allow", "person": person, "door": door, "schedule": schedule, **plain},
        )
        for number, (person, door, schedule, denies) in enumerate(others)
        if person != last
    ]
    return msgspec.json.encode([{"kind": kind, "id": document["id"], "document": document} for kind, document in found])


# Draws seldom come upon a holder who may more than their pass, just where what they pass on would be wider.
MORNINGS: Document = {
    "name": "Pass", "doors": ["front"], "valid_from": None, "valid_until": NOW_MS + 5 * DAY_MS, "schedule": "mornings", "uses": None,
    "passes_on_max": 1,
}  # fmt: skip


def view_at(at_ms: int) -> View:
    """Of a plan's view, what the terms are judged by: the moment."""
    nothing = cast("Any", None)
    return View(nothing, nothing, nothing, ORGANIZATION, None, 1, at_ms)


def test_nothing_is_opened_below_that_isn_t_above() -> None:
    seen: collections.Counter[str] = collections.Counter()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(chains(), OTHER_GRANTS)
    @example([MORNINGS, MORNINGS | {"schedule": "evenings", "passes_on_max": 0}], [("h0", "front", None, False)])
    def holds(asked: list[Document], others: list[tuple[str, str, str | None, bool]]) -> None:
        passes: list[Document] = []
        for number, terms in enumerate(asked):
            try:
                passes.append(accepted(view_at(NOW_MS), terms, number, passes[-1] if passes else None))
            except Problem as problem:
                seen[problem.code] += 1
                break
        if len(passes) < 2:
            return
        index = PermissionIndex()
        index.load(ORGANIZATION, 1, images(passes, others))
        child = passes[-1]
        assert all(count in counts_of(child) for above in passes for count in counts_of(above))
        for at_ms in INSTANTS:
            for door in DOORS:
                decision = index.check(ORGANIZATION, child["accepted_by"], door, at_ms)
                seen["allowed" if decision.allowed else "refused"] += 1
                if not decision.allowed:
                    continue
                assert decision.rule is not None and decision.rule.startswith(f"{child['id']}_")
                for above in passes:
                    assert index.check(ORGANIZATION, f"witness-{above['id']}", door, at_ms).allowed, above
                # By whichever of their rules: it needn't be the pass that was passed on.
                assert index.check(ORGANIZATION, child["given_by"], door, at_ms).allowed
                seen[f"deep {len(passes)}"] += 1

    holds()
    # The narrow path was walked, and the wide one refused.
    assert seen["allowed"] > 1_000 and seen["refused"] > 1_000 and seen["pass_wider"] > 20 and seen["deep 3"] > 5, seen


PARENT: Document = {"doors": ["a", "b"], "valid_from": 10, "valid_until": 20, "schedule": "s", "uses": 5, "passes_on_max": 2}
NARROWEST: Document = {"doors": ["a"], "valid_from": 11, "valid_until": 19, "schedule": "s", "uses": 1, "passes_on_max": 0}


@pytest.mark.parametrize(
    ("field", "value", "is_wider"),
    [
        ("doors", ["a", "b"], False), ("doors", ["a", "c"], True), ("doors", ["c"], True), ("valid_from", 10, False),
        ("valid_from", 9, True), ("valid_until", 20, False), ("valid_until", 21, True), ("schedule", None, True), ("schedule", "t", True),
        ("uses", 5, False), ("uses", 6, True), ("uses", None, True), ("passes_on_max", 1, False), ("passes_on_max", 2, True),
    ],
)  # fmt: skip
def test_each_term_is_compared(field: str, value: object, is_wider: bool) -> None:
    assert wider(NARROWEST, PARENT) is None
    assert wider(NARROWEST | {field: value}, PARENT) == (field if is_wider else None)


def test_what_is_open_above_may_be_limited_below() -> None:
    assert wider(NARROWEST, PARENT | {"schedule": None, "uses": None}) is None
    assert wider(NARROWEST | {"schedule": None, "uses": None}, PARENT | {"schedule": None, "uses": None}) is None
