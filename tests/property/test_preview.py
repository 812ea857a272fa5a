"""A preview says what the change then does: random organizations, random records, each previewed, applied, and held against the slow twin.

Records that are only tried and never applied go before each: they must leave no trace.
"""

import collections
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_service._core_rs import Decision, PermissionIndex, SnapshotError
from tests.property.oracle import Answer, Document, Organization
from tests.property.organizations import DOORS, INSTANTS, PERSONS, RECORD, SITES, SNAPSHOT

ORGANIZATION = "acme"
EXAMPLES_DEFAULT = 60
EXAMPLES = int(os.environ.get("NEXKEY_ORACLE_EXAMPLES", EXAMPLES_DEFAULT))
PAIRS = [(person, door) for person in PERSONS for door in DOORS]
PAIRS_MAX = 1_000_000
Answers = dict[tuple[str, str], Answer]
Found = list[tuple[str, str, Answer, Answer]]


def as_json(images: list[Document]) -> bytes:
    return json.dumps(images).encode()


def answers(twin: Organization, now_ms: int) -> Answers:
    return {(person, door): twin.check(person, door, now_ms) for person, door in PAIRS}


def altered(before: Answers, after: Answers, *, gained: bool, doors: set[str]) -> Found:
    return sorted(
        (person, door, before[person, door], after[person, door])
        for person, door in PAIRS
        if (before[person, door].allowed, after[person, door].allowed) == (not gained, gained) and door in doors
    )


def plain(found: list[tuple[str, str, Decision, Decision]]) -> Found:
    def answer(decision: Decision) -> Answer:
        return Answer(decision.allowed, decision.reason, decision.rule)

    return [(person, door, answer(before), answer(after)) for person, door, before, after in found]


def doors_at(twins: list[Organization], site: str) -> set[str]:
    """Doors that are, or will be, at this site."""
    return {door for twin in twins for door, document in twin.bag["door"].items() if document["site"] == site}


def test_a_preview_says_what_the_change_then_does() -> None:
    seen: collections.Counter[str] = collections.Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES == EXAMPLES_DEFAULT,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(SNAPSHOT, st.lists(st.tuples(RECORD, RECORD), min_size=4, max_size=8), st.lists(INSTANTS, min_size=3, max_size=5))
    def agrees(snapshot: list[Document], records: list[tuple[list[Document], list[Document]]], instants: list[int]) -> None:
        index, twin, later = PermissionIndex(), Organization(), Organization()
        index.load(ORGANIZATION, 10, as_json(snapshot))
        twin.apply(snapshot)
        later.apply(snapshot)
        for revision, (tried, record) in enumerate(records, start=10):
            index.preview(ORGANIZATION, revision, as_json(tried), instants[0], None, 10, PAIRS_MAX)
            later.apply(record)
            for now_ms in instants:
                before, after = answers(twin, now_ms), answers(later, now_ms)
                wanted = [altered(before, after, gained=which, doors=set(DOORS)) for which in (True, False)]
                told = index.preview(ORGANIZATION, revision, as_json(record), now_ms, None, 1_000, PAIRS_MAX)
                assert [plain(told[0]), plain(told[1])] == wanted, (record, now_ms)
                assert told[2:] == (len(wanted[0]), len(wanted[1]), True)
                first = index.preview(ORGANIZATION, revision, as_json(record), now_ms, None, 1, PAIRS_MAX)
                assert [plain(first[0]), plain(first[1])] == [found[:1] for found in wanted] and first[2:] == told[2:]
                there = doors_at([twin, later], SITES[0])
                near = index.preview(ORGANIZATION, revision, as_json(record), now_ms, [SITES[0]], 1_000, PAIRS_MAX)
                assert [plain(near[0]), plain(near[1])] == [altered(before, after, gained=which, doors=there) for which in (True, False)]
                seen.update(gained=told[2], lost=told[3], near=near[2] + near[3])
            assert index.apply(ORGANIZATION, revision + 1, as_json(record))
            twin.apply(record)
            for now_ms in instants:  # what was only tried has left nothing
                for person, door in PAIRS:
                    decision = index.check(ORGANIZATION, person, door, now_ms)
                    assert Answer(decision.allowed, decision.reason, decision.rule) == twin.check(person, door, now_ms)

    agrees()
    assert min(seen["gained"], seen["lost"]) > 5 * EXAMPLES and seen["near"] > EXAMPLES, seen


def test_a_preview_is_of_the_revision_that_was_planned_on() -> None:
    index = PermissionIndex()
    with pytest.raises(SnapshotError, match="organization_unknown"):
        index.preview(ORGANIZATION, 1, b"[]", 0, None, 10, PAIRS_MAX)
    index.load(ORGANIZATION, 5, b"[]")
    assert index.preview(ORGANIZATION, 5, b"[]", 0, None, 10, PAIRS_MAX) == ([], [], 0, 0, True)
    for revision, images, code in ((4, b"[]", "revision_old"), (6, b"[]", "revision_gap"), (5, b"[{}]", "change_malformed")):
        with pytest.raises(SnapshotError) as refused:
            index.preview(ORGANIZATION, revision, images, 0, None, 10, PAIRS_MAX)
        assert refused.value.code == code
    assert index.revision(ORGANIZATION) == 5


def test_there_is_an_end_to_what_is_asked() -> None:
    """Of more pairs than that: as many as were asked, and the word that it isn't all."""
    always = {"valid_from": None, "valid_until": None}
    images: list[dict[str, object]] = [
        {"kind": "organization", "id": ORGANIZATION, "document": {"active": True}},
        {"kind": "site", "id": "hq", "document": {"time_zone": "UTC", "locked_down": False}},
        {"kind": "group", "id": "all", "document": {"includes": []}},
        {"kind": "grant", "id": "g", "document": {"effect": "allow", "group": "all", "site": "hq", "schedule": None, **always}},
    ]
    door = {"site": "hq", "area": None, "mode": "locked", "locked_down": False}
    person = {"state": "active", "groups": ["all"], "tokens_valid_after": 0, **always}
    images += [{"kind": "door", "id": f"d{number}", "document": door} for number in range(20)]
    images += [{"kind": "person", "id": f"p{number:03d}", "document": person} for number in range(200)]
    index = PermissionIndex()
    index.load(ORGANIZATION, 1, json.dumps(images).encode())
    lockdown = [{"kind": "site", "id": "hq", "document": {"time_zone": "UTC", "locked_down": True}}]
    gained, lost, gains, loses, complete = index.preview(ORGANIZATION, 1, json.dumps(lockdown).encode(), 0, None, 30, PAIRS_MAX)
    assert (gained, gains, loses, complete) == ([], 0, 4_000, True)
    assert [(who, where) for who, where, _, _ in lost[:21]] == [*(("p000", f"d{n}") for n in sorted(range(20), key=str)), ("p001", "d0")]
    assert {(before.reason, after.reason, after.rule) for _, _, before, after in lost} == {("granted", "site_locked_down", "hq")}
    assert index.preview(ORGANIZATION, 1, json.dumps(lockdown).encode(), 0, None, 30, 100)[2:] == (0, 100, False)


def test_whom_nobody_sees_takes_no_room_in_a_preview() -> None:
    """An import stages more persons than a preview may ask about; those who show are told in full."""

    def person(name: str, staged: int) -> Document:
        bounds = {"valid_from": None, "valid_until": None, "tokens_valid_after": 0}
        document = {"state": "active", "groups": ["all"], "roles": [], "staged": staged, **bounds}
        return {"kind": "person", "id": name, "document": document}

    door = {"name": "Door", "site": "east", "area": None, "lock": None, "mode": "locked", "locked_down": False}
    grant = {"effect": "allow", "group": "all", "site": "east", "schedule": None, "valid_from": None, "valid_until": None}
    doors: list[Document] = [{"kind": "door", "id": f"door-{number}", "document": door} for number in range(5)]
    images: list[Document] = [
        {"kind": "organization", "id": ORGANIZATION, "document": {"active": True, "stages_live": 1}},
        {"kind": "site", "id": "east", "document": {"time_zone": "Europe/Berlin", "locked_down": False}},
        {"kind": "group", "id": "all", "document": {"includes": []}},
        *doors,
        *(person(f"hidden-{number}", 2) for number in range(30)),
        *(person(f"shown-{number}", 1) for number in range(4)),
    ]
    index = PermissionIndex()
    index.load(ORGANIZATION, 1, as_json(images))
    given: list[Document] = [{"kind": "grant", "id": "given", "document": grant}]
    gained, lost, gains, loses, complete = index.preview(ORGANIZATION, 1, as_json(given), 0, None, 100, 25)
    assert (gains, loses, complete, lost) == (20, 0, True, [])
    assert {name for name, *_ in gained} == {f"shown-{number}" for number in range(4)}
    touched = [*given, *(person(f"hidden-{number}", 2) for number in range(30))]
    assert index.preview(ORGANIZATION, 1, as_json(touched), 0, None, 100, 25)[2:] == (20, 0, True)


@pytest.mark.parametrize("holds", ["lockdown", "deny", "deny by its schedule"])
def test_doors_that_lead_into_an_area_are_told_of_what_shuts_it(holds: str) -> None:
    """A door in no area: the image of the change names the area, a grant on it, or that grant's schedule, and not the door."""
    always = {"valid_from": None, "valid_until": None}
    vault = {"site": "hq", "locked_down": False}
    deny = {"effect": "deny", "group": "all", "area": "vault", "schedule": "night", **always}
    night: dict[str, object] = {"windows": [], "calendar": None, "holiday_windows": [], "exceptions": []}
    week = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
    door = {"site": "hq", "area": None, "enters": "vault", "mode": "locked", "locked_down": False}
    person = {"state": "active", "groups": ["all"], "tokens_valid_after": 0, **always}
    images: list[dict[str, object]] = [
        {"kind": "organization", "id": ORGANIZATION, "document": {"active": True}},
        {"kind": "site", "id": "hq", "document": {"time_zone": "UTC", "locked_down": False}},
        {"kind": "area", "id": "vault", "document": vault},
        {"kind": "group", "id": "all", "document": {"includes": []}},
        {"kind": "schedule", "id": "night", "document": night},
        {"kind": "grant", "id": "g", "document": {"effect": "allow", "group": "all", "door": "side", "schedule": None, **always}},
        {"kind": "grant", "id": "no", "document": deny},
        {"kind": "door", "id": "side", "document": door},
        {"kind": "person", "id": "anna", "document": person},
    ]
    change, reason, rule = {
        "lockdown": ({"kind": "area", "id": "vault", "document": {**vault, "locked_down": True}}, "area_locked_down", "vault"),
        "deny": ({"kind": "grant", "id": "no", "document": {**deny, "schedule": None}}, "denied_by_rule", "no"),
        "deny by its schedule": ({"kind": "schedule", "id": "night", "document": {**night, "windows": week}}, "denied_by_rule", "no"),
    }[holds]
    index = PermissionIndex()
    index.load(ORGANIZATION, 1, json.dumps(images).encode())
    _, lost, *_ = index.preview(ORGANIZATION, 1, json.dumps([change]).encode(), 0, None, 30, PAIRS_MAX)
    assert [(who, where, before.allowed, after.reason, after.rule) for who, where, before, after in lost] == [
        ("anna", "side", True, reason, rule)
    ]
