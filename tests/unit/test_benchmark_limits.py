"""What the benchmarks of scale judge: pairs that are allowed, each kind of revoke, the slowest unlocks and the coldest round."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks import revoke_http, revoke_kinds, scale, unlock_scale
from benchmarks.scale_organization import NOW_MS, ScaleOrganization, named

MADE = ScaleOrganization(persons=2_000, doors=200, groups=300, sites=6)
HOUR_MS = 3_600_000
WEEK_MS = [NOW_MS + hours * HOUR_MS for hours in range(0, 168, 5)]


def test_allowed_pairs_are_those_of_the_persons_in_their_order_and_allowed() -> None:
    pairs = list(MADE.allowed_pairs(range(2_000), seed=1))
    persons = [person for person, _ in pairs]
    assert persons == sorted(set(persons)) and len(persons) > 1_900
    assert all(MADE.may_pass(person, door) for person, door in pairs)
    assert pairs == list(MADE.allowed_pairs(range(2_000), seed=1)) != list(MADE.allowed_pairs(range(2_000), seed=2))


def test_every_door_that_somebody_may_open_is_drawn() -> None:
    """A hundred doors or so, of which two thousand draws leave none out."""
    person = next(person for person in range(0, 2_000, 100) if sum(MADE.may_pass(person, door) for door in range(200)) > 20)
    right = {door for door in range(200) if MADE.may_pass(person, door)}
    drawn = {door for _, door in MADE.allowed_pairs(itertools.repeat(person, 2_000), seed=3)}
    own = MADE.own_rule(person)
    assert own is not None and own[1] in right
    assert drawn == right


def test_who_may_open_none_is_passed_over() -> None:
    sparse = ScaleOrganization(persons=200, doors=2, groups=2_000, sites=1)
    may = [person for person in range(200) if any(sparse.may_pass(person, door) for door in range(2))]
    assert [person for person, _ in sparse.allowed_pairs(range(200), seed=1)] == may
    assert 0 < len(may) < 50


def test_pairs_for_any_hour_are_allowed_at_each() -> None:
    pairs = list(itertools.islice(MADE.allowed_pairs(range(2_000), seed=1, now_ms=None), 300))
    assert not [(pair, now_ms) for pair in pairs for now_ms in WEEK_MS if not MADE.may_pass(*pair, now_ms)]


@pytest.mark.parametrize("persons", [unlock_scale.SMALL, unlock_scale.QUICK_LARGE])
def test_as_many_persons_unlock_as_there_are_unlocks(persons: int) -> None:
    """Of both sizes, from all of the organization, and each at a door of its own choosing."""
    made = unlock_scale.made_of(persons)
    pairs = unlock_scale.drawn(made, unlock_scale.UNLOCKS + unlock_scale.WARM_UP)
    assert len({person for person, _ in pairs}) == len(pairs) == unlock_scale.UNLOCKS + unlock_scale.WARM_UP
    halves = [sum(person < persons // 2 for person, _ in pairs), sum(door < made.doors // 2 for _, door in pairs)]
    assert all(len(pairs) / 3 < half < len(pairs) * 2 / 3 for half in halves)


def test_more_unlocks_than_persons_are_refused() -> None:
    with pytest.raises(AssertionError, match="of 1000 persons may open a door"):
        unlock_scale.drawn(unlock_scale.made_of(unlock_scale.SMALL), 1_000)


@pytest.mark.parametrize(
    ("median", "p99", "missed"), [(1.2, 1.4, []), (1.3, 1.0, ["median"]), (1.0, 1.6, ["p99"]), (2.0, 2.0, ["median", "p99"])]
)
def test_an_unlock_that_costs_more_is_a_miss(median: float, p99: float, missed: list[str]) -> None:
    found = unlock_scale.judged({"median": 5.0, "p99": 20.0}, {"median": 5.0 * median, "p99": 20.0 * p99}, ("median", "p99"))
    assert [fault.split()[0] for fault in found] == missed


def test_a_slow_revoke_of_one_kind_is_a_miss() -> None:
    assert revoke_http.late_ones({"a grant": 20.0, "a pass taken back": 20.1}) == [("a pass taken back", 20.1)]
    assert {kind.name for kind in revoke_kinds.KINDS} == {"membership", "suspended", "pass", "schedule", "includes", "lockdown"}
    assert revoke_http.OF_A_KIND + revoke_http.WARM_UP <= revoke_kinds.CASES_MAX


def test_a_lockdown_is_of_the_door_of_its_case() -> None:
    made = revoke_kinds.MADE
    assert [made.door(number)["site"] for number in range(revoke_kinds.CASES_MAX)] == [
        named("site", number) for number in range(revoke_kinds.CASES_MAX)
    ]
    assert len({made.door(number)["site"] for number in range(made.doors)}) == revoke_kinds.CASES_MAX


@pytest.mark.parametrize("sample", ["", "allowed_"])
@pytest.mark.parametrize("which", ["", "first_"])
@pytest.mark.parametrize(("asked", "limits"), [("found", (300, 1_500)), ("check", (600, 1_500))])
def test_both_samples_are_judged_in_the_coldest_round_too(sample: str, which: str, asked: str, limits: tuple[int, int]) -> None:
    """All but what allowed pairs take by handle at the median, which is above its limit, and said to be."""
    for name, limit in zip(("median", "p99"), limits, strict=True):
        figure = f"{sample}{asked}_ns_{which}{name}"
        right = dict(scale.LIMITS)
        assert scale.missed(right) == []
        told = (
            []
            if (sample, asked, name) == ("allowed_", "found", "median")
            else [f"{figure} is {limit + 1:,.1f}, at most {limit:,.1f} is wanted"]
        )
        assert scale.missed(right | {figure: limit + 1.0}) == told
        assert scale.beyond(right | {figure: limit + 1.0}) == [figure]


def test_allowed_pairs_stand_beside_the_same_documents(tmp_path: Path) -> None:
    share = scale.write(MADE, tmp_path, 400)
    random, allowed = (
        [line.split()[2] for line in (folder / "pairs").read_text().splitlines()] for folder in (tmp_path, tmp_path / "allowed_")
    )
    assert share == random.count("1") / 400
    assert 0.01 < share < 0.5
    assert allowed == ["1"] * 400
    assert (tmp_path / "allowed_" / "person.bson").read_bytes() == (tmp_path / "person.bson").read_bytes()
