"""Holds that begin and are renewed: who gets one, whose it is, and how a lock keeps one when questions are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from py_service.errors import Problem, stores_unavailable
from py_service.journal.member import Member
from py_service.simulators import hold as keeping
from py_service.simulators.command import CommandAnswers
from py_service.simulators.device_api import DeviceApi, HoldLease
from py_service.simulators.door import Door
from py_service.simulators.hold import HoldKeeper
from py_service.unlock.hold import Begun, HoldMember, Holds
from tests.unit.identity_support import NOW_MS, MadePermissions, images
from tests.unit.test_devices_handlers import device, door

if TYPE_CHECKING:
    from py_service.stores.mongo import Mongo

HOLD = "unlocks-1:000000000001:000"


@dataclass
class FakeJournal:
    """One document, and how often it was read."""

    event: dict[str, Any]
    reads: int = 0

    @property
    def database(self) -> dict[str, FakeJournal]:
        return {"journal": self}

    async def find_one(self, query: dict[str, str], fields: object) -> dict[str, Any] | None:
        self.reads += 1
        return {"events": [self.event]} if query == {"_id": HOLD.rpartition(":")[0]} else None


def permissions(**changed: object) -> MadePermissions:
    return MadePermissions(images(device__lock1=device(), door__front=door(**changed)))  # type: ignore[arg-type]


def holds(submit: Callable[[Member], None], journal: FakeJournal | None = None, made: MadePermissions | None = None) -> Holds:
    found = journal or FakeJournal({"kind": "hold.authorized", "org": "acme", "lock": "lock1", "door": "front"})
    return Holds(cast("Mongo", found), (made or permissions()).index, submit)


async def test_whoever_asks_while_a_hold_begins_gets_that_one() -> None:
    submitted: list[Member] = []
    room = holds(submitted.append)
    asking = [asyncio.create_task(room.begin("acme", "lock1")) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    [member] = submitted
    assert member.event(NOW_MS, HOLD)["rule"] == "front"
    member.committed(NOW_MS, HOLD)
    assert await asyncio.gather(*asking) == [Begun(HOLD, NOW_MS, "front")] * 3
    assert await room.is_of("acme", "lock1", "front", HOLD)  # remembered


@pytest.mark.parametrize("end", ["late", "failed"])
async def test_a_hold_that_may_not_be_recorded_in_time_is_none(end: str) -> None:
    def submit(member: Member) -> None:
        if end == "late":
            assert member.late(HOLD) is None
        else:
            member.failed(stores_unavailable())

    room = holds(submit)
    with pytest.raises(Problem) as caught:
        await room.begin("acme", "lock1")
    assert caught.value.status == 503


async def test_a_door_that_was_shut_while_its_hold_waited_for_the_group_is_not_held() -> None:
    made = permissions()

    def submit(member: Member) -> None:
        made.index.load("acme", 2, images(device__lock1=device(), door__front=door("locked")))
        assert member.judge(NOW_MS) is False  # as the group does at its T

    assert await holds(submit, made=made).begin("acme", "lock1") is None


@pytest.mark.parametrize(
    ("organization", "lock", "of_door", "hold", "kind", "expected"),
    [
        ("acme", "lock1", "front", HOLD, "hold.authorized", True),
        ("acme", "lock1", "back", HOLD, "hold.authorized", False),
        ("acme", "lock2", "front", HOLD, "hold.authorized", False),
        ("other", "lock1", "front", HOLD, "hold.authorized", False),
        ("acme", "lock1", "front", HOLD, "authorized", False),
        ("acme", "lock1", "front", "unlocks-1:000000000002:000", "hold.authorized", False),
        ("acme", "lock1", "front", "unlocks-1:000000000001:001", "hold.authorized", False),
        ("acme", "lock1", "front", "garbage", "hold.authorized", False),
    ],
)
async def test_whose_a_hold_is_stands_in_the_journal(
    organization: str, lock: str, of_door: str, hold: str, kind: str, expected: bool
) -> None:
    journal = FakeJournal({"kind": kind, "org": "acme", "lock": "lock1", "door": "front"})
    room = holds(lambda member: None, journal)
    for _ in range(2):
        assert await room.is_of(organization, lock, of_door, hold) is expected
    assert journal.reads == (1 if kind == "hold.authorized" and hold == HOLD else 0 if hold == "garbage" else 2)


async def test_a_switched_off_lock_has_no_hold() -> None:
    member = HoldMember(MadePermissions(images(device__lock1=device(active=False), door__front=door())).index, "acme", "lock1")
    assert member.judge(NOW_MS) is False and await member.begun is None


# --- the lock --------------------------------------------------------------------------------


@dataclass
class Api:
    """Answers as it is told to; `None` is an answer that is lost."""

    answers: list[HoldLease | None]
    asked: list[str | None] = field(default_factory=list)

    async def hold(self, hold: str | None) -> HoldLease:
        self.asked.append(hold)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.sleep(60)
            raise AssertionError("waited for an answer that was lost")
        return answer


@dataclass
class Bolt:
    """`CommandAnswers` as the keeper sees it, over a real door."""

    door: Door
    breaks: bool = False

    def knows_the_time(self, tick: int) -> bool:
        return True

    def keep_time(self, tick: int) -> None:
        if self.breaks and self.door.free:
            raise OSError("the disk is full")

    def lease(self, hold: str, message: bytes, tick: int) -> str | None:
        return None if self.door.hold(tick, hold) else "lock_jammed"

    def release(self, tick: int) -> None:
        self.door.release(tick)


def keeper(api: Api, bolt: Bolt, monkeypatch: pytest.MonkeyPatch) -> HoldKeeper:
    for name, value in {"RETRY_MS": 50, "HINTED_MS": 10, "ANSWER_SECONDS_MAX": 0.06, "TICK_SECONDS": 0.01}.items():
        monkeypatch.setattr(keeping, name, value)

    async def ask_time() -> None:
        return None

    loop = asyncio.get_running_loop()
    return HoldKeeper(
        cast("DeviceApi", api), cast("CommandAnswers", bolt), bolt.door, ask_time, lambda: round(loop.time() * 1_000), lambda: None
    )


async def asked(api: Api, times: int) -> None:
    """Until it was asked so often, 3 s at most: an answer that is lost is waited for no longer than `ANSWER_SECONDS_MAX`."""
    async with asyncio.timeout(3):
        while True:
            if len(api.asked) >= times:
                return
            await asyncio.sleep(0.005)


LEASE = HoldLease(HOLD, "AA", 100)


async def test_a_question_that_is_lost_is_asked_again_while_the_lease_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    api, bolt = Api([LEASE, None, LEASE]), Bolt(Door())
    running = asyncio.create_task(keeper(api, bolt, monkeypatch).run())
    await asked(api, 3)  # 100 ms to the renewal, 60 ms lost, and at once again
    assert api.asked[:3] == [None, HOLD, HOLD] and bolt.door.free
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bolt.door.locked  # however it ends, the bolt goes out


async def test_a_hold_is_let_go_when_there_is_no_further_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    api, bolt = Api([LEASE, HoldLease(None, None, 10_000)]), Bolt(Door())
    running = asyncio.create_task(keeper(api, bolt, monkeypatch).run())
    await asked(api, 2)
    await asyncio.sleep(0.1)
    assert api.asked == [None, HOLD] and bolt.door.locked
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_defect_of_the_clock_ends_the_hold_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bolt = Bolt(Door(), breaks=True)
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(2):
            await keeper(Api([LEASE]), bolt, monkeypatch).run()
    assert bolt.door.locked
