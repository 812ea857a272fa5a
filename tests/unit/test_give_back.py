"""What a grant took goes back though the store hiccups, within bounds; and only where it is certain that the door stayed shut."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
from bson import Int64

from py_service.errors import Problem, stores_unavailable
from py_service.events import projection
from py_service.journal.event import Event, make_event, stayed_shut
from py_service.journal.member import Member
from py_service.stores.mongo import Document, Mongo, now_ms
from py_service.unlock import give_back
from py_service.unlock.attempt import Attempt, Lanes, Outcome, Ruling
from py_service.unlock.give_back import GiveBack
from py_service.unlock.messages import UNLOCKED_FAILED
from py_service.unlock.owed import AGAIN_MS, OWED_MS_MAX, OwedGiveBacks
from tests.unit.test_announcer import FakeClaims, index_with_open_door

if TYPE_CHECKING:
    from py_service._core_rs import Claims

ATTEMPT = "settled-1:000000000001:000"
NOW_MS = 1_792_879_000_000


@dataclass
class Lane:
    """Remembers what was handed in; is full the first few times."""

    full: int = 0
    members: list[Member] = field(default_factory=list)

    def submit(self, member: Member) -> None:
        if self.full:
            self.full -= 1
            raise Problem(503, "overloaded", "Too many requests wait for the store.")
        self.members.append(member)


def shut(lane: Lane) -> None:
    """An attempt that took the use of a pass, and whose door was not reached."""
    lanes = Lanes(lambda _: None, lane.submit, lambda *_: True, lambda *_: "")
    attempt = Attempt(
        index_with_open_door(), cast("Claims", FakeClaims()), "d", wait_seconds=0, idempotency_key=None, pin=None, lanes=lanes,
        on_committed=lambda _: None,
    )  # fmt: skip
    attempt._ruling = Ruling(True, "granted", "g", 0, b'{"passes":["p1"]}')
    attempt.committed(NOW_MS, ATTEMPT)
    attempt.command_known(Outcome(UNLOCKED_FAILED, "door_unreachable"))


async def tick() -> None:
    for _ in range(4):
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(give_back, "AGAIN_SECONDS", (0.0,) * 3)


@pytest.mark.parametrize("full", [0, 1])
async def test_a_store_that_hiccups_once_is_asked_again(full: int) -> None:
    lane = Lane(full)
    shut(lane)
    await tick()
    assert [member.key for member in lane.members] == [f"give_back:{ATTEMPT}"]
    lane.members[0].failed(stores_unavailable())
    await tick()
    assert [member.key for member in lane.members] == [f"give_back:{ATTEMPT}"] * 2 and not lane.members[1].answered
    lane.members[1].committed(NOW_MS, "settled-1:000000000002:000")
    await tick()
    assert len(lane.members) == 2


async def test_a_store_that_stays_away_is_asked_so_often_and_no_more() -> None:
    lane = Lane()
    shut(lane)
    for number in range(1, 5):
        assert len(lane.members) == number
        lane.members[-1].failed(stores_unavailable())
        await tick()
    assert len(lane.members) == 4


@pytest.mark.parametrize(
    ("kind", "reason", "lock_reason", "certain"),
    [
        ("not_commanded", "stores_unavailable", None, True),
        ("unlocked.failed", "door_unreachable", None, True),
        ("unlocked.failed", "command_expired", None, True),
        ("unlocked.failed", "lock_refused", "command_signature", True),
        ("unlocked.failed", "lock_jammed", "lock_jammed", True),
        ("unlocked.failed", "lock_refused", "command_replayed", False),
        ("unlocked.failed", "unconfirmed", None, False),
        ("unlocked", None, None, False),
        ("authorized.failed", "no_grant", None, False),
    ],
)
def test_of_an_end_it_is_known_whether_the_door_stayed_shut(kind: str, reason: str | None, lock_reason: str | None, certain: bool) -> None:
    detail = None if lock_reason is None else {"number": 1, "lock_reason": lock_reason}
    assert stayed_shut(make_event(kind, "acme", NOW_MS, attempt=ATTEMPT, reason=reason, detail=detail)) is certain


class FakeCollection:
    """Notes, or events: as many as there are."""

    def __init__(self, found: list[Document]) -> None:
        self.found = found

    def find(self, query: Document) -> FakeCollection:
        due = query.get("due_at")
        return self if due is None else FakeCollection([one for one in self.found if one["due_at"] < due["$lt"]])

    def limit(self, _: int) -> FakeCollection:
        return self

    async def to_list(self) -> list[Document]:
        return self.found

    async def delete_many(self, query: Document) -> None:
        self.found = [one for one in self.found if one["_id"] not in query["_id"]["$in"]]


class FakeMongo:
    """One note, due at NOW_MS, and what is projected of its attempt."""

    def __init__(self, *events: Event) -> None:
        note = {
            "_id": ATTEMPT,
            "org": "acme",
            "door": "d",
            "person": "ada",
            "at": NOW_MS,
            "taken": {"passes": ["p1"], "entered_at": Int64(5)},
        }
        self.database = {"give_backs": FakeCollection([{**note, "due_at": NOW_MS}]), "events": FakeCollection(list(events))}

    @property
    def notes(self) -> list[Document]:
        return self.database["give_backs"].found


FAILED = make_event("unlocked.failed", "acme", NOW_MS, attempt=ATTEMPT, reason="door_unreachable")


async def test_the_worker_gives_back_what_is_owed_and_forgets_it_then() -> None:
    mongo, lane = FakeMongo(FAILED), Lane()
    owed = OwedGiveBacks(cast("Mongo", mongo), lane.submit)
    assert await owed.step(NOW_MS) == 0, "whoever made the attempt has a moment for it"
    for _ in range(2):
        await owed.step(NOW_MS + 1)
    [back] = lane.members
    assert isinstance(back, GiveBack) and back.key == f"give_back:{ATTEMPT}" and back.settle(b"{}", NOW_MS).missing == ["pass.p1"]
    back.failed(stores_unavailable())
    await owed.step(NOW_MS + 1)
    assert len(lane.members) == 1 and mongo.notes
    await owed.step(NOW_MS + 1 + AGAIN_MS)
    lane.members[1].duplicate({})  # somebody else was first
    assert await owed.step(NOW_MS + 2 + AGAIN_MS) == 0 and not mongo.notes and len(lane.members) == 2


@pytest.mark.parametrize(
    ("kind", "organization", "after_ms", "members"),
    [
        ("given_back", "acme", 1, 0), ("unlocked", "acme", 1, 0),
        ("given_back", "other", 1, 1), ("unlocked", "other", 1, 1),
        ("unlocked.failed", "acme", OWED_MS_MAX, 1), ("unlocked.failed", "acme", OWED_MS_MAX + 1, 0),
    ],
)  # fmt: skip
async def test_what_opened_or_is_done_or_is_long_past_is_left(kind: str, organization: str, after_ms: int, members: int) -> None:
    mongo, lane = FakeMongo(FAILED, make_event(kind, organization, NOW_MS, attempt=ATTEMPT)), Lane()
    owed = OwedGiveBacks(cast("Mongo", mongo), lane.submit)
    for _ in range(2):
        await owed.step(NOW_MS + after_ms)
    assert len(lane.members) == members and bool(mongo.notes) == bool(members)


def test_what_a_worker_reads_late_is_tried_for_a_day_all_the_same() -> None:
    """It was away for days: a day counts from when it noted what is owed."""
    grant = make_event("authorized", "acme", 1, door="d", person="p", taken={})
    noted = projection._give_back(grant, make_event("unlocked.failed", "acme", 2, attempt=ATTEMPT))  # what it writes
    assert noted["due_at"] >= now_ms()
