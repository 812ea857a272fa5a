"""Whose word a report is, and which attempt it ends: what the api hears (listener) and what the worker takes (late)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from bson.int64 import Int64

from py_service._core_rs import DeviceKey
from py_service.errors import Problem
from py_service.journal.event import Event, command_expires_at_ms
from py_service.journal.member import Member
from py_service.stores.bus import Bus, Delivery, Published
from py_service.unlock.announcer import Announcer
from py_service.unlock.attempt import Attempt, Lanes
from py_service.unlock.desk import Desk
from py_service.unlock.give_back import GiveBack
from py_service.unlock.late import LateReports
from py_service.unlock.listener import ReplyListener
from py_service.unlock.report import LockOff, ReportMember, ReportRefused, verify
from tests.unit.identity_support import NOW_MS, MadePermissions, images, make_ring

if TYPE_CHECKING:
    from py_service._core_rs import Claims
    from py_service.stores.mongo import Mongo

KEY = DeviceKey.from_seed(bytes([7]) * 32)
STRANGER = DeviceKey.from_seed(bytes([8]) * 32)
COMMAND = "unlocks-1:000000000001:000"
EXPIRES_MS = NOW_MS + 5_000


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def permissions(active: bool = True) -> MadePermissions:
    lock: dict[str, object] = {"kind": "lock", "door": "front", "public_key": base64url(KEY.public_key), "active": active}
    return MadePermissions(images(device__lock1=lock))


def report(
    result: str = "done", *, key: DeviceKey = KEY, lock: str = "lock1", kind: str = "outcome", number: int = 3,
    command: str | None = COMMAND, at_ms: int = NOW_MS, reason: str | None = None,
) -> str:  # fmt: skip
    return base64url(key.sign_report(lock, number, kind, command, result, reason, at_ms))


def test_a_command_lives_for_the_wait_that_was_asked_for_and_5_seconds_at_most() -> None:
    assert [command_expires_at_ms(1_000, wait) for wait in (None, 0, 1, 5, 10)] == [6_000, 6_000, 2_000, 6_000, 6_000]


# --- whose word it is ------------------------------------------------------------------------


def test_report_of_a_lock() -> None:
    found = verify(permissions().index, "acme", "lock1", report())
    assert (found.lock, found.number, found.kind, found.result, found.at_ms) == ("lock1", 3, "outcome", "done", NOW_MS)


@pytest.mark.parametrize(
    ("organization", "lock", "text", "code"),
    [
        ("acme", "lock1", report(key=STRANGER), "report_signature"),
        ("acme", "lock1", report(lock="lock2"), "report_wrong_lock"),
        ("acme", "lock2", report(lock="lock2"), "report_device_unknown"),
        ("other", "lock1", report(), "report_device_unknown"),
        ("acme", "lock1", report()[:-4], "report_malformed"),
        ("acme", "lock1", "", "report_malformed"),
        ("acme", "lock1", "not base64!", "report_malformed"),
        ("acme", "lock1", report() + "A" * 1_024, "report_malformed"),
        ("acme", "lock1", "A" * 2_052, "report_malformed"),
    ],
)
def test_refused_reports(organization: str, lock: str, text: str, code: str) -> None:
    with pytest.raises(ReportRefused) as caught:
        verify(permissions().index, organization, lock, text)
    assert caught.value.code == code


def test_report_of_a_switched_off_lock() -> None:
    with pytest.raises(LockOff) as caught:
        verify(permissions(active=False).index, "acme", "lock1", report())
    assert (caught.value.code, caught.value.report.number) == ("report_device_inactive", 3)


def test_forged_report_of_a_switched_off_lock_is_nobodys_word() -> None:
    with pytest.raises(ReportRefused) as caught:
        verify(permissions(active=False).index, "acme", "lock1", report(key=STRANGER))
    assert caught.value.code == "report_signature"


# --- what the worker makes of it -------------------------------------------------------------


@dataclass
class FakeBus:
    """What was left for the worker, and what was said to locks."""

    left: list[dict[str, str]] = field(default_factory=list)
    stored: list[Delivery] = field(default_factory=list)
    passed_on: list[tuple[str, str, str]] = field(default_factory=list)

    async def left_reports(self, count: int) -> list[tuple[bytes, dict[str, str]]]:
        return [(str(number).encode(), fields) for number, fields in enumerate(self.left)]

    async def forget_reports(self, names: list[bytes]) -> None:
        self.left.clear()

    async def publish(self, deliveries: Sequence[Delivery], events: Sequence[Published]) -> list[bool]:
        self.stored += deliveries
        return [True] * len(deliveries)

    async def leave_report(self, organization: str, lock: str, text: str) -> None:
        self.passed_on.append((organization, lock, text))


@dataclass
class FakeCollection:
    """Documents found by equality."""

    documents: list[dict[str, Any]]

    async def find_one(self, query: dict[str, Any], projection: object = None) -> dict[str, Any] | None:
        return next((document for document in self.documents if query.items() <= document.items()), None)

    def find(self, query: dict[str, Any]) -> FakeCollection:
        return FakeCollection([document for document in self.documents if query.items() <= document.items()])

    async def to_list(self) -> list[dict[str, Any]]:
        return self.documents


@dataclass
class FakeMongo:
    """The journal with one event, and its projection."""

    event: Event
    projected: list[Event]

    @property
    def database(self) -> dict[str, FakeCollection]:
        journal = {"_id": COMMAND.rpartition(":")[0], "events": [self.event]}
        return {"journal": FakeCollection([journal]), "events": FakeCollection(self.projected)}


def authorized(**changed: object) -> Event:
    event: Event = {
        "kind": "authorized",
        "org": "acme",
        "at": NOW_MS,
        "attempt": COMMAND,
        "door": "front",
        "person": "ada",
        "lock": "lock1",
    }
    return event | changed


async def taken(text: str, *, active: bool = True, event: Event | None = None, ends: Sequence[str] = ()) -> Event | None:
    """The event that the worker makes of a report; None when it is dropped."""
    projected: list[Event] = [{"kind": kind, "org": "acme", "attempt": COMMAND, "position": 2} for kind in ends]
    mongo = FakeMongo(event or authorized(), projected)
    made, members = permissions(active), list[Member]()
    bus = FakeBus([{"org": "acme", "lock": "lock1", "report": text}])
    late = LateReports(cast("Mongo", mongo), cast("Bus", bus), made.index, members.append, members.append, made.current)
    assert await late.step() == 1
    if not members:
        assert bus.left == []
        return None
    [member] = members
    assert member.key == "report:acme:lock1:3"
    found = member.event(NOW_MS, "worker-1:000000000001:000")
    member.committed(NOW_MS, "worker-1:000000000001:000")
    await late.step()
    assert bus.left == [] and len(bus.stored) == 1
    return found


@pytest.mark.parametrize(
    ("result", "reason", "kind", "said"),
    [
        ("done", None, "unlocked", None),
        ("refused", "clock_unsure", "unlocked.failed", "lock_refused"),
        ("refused", "lock_jammed", "unlocked.failed", "lock_jammed"),
        ("expired", "command_expired", "unlocked.failed", "command_expired"),
    ],
)
async def test_the_end_of_an_attempt(result: str, reason: str | None, kind: str, said: str | None) -> None:
    found = await taken(report(result, reason=reason))
    assert found is not None
    assert (found["kind"], found.get("reason"), found["attempt"], found["person"]) == (kind, said, COMMAND, "ada")


@pytest.mark.parametrize("at_ms", [NOW_MS - 1_000, NOW_MS, EXPIRES_MS, EXPIRES_MS + 1_000])
async def test_done_while_the_command_lived(at_ms: int) -> None:
    found = await taken(report(at_ms=at_ms))
    assert found is not None and found["kind"] == "unlocked"


async def test_done_corrects_what_the_worker_had_concluded() -> None:
    found = await taken(report(), ends=["unlocked.failed"])
    assert found is not None and found["kind"] == "unlocked"


@pytest.mark.parametrize(
    ("text", "event", "ends"),
    [
        (report(at_ms=NOW_MS - 1_001), authorized(), []),
        (report(at_ms=EXPIRES_MS + 1_001), authorized(), []),
        (report(at_ms=NOW_MS + 2_001), authorized(wait=1), []),
        (report(), authorized(at=NOW_MS - 86_400_000), []),
        (report(), authorized(), ["unlocked"]),
        (report(), authorized(), ["not_commanded"]),
        (report(), authorized(lock="lock2"), []),
        (report(), authorized(org="other"), []),
        (report(), authorized(kind="authorized.failed"), []),
        (report(command="unlocks-1:000000000009:000"), authorized(), []),
        (report(command="garbage"), authorized(), []),
    ],
    ids=[
        "early",
        "late",
        "short wait",
        "old",
        "ended",
        "not commanded",
        "foreign lock",
        "foreign",
        "refused",
        "unknown",
        "garbage",
    ],
)
async def test_acted_on_nothing_is_an_alarm_and_a_refusal_of_the_same_is_not(text: str, event: Event, ends: list[str]) -> None:
    found = await taken(text, event=event, ends=ends)
    assert found is not None
    assert (found["kind"], found["detail"]["result"], "attempt" in found) == ("report.unmatched", "done", False)
    said = verify(permissions().index, "acme", "lock1", text)
    for result in ("refused", "expired"):
        calm = await taken(report(result, command=said.command, at_ms=said.at_ms, reason="command_signature"), event=event, ends=ends)
        assert calm is not None
        assert (calm["kind"], calm["detail"]["command"], "attempt" in calm) == ("command.refused", said.command, False)
        assert calm["detail"]["lock_reason"] == "command_signature"


def hold(**changed: object) -> Event:
    event = {name: value for name, value in authorized(kind="hold.authorized").items() if name != "person"}
    return event | changed


@pytest.mark.parametrize(
    ("result", "reason", "kind", "said"),
    [("done", None, "hold.begun", None), ("refused", "lock_jammed", "hold.failed", "lock_jammed")],
)
async def test_what_became_of_a_hold(result: str, reason: str | None, kind: str, said: str | None) -> None:
    found = await taken(report(result, reason=reason), event=hold())
    assert found is not None
    assert (found["kind"], found.get("reason"), found["attempt"], found["door"], "person" in found) == (kind, said, COMMAND, "front", False)


@pytest.mark.parametrize(
    ("text", "event", "ends"),
    [
        (report(), hold(), ["hold.begun"]),
        (report(at_ms=EXPIRES_MS + 1_001), hold(), []),
        (report(), hold(lock="lock2"), []),
        (report(), hold(org="other"), []),
    ],
    ids=["begun before", "long after the first lease", "another lock's", "another organization's"],
)
async def test_a_hold_explains_one_move_of_one_lock(text: str, event: Event, ends: list[str]) -> None:
    found = await taken(text, event=event, ends=ends)
    assert found is not None and found["kind"] == "report.unmatched"


@pytest.mark.parametrize("text", [report(), report("refused"), report("FORCED_OPEN", kind="door", command=None)])
async def test_a_switched_off_lock_ends_nothing_and_is_an_alarm(text: str) -> None:
    found = await taken(text, active=False)
    assert found is not None
    assert (found["kind"], found["detail"]["lock_off"], "attempt" in found) == ("report.unmatched", True, False)


async def test_a_lock_that_is_switched_off_while_it_holds_its_door_lets_go_without_an_alarm() -> None:
    found = await taken(report("NORMAL", kind="door", command=None), active=False)
    assert found is not None
    assert (found["kind"], found["detail"]["state"], found["detail"]["lock_off"]) == ("door.state", "NORMAL", True)


TAKEN = {"passes": ["p1"], "entered": "vault", "entered_at": Int64(NOW_MS)}  # as it is read from the journal


async def late_members(text: str) -> tuple[LateReports, list[Member], FakeBus]:
    made, members = permissions(), list[Member]()
    bus = FakeBus([{"org": "acme", "lock": "lock1", "report": text}])
    mongo = FakeMongo(authorized(taken=TAKEN), [])
    late = LateReports(cast("Mongo", mongo), cast("Bus", bus), made.index, members.append, members.append, made.current)
    await late.step()
    return late, members, bus


@pytest.mark.parametrize("end", ["committed", "duplicate", "late"])
async def test_what_a_dead_process_would_have_given_back_is_given_back_before_its_end_is_written(end: str) -> None:
    late, members, bus = await late_members(report("refused", reason="lock_jammed"))
    [back] = members
    assert isinstance(back, GiveBack) and back.key == f"give_back:{COMMAND}"
    missing = back.settle(b"{}", NOW_MS).missing
    assert missing == ["area.vault", "inside.vault.ada", "pass.p1"]
    records = {"area.vault": {"count": 2}, "inside.vault.ada": {"entered_at": NOW_MS}, "pass.p1": {"used": 3}}
    written = msgspec.json.decode(back.settle(msgspec.json.encode(records), NOW_MS).records)
    assert written == {"area.vault": {"count": 1}, "inside.vault.ada": {}, "pass.p1": {"used": 2}}
    if end == "committed":
        back.committed(NOW_MS, "settled-1:000000000001:000")
    elif end == "duplicate":
        back.duplicate({})  # the process that asked had done it, and died before it wrote the end
    else:
        back.late("settled-1:000000000001:000")
    assert [member.event(NOW_MS, "")["kind"] for member in members[1:]] == ["unlocked.failed"]
    members[1].committed(NOW_MS, "worker-1:000000000001:000")
    await late.step()
    assert bus.left == [] and len(bus.stored) == 1


async def test_an_end_waits_for_what_could_not_be_given_back() -> None:
    late, members, bus = await late_members(report("expired", reason="command_expired"))
    members[0].failed(Problem(503, "stores_unavailable", "The stores are away."))
    assert len(members) == 1 and len(bus.left) == 1
    await late.step()
    assert [type(member) for member in members] == [GiveBack, GiveBack], "read and tried again"


@pytest.mark.parametrize("text", [report("done"), report("refused", reason="command_replayed")])
async def test_what_may_have_opened_the_door_keeps_what_it_took(text: str) -> None:
    _, members, _ = await late_members(text)
    assert [type(member) for member in members] == [ReportMember]


async def test_a_state_of_the_door() -> None:
    found = await taken(report("FORCED_OPEN", kind="door", command=None))
    assert found is not None
    assert (found["kind"], found["door"], found["detail"]["state"]) == ("door.state", "front", "FORCED_OPEN")


async def test_a_forged_report_is_dropped() -> None:
    assert await taken(report(key=STRANGER)) is None


async def test_a_lock_that_was_switched_off_a_moment_ago() -> None:
    """The worker asks the store before it believes a lock."""
    made, members = permissions(), list[Member]()
    made.following = images(device__lock1={"kind": "lock", "door": "front", "public_key": base64url(KEY.public_key), "active": False})
    bus = FakeBus([{"org": "acme", "lock": "lock1", "report": report()}])
    late = LateReports(
        cast("Mongo", FakeMongo(authorized(), [])), cast("Bus", bus), made.index, members.append, members.append, made.current
    )
    await late.step()
    assert [member.event(0, "")["kind"] for member in members] == ["report.unmatched"]


# --- what the api makes of it ----------------------------------------------------------------


@dataclass(frozen=True)
class FakeClaims:
    organization: str = "acme"
    subject: str = "ada"
    session: str = "s1"
    issued_at_ms: int = 0
    expires_at_ms: int = 1 << 62


@dataclass
class Heard:
    """A listener with one attempt that waits for lock1."""

    active: bool = True
    bus: FakeBus = field(default_factory=FakeBus)
    members: list[Member] = field(default_factory=list)
    desk: Desk = field(default_factory=Desk)
    given_back: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        claims = cast("Claims", FakeClaims())
        made = permissions(self.active)
        self.attempt = Attempt(
            made.index,
            claims,
            "front",
            wait_seconds=0,
            idempotency_key=None,
            pin=None,
            lanes=Lanes(print, self.given_back.append, lambda *_: False, lambda *_: ""),
            on_committed=self.desk.add,
        )
        assert self.attempt.judge(NOW_MS) and self.attempt.allowed
        self.attempt.committed(NOW_MS, COMMAND)
        announcer = Announcer(cast("Bus", self.bus), make_ring(), "api-1", lambda _: None)
        self.listener = ReplyListener(cast("Bus", self.bus), "api-1", made.index, self.desk, announcer, self.members.append)

    async def hear(self, text: str) -> None:
        message = {"type": "report", "org": "acme", "lock": "lock1", "number": 3, "command": COMMAND, "report": text}
        await self.listener._hear(msgspec.json.encode(message))


async def test_the_lock_that_is_waited_for() -> None:
    heard = Heard()
    await heard.hear(report())
    assert heard.attempt.outcome.result().state == "unlocked"
    assert [type(member) for member in heard.members] == [ReportMember]
    assert heard.bus.passed_on == [] and len(heard.desk) == 0


@pytest.mark.parametrize("text", [report(at_ms=NOW_MS - 1_001), report(at_ms=EXPIRES_MS + 1_001), report(command="another")])
async def test_what_does_not_end_the_attempt_goes_on_to_the_worker(text: str) -> None:
    heard = Heard()
    await heard.hear(text)
    assert not heard.attempt.outcome.done() and heard.members == [] and len(heard.desk) == 1
    assert heard.bus.passed_on == [("acme", "lock1", text)]


async def test_a_switched_off_lock_settles_nothing() -> None:
    heard = Heard(active=False)
    await heard.hear(report())
    assert not heard.attempt.outcome.done() and heard.members == [] and len(heard.desk) == 1
    assert heard.bus.passed_on == [("acme", "lock1", report())]


@pytest.mark.parametrize(
    ("text", "goes_back"),
    [(report("refused", reason="lock_jammed"), 1), (report("refused", reason="command_replayed"), 0), (report(), 0)],
)
async def test_what_was_taken_goes_back_when_nothing_can_have_moved(text: str, goes_back: int) -> None:
    """A lock that was given the command twice refuses the second: with the first it may have opened."""
    heard = Heard()
    heard.attempt._ruling = replace(heard.attempt.ruling, taken=b"{}")
    await heard.hear(text)
    assert heard.attempt.outcome.done() and len(heard.given_back) == goes_back


async def test_a_lock_without_the_time_refuses_all_the_same() -> None:
    heard = Heard()
    await heard.hear(report("refused", reason="clock_unsure", at_ms=0))
    assert heard.attempt.outcome.result().reason == "lock_refused"


async def test_a_forged_report_is_heard_by_nobody() -> None:
    heard = Heard()
    await heard.hear(report(key=STRANGER))
    assert not heard.attempt.outcome.done() and heard.members == [] and heard.bus.passed_on == []
