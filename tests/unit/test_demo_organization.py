"""The demonstration's organization: as promised, the same for the same seed, in the documents' format, and decided as the story tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_service._core_rs import DeviceKey, PermissionIndex
from py_service.demo.organization import IMAGE_KINDS, DemoOrganization, Document, build_demo, build_neighbour
from py_service.demo.round import CLEANERS_DOOR, outside_schedule
from py_service.demo.seed import make_demo_file
from py_service.simulators.device_api import decode_base64url

SEED = bytes(range(32))
BERLIN = ZoneInfo("Europe/Berlin")
MADE = datetime(2026, 11, 23, 9, 0, tzinfo=BERLIN)
MADE_MS = int(MADE.timestamp() * 1_000)


@pytest.fixture(scope="module")
def demo() -> DemoOrganization:
    return build_demo(SEED, now_ms=MADE_MS)


@pytest.fixture(scope="module")
def index(demo: DemoOrganization) -> PermissionIndex:
    index = PermissionIndex()
    index.load(demo.id, 0, demo.images())
    return index


def everything(demo: DemoOrganization) -> Iterator[tuple[str, Document]]:
    return ((collection, document) for collection, documents in demo.documents.items() for document in documents)


def decided(index: PermissionIndex, demo: DemoOrganization, part: str, door: str, at: datetime) -> str:
    person = {**demo.cast}[part].id  # type: ignore[index]  # a part of the cast
    return index.check(demo.id, person, door, int(at.timestamp() * 1_000)).reason


def test_it_is_as_large_as_promised(demo: DemoOrganization) -> None:
    counts = {collection: len(documents) for collection, documents in demo.documents.items()}
    assert counts["sites"] == 3
    assert counts["doors"] == counts["devices"] == len(demo.locks) == 40
    assert counts["persons"] == 200
    assert len({site["time_zone"] for site in demo.documents["sites"]}) == 3


@pytest.mark.parametrize(("persons", "doors"), [(12, 3), (1_000, 120)])
def test_other_sizes_are_built_as_well(persons: int, doors: int) -> None:
    other = build_demo(SEED, now_ms=MADE_MS, persons=persons, doors=doors)
    assert (len(other.documents["persons"]), len(other.documents["doors"])) == (persons, doors)
    assert len({document["_id"] for document in other.documents["doors"]}) == doors


def test_the_same_seed_gives_the_same_and_another_gives_other_keys(demo: DemoOrganization) -> None:
    assert build_demo(SEED, now_ms=MADE_MS).documents == demo.documents
    other = build_demo(b"x" * 32, now_ms=MADE_MS)
    assert {lock.seed for lock in other.locks}.isdisjoint(lock.seed for lock in demo.locks)
    assert len({lock.seed for lock in demo.locks}) == 40


def test_every_document_carries_its_organization_and_a_valid_identifier(demo: DemoOrganization) -> None:
    for collection, document in everything(demo):
        assert re.fullmatch(r"[a-z0-9_-]{1,64}", str(document["id"])), document
        assert document["org"] == demo.id
        assert document["_id"] == (demo.id if collection == "organizations" else f"{demo.id}:{document['id']}")
    for collection in demo.documents:
        assert max(Counter(str(document["_id"]) for document in demo.documents[collection]).values()) == 1
    assert len({person.email for person in demo.persons}) == len(demo.persons)


def test_every_reference_leads_somewhere(demo: DemoOrganization) -> None:
    known = {collection: {str(document["id"]) for document in documents} for collection, documents in demo.documents.items()}
    where = {"site": "sites", "area": "areas", "door": "doors", "person": "persons", "group": "groups", "schedule": "schedules"}
    where |= {"calendar": "calendars", "lock": "devices"}
    followed = 0
    for _, document in everything(demo):
        for field, collection in where.items():
            if (target := document.get(field)) is not None:
                assert target in known[collection], (field, document)
                followed += 1
        for field in ("groups", "includes"):
            assert set(cast(list[str], document.get(field, []))) <= known["groups"], document
    assert followed > 150


def test_a_lock_has_the_key_that_its_document_shows(demo: DemoOrganization) -> None:
    shown = {str(device["id"]): str(device["public_key"]) for device in demo.documents["devices"]}
    for lock in demo.locks:
        assert decode_base64url(shown[lock.lock]) == DeviceKey.from_seed(lock.seed).public_key
    assert demo.locks[0].seed.hex() not in repr(demo)


def test_images_have_every_kind_and_no_store_fields(demo: DemoOrganization) -> None:
    images = msgspec.json.decode(demo.images())
    assert {image["kind"] for image in images} == set(IMAGE_KINDS.values())
    assert len(images) == sum(len(documents) for collection, documents in demo.documents.items() if collection in IMAGE_KINDS)
    assert not any({"_id", "org"} & set(image["document"]) for image in images)


@pytest.mark.parametrize(
    ("part", "door", "at", "reason"),
    [
        ("owner", "singapore-server-room", MADE, "granted"),
        ("employee", "berlin-office-north", MADE, "granted"),
        ("employee", "new-york-main-entrance", MADE, "outside_schedule"),  # 03:00 there
        ("employee", "berlin-office-north", datetime(2026, 12, 25, 9, tzinfo=BERLIN), "holiday"),
        ("employee", "berlin-office-north", datetime(2026, 12, 24, 11, tzinfo=BERLIN), "granted"),
        ("employee", "berlin-office-north", datetime(2026, 12, 24, 13, tzinfo=BERLIN), "outside_schedule"),
        ("facility", "berlin-server-room", MADE, "granted"),
        ("night_guard", "berlin-laboratory", datetime(2026, 12, 25, 23, tzinfo=BERLIN), "granted"),
        ("night_guard", "berlin-laboratory", datetime(2026, 12, 25, 5, tzinfo=BERLIN), "granted"),
        ("night_guard", "berlin-laboratory", MADE, "outside_schedule"),
        ("night_guard", "singapore-laboratory", MADE, "no_grant"),
        ("contractor", "berlin-laboratory", MADE, "granted"),
        ("contractor", "berlin-laboratory", MADE + timedelta(days=22), "expired"),
        ("contractor", "berlin-office-north", MADE, "no_grant"),
        ("guest", "berlin-main-entrance", MADE, "no_grant"),
    ],
)
def test_the_cast_may_what_the_story_tells(
    index: PermissionIndex, demo: DemoOrganization, part: str, door: str, at: datetime, reason: str
) -> None:
    assert decided(index, demo, part, door, at) == reason


@given(st.integers(0, 730 * 24 * 60).map(lambda minutes: MADE + timedelta(minutes=minutes)))
def test_at_every_moment_somebody_is_outside_a_schedule(index: PermissionIndex, demo: DemoOrganization, now: datetime) -> None:
    part, door = outside_schedule(now)
    for moment in (now, now + timedelta(minutes=1)):  # the round takes a while
        assert decided(index, demo, part, door, moment) == "outside_schedule"
    assert door in (CLEANERS_DOOR, "berlin-main-entrance")


def test_the_owner_administers_and_the_neighbour_is_a_stranger(index: PermissionIndex, demo: DemoOrganization) -> None:
    neighbour = build_neighbour(SEED, now_ms=MADE_MS)
    index.load(neighbour.id, 0, neighbour.images())
    for organization in (demo, neighbour):
        assert index.check_role(organization.id, organization.cast["owner"].id, "grants.write", None, 0).allowed
    assert index.check(neighbour.id, neighbour.cast["owner"].id, "front-door", MADE_MS).allowed
    assert index.check(neighbour.id, neighbour.cast["owner"].id, "berlin-main-entrance", MADE_MS).reason == "door_unknown"
    assert {lock.seed for lock in neighbour.locks}.isdisjoint(lock.seed for lock in demo.locks)


def test_passwords_and_seed_are_made_anew_each_time(tmp_path: Path) -> None:
    first, second = make_demo_file(), make_demo_file()
    assert first.seed != second.seed
    passwords = [account.password for made in (first, second) for account in made.accounts]
    assert len(set(passwords)) == len(passwords) == 16
    assert min(map(len, passwords)) >= 16
