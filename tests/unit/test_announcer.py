"""The announcer: what was paused stays silent, and what is said of a command is what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from py_service._core_rs import KeyRing, PermissionIndex
from py_service.journal.event import Event
from py_service.permissions.image import encode_images
from py_service.stores.bus import Bus, BusAway, BusUnknown, Delivery, Published
from py_service.stores.mongo import now_ms
from py_service.unlock.announcer import SILENT_AFTER_MS, Announcer, Stored
from py_service.unlock.attempt import Attempt, Lanes

if TYPE_CHECKING:
    from py_service._core_rs import Claims


PERSON: dict[str, object] = {
    "id": "ada", "name": "Ada", "email": "a@b.test", "kind": "employee", "state": "active", "valid_from": None, "valid_until": None,
    "groups": [], "roles": [], "tokens_valid_after": 0,
}  # fmt: skip
DOOR: dict[str, object] = {"id": "d", "site": "s", "area": "a", "name": "D", "lock": "l", "mode": "locked", "locked_down": False}
DEVICE: dict[str, object] = {"id": "l", "kind": "lock", "door": "d", "public_key": "A" * 43, "active": True}
GRANT: dict[str, object] = {
    "id": "g", "effect": "allow", "person": "ada", "group": None, "door": "d", "area": None, "site": None, "schedule": None,
    "valid_from": None, "valid_until": None,
}  # fmt: skip


@dataclass
class FakeBus:
    """Remembers what went out."""

    answer: bool | Exception = True
    deliveries: list[Delivery] = field(default_factory=list)
    events: list[Published] = field(default_factory=list)

    async def publish(self, deliveries: Sequence[Delivery], events: Sequence[Published]) -> list[bool]:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.deliveries += deliveries
        self.events += events
        return [self.answer] * len(deliveries)


@dataclass
class HeldBus(FakeBus):
    """Answers when it is `free`."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    stored: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, deliveries: Sequence[Delivery], events: Sequence[Published]) -> list[bool]:
        self.entered.set()
        await self.free.wait()
        taken = await super().publish(deliveries, events)
        if any(b'"stored"' in delivery.payload for delivery in deliveries):
            self.stored.set()
        return taken


@dataclass(frozen=True)
class FakeClaims:
    organization: str = "org"
    subject: str = "ada"
    session: str = "s1"
    issued_at_ms: int = 0
    expires_at_ms: int = 1 << 62


def index_with_open_door() -> PermissionIndex:
    index = PermissionIndex()
    index.load(
        "org",
        0,
        encode_images(
            [
                {"kind": "organization", "id": "org", "document": {"id": "org", "name": "Org", "active": True}},
                {"kind": "site", "id": "s", "document": {"id": "s", "name": "S", "time_zone": "Europe/Berlin", "locked_down": False}},
                {"kind": "area", "id": "a", "document": {"id": "a", "site": "s", "name": "A", "locked_down": False}},
                {"kind": "door", "id": "d", "document": DOOR}, {"kind": "device", "id": "l", "document": DEVICE},
                {"kind": "person", "id": "ada", "document": PERSON},
                {"kind": "grant", "id": "g", "document": GRANT},
            ]
        ),
    )  # fmt: skip
    return index


def ring() -> KeyRing:
    made = KeyRing(bytes(range(32)))
    made.generate("command", "org", "org.1")
    made.activate("command", "org", "org.1")
    return made


def committed_attempt(at_ms: int, wait_seconds: int = 0) -> Attempt:
    attempt = Attempt(
        index_with_open_door(),
        cast("Claims", FakeClaims()),
        "d",
        wait_seconds=wait_seconds,
        idempotency_key=None,
        pin=None,
        lanes=Lanes(print, print, lambda *_: False, lambda *_: ""),
        on_committed=lambda _: None,
    )
    assert attempt.judge(now_ms())
    assert attempt.allowed
    attempt.committed(at_ms, "unlocks-1:000000000001:000")
    return attempt


async def announced(bus: FakeBus, attempt: Attempt) -> list[Event]:
    owed: list[Event] = []
    announcer = Announcer(cast("Bus", bus), ring(), "api-1", owed.append)
    running = asyncio.create_task(announcer.run())
    announcer.command(attempt)
    await asyncio.wait_for(attempt.commanded, 2)
    running.cancel()
    return owed


async def test_a_fresh_command_goes_out_and_expires_five_seconds_after_t() -> None:
    bus, at_ms = FakeBus(), now_ms()
    attempt = committed_attempt(at_ms)
    assert await announced(bus, attempt) == []
    assert attempt.commanded.result().state == "commanded"
    assert len(bus.deliveries) == 1
    assert attempt.expires_at_ms == at_ms + 5_000


async def test_the_wait_that_was_asked_for_shortens_the_command() -> None:
    at_ms = now_ms()
    assert committed_attempt(at_ms, wait_seconds=2).expires_at_ms == at_ms + 2_000


async def test_a_process_that_was_paused_after_the_commit_stays_silent() -> None:
    bus = FakeBus()
    attempt = committed_attempt(now_ms() - SILENT_AFTER_MS)
    owed = await announced(bus, attempt)
    assert bus.deliveries == []
    assert attempt.outcome.result().state == "unlocked.failed"
    assert [event["reason"] for event in owed] == ["command_expired"]


async def test_a_wall_clock_that_was_set_back_does_not_hide_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = FakeBus()
    attempt = committed_attempt(now_ms())
    owed: list[Event] = []
    announcer = Announcer(cast("Bus", bus), ring(), "api-1", owed.append)
    announcer.command(attempt)
    ahead = time.monotonic() + SILENT_AFTER_MS / 1000
    monkeypatch.setattr("py_service.unlock.announcer.time.monotonic", lambda: ahead)
    running = asyncio.create_task(announcer.run())
    await asyncio.wait_for(attempt.commanded, 2)
    running.cancel()
    assert bus.deliveries == []


@pytest.mark.parametrize(
    ("answer", "state", "owed_reasons"),
    [
        (False, "unlocked.failed", ["door_unreachable"]),
        (BusAway("ConnectionError"), "unlocked.failed", ["door_unreachable"]),
        (BusUnknown("TimeoutError"), "unconfirmed", []),
    ],
)
async def test_unreachable_is_only_said_when_nothing_went_out(answer: bool | Exception, state: str, owed_reasons: list[str]) -> None:
    attempt = committed_attempt(now_ms())
    owed = await announced(FakeBus(answer), attempt)
    assert attempt.commanded.result().state == state
    assert [event["reason"] for event in owed] == owed_reasons


async def test_what_is_withdrawn_is_never_signed_and_recorded_once() -> None:
    """A command that waits behind a slow publish: whoever asked is told that none went out, and none goes out."""
    bus, owed = HeldBus(), list[Event]()
    announcer = Announcer(cast("Bus", bus), ring(), "api-1", owed.append)
    running = asyncio.create_task(announcer.run())
    first, second = committed_attempt(now_ms()), committed_attempt(now_ms())
    announcer.command(first)
    await asyncio.wait_for(bus.entered.wait(), 2)
    announcer.command(second)
    for _ in range(2):
        announcer.withdraw(first)  # it may be out: nothing is known
        announcer.withdraw(second)
    assert not first.commanded.done()
    assert (second.outcome.result().state, second.outcome.result().reason) == ("unlocked.failed", "command_expired")
    bus.free.set()
    await asyncio.wait_for(first.commanded, 2)
    announcer.stored(Stored("org", "l", 7))  # what comes after the second shows that it was passed over
    await asyncio.wait_for(bus.stored.wait(), 2)
    running.cancel()
    assert first.commanded.result().state == "commanded"
    assert [b'"command"' in delivery.payload for delivery in bus.deliveries] == [True, False]
    assert [event["reason"] for event in owed] == ["command_expired"]


async def test_stored_goes_to_the_lock_that_reported() -> None:
    bus = FakeBus()
    announcer = Announcer(cast("Bus", bus), ring(), "api-1", lambda _: None)
    running = asyncio.create_task(announcer.run())
    announcer.stored(Stored("org", "l", 7))
    await asyncio.sleep(0.01)
    running.cancel()
    assert [(delivery.lock, delivery.payload) for delivery in bus.deliveries] == [
        ("l", b'{"type":"stored","org":"org","lock":"l","number":7}')
    ]
