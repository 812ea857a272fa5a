"""What a giver vouches for: never for more than they may themselves, never for long, and never for a second person beside them."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from py_service._core_rs import PermissionIndex

NOW_MS = 1_800_000_000_000
Image = dict[str, Any]


def grant(identifier: str, person: str, given_by: str | None = None, uses: dict[str, int] | None = None, door: str = "front") -> Image:
    """From a pass when it has a giver or uses."""
    counts = [{"pass": name, "uses": count} for name, count in (uses or {}).items()]
    terms = {"id": identifier, "given_by": given_by, "counts": counts} if given_by or uses else None
    document = {
        "effect": "allow", "person": person, "group": None, "door": door, "area": None, "site": None, "schedule": None,
        "valid_from": None, "valid_until": None, "pass": terms,
    }  # fmt: skip
    return {"kind": "grant", "id": identifier, "document": document}


def index_of(grants: list[Image], persons: list[str], **door: object) -> PermissionIndex:
    person: Image = {
        "name": "P", "email": None, "kind": "guest", "state": "active", "valid_from": None, "valid_until": None, "groups": [], "roles": [],
        "tokens_valid_after": 0,
    }  # fmt: skip
    front = {"site": "hq", "area": None, "name": "Front", "lock": None, "mode": "locked", "locked_down": False, **door}
    images: list[Image] = [
        {"kind": "organization", "id": "acme", "document": {"name": "Acme", "active": True}},
        {"kind": "site", "id": "hq", "document": {"name": "HQ", "time_zone": "UTC", "locked_down": False}},
        {"kind": "door", "id": "front", "document": front},
        *({"kind": "person", "id": name, "document": person} for name in persons),
        *grants,
    ]
    index = PermissionIndex()
    index.load("acme", 1, msgspec.json.encode(images))
    return index


def reason(index: PermissionIndex, person: str) -> str:
    return str(index.check("acme", person, "front", NOW_MS).reason)


def test_passes_in_circles_cost_no_time() -> None:
    """Four who gave each other a hundred passes each, and may not pass: each level would be a hundred times the one before."""
    four = ["a", "b", "c", "d"]
    circles = [
        grant(f"{holder}-{giver}-{number:03d}", holder, giver)
        for holder in four
        for giver in four
        if giver != holder
        for number in range(33)
    ]
    index = index_of(circles, four)
    started = time.perf_counter()
    assert reason(index, "a") == "no_grant"
    assert time.perf_counter() - started < 0.5
    assert reason(index_of([*circles, grant("own", "d")], four), "a") == "granted", "a pass is still found among many"


def test_a_use_of_the_givers_is_counted_or_opens_nothing() -> None:
    """A giver who holds a single use can't let others in with it without end."""
    index = index_of([grant("theirs", "giver", uses={"once": 1}), grant("given", "holder", "giver")], ["giver", "holder"])
    assert (reason(index, "giver"), reason(index, "holder")) == ("granted", "no_grant")
    counted = index_of(
        [grant("theirs", "giver", uses={"once": 1}), grant("given", "holder", "giver", {"own": 5, "once": 1})], ["giver", "holder"]
    )
    assert reason(counted, "holder") == "granted"


def two(index: PermissionIndex, first: str, second: str, used: dict[str, int] | None = None) -> str:
    """What `second` is told a second after `first`; `used`: of passes, how often they were."""
    shown = {"first_issued_at": NOW_MS - 1_000, "first_session": "home"}
    records: dict[str, Any] = {"door.front": {"first_person": first, "first_at": NOW_MS - 1_000, **shown}}
    records |= {f"pass.{name}": {"used": count} for name, count in (used or {}).items()}
    decision = index.check("acme", second, "front", NOW_MS)
    for _ in range(4):
        settled = index.settle("acme", second, "front", decision, None, NOW_MS, msgspec.json.encode(records), NOW_MS, "home")
        if not settled.missing:
            return str(settled.reason)
        records |= {key: {} for key in settled.missing}
    raise AssertionError("records that are never enough")


def test_keys_that_somebody_shares_make_no_second_person() -> None:
    """One human with passes of their own making would be two, or three: who holds nothing of their own counts beside nobody."""
    persons, pair = ["anna", "ben", "guest", "other"], {"two_persons_seconds": 60}
    grants = [grant("anna", "anna"), grant("ben", "ben"), grant("guest", "guest", "anna"), grant("other", "other", "anna")]
    index = index_of(grants, persons, **pair)
    assert two(index, "anna", "ben") == two(index, "ben", "anna") == "granted"
    alone = [("anna", "guest"), ("guest", "anna"), ("guest", "other"), ("ben", "guest"), ("guest", "ben")]
    assert {two(index, *two_of_them) for two_of_them in alone} == {"second_person_needed"}
    assert two(index_of([*grants, grant("own", "guest")], persons, **pair), "anna", "guest") == "granted"


def test_no_pass_makes_a_second_person() -> None:
    """Also a manager's: who may give one could open its link under another name, and be both."""
    grants = [grant("anna", "anna"), grant("ben", "ben", uses={"mine": 1}), {**grant("given", "cara"), "id": "given"}]
    managers: Image = {"id": "given", "given_by": None, "counts": []}
    grants[-1]["document"]["pass"] = managers
    index = index_of(grants, ["anna", "ben", "cara"], two_persons_seconds=60)
    alone = [("anna", "ben"), ("ben", "anna"), ("anna", "cara"), ("cara", "anna")]
    assert {two(index, *two_of_them) for two_of_them in alone} == {"second_person_needed"}
    assert two(index, "anna", "ben", {"mine": 1}) == "pass_used_up"
