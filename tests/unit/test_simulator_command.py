"""How the simulated lock answers commands, with the verifier that firmware embeds and commands that a real key ring signed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from py_service._core_rs import DeviceKey, KeyRing, LockVerifier, verify_report
from py_service.simulators.command import CommandAnswers
from py_service.simulators.door import Door
from py_service.simulators.moves import MoveLog, read_moves
from py_service.simulators.reports import ReportBook

ORGANIZATION, LOCK, DOOR = "nordlicht", "lock-1", "door-1"
TICK = 50_000
NOW = 1_800_000_000_000


class Bench:
    """A lock on a bench: the key ring plays the service, `tick` is the lock's own."""

    def __init__(self, folder: Path) -> None:
        self.ring = KeyRing(os.urandom(32))
        self.key_id = f"{ORGANIZATION}.1"
        self.ring.generate("command", ORGANIZATION, self.key_id)
        self.ring.activate("command", ORGANIZATION, self.key_id)
        self.verifier = LockVerifier(ORGANIZATION, LOCK, self.key_id, self.ring.public_key("command", ORGANIZATION, self.key_id), 64)
        self.key = DeviceKey.generate()
        self.door = Door()
        self.reports = ReportBook(boot_ms=1)
        self.moves_file = folder / "moves"
        self.answers = CommandAnswers(LOCK, self.key, self.verifier, self.door, self.reports, MoveLog(self.moves_file))

    def set_time(self) -> None:
        nonce = os.urandom(16)
        self.verifier.begin_time(nonce, TICK)
        self.verifier.accept_time(self.ring.sign_time(ORGANIZATION, LOCK, nonce, NOW), TICK + 10)

    def command(self, name: str, issued_ms: int = NOW + 10, lock: str = LOCK) -> bytes:
        return self.ring.sign_command(ORGANIZATION, lock, DOOR, "unlock", name, issued_ms, issued_ms + 5_000)

    def answer(self, name: str, message: bytes, tick: int = TICK + 20) -> tuple[str, str | None, str | None]:
        pending = self.answers.answer(name, message, tick)
        report = verify_report(self.key.public_key, pending.report, LOCK)
        assert report.number == pending.number
        return report.result, report.reason, report.command

    def moved(self) -> list[str | None]:
        return [line.command for line in read_moves(self.moves_file) if line.what != "locked"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.set_time()
    return made


def test_a_good_command_moves_the_bolt_and_is_reported(bench: Bench) -> None:
    assert bench.answer("c1", bench.command("c1")) == ("done", None, "c1")
    assert bench.moved() == ["c1"]
    assert not bench.door.locked


def test_a_command_that_comes_again_gets_its_first_answer_and_moves_nothing(bench: Bench) -> None:
    message = bench.command("c1")
    first = bench.answers.answer("c1", message, TICK + 20)
    bench.reports.stored(first.number)
    again = bench.answers.answer("c1", message, TICK + 30)
    assert (again.number, again.report) == (first.number, first.report)
    assert bench.moved() == ["c1"]


@pytest.mark.parametrize("jammed", [False, True])
def test_a_command_that_comes_again_after_its_end_still_gets_its_first_answer(bench: Bench, jammed: bool) -> None:
    bench.door.jammed = jammed
    message = bench.command("c1")
    first = bench.answers.answer("c1", message, TICK + 20)
    bench.reports.stored(first.number)
    again = bench.answers.answer("c1", message, TICK + 6_000)
    assert (again.number, again.report) == (first.number, first.report)
    assert bench.moved() == ([] if jammed else ["c1"])
    assert bench.answer("c2", bench.command("c2"), TICK + 6_000) == ("expired", "command_expired", "c2")


def test_a_jammed_lock_says_so_again_when_asked_again(bench: Bench) -> None:
    bench.door.jammed = True
    message = bench.command("c1")
    assert bench.answer("c1", message) == ("refused", "lock_jammed", "c1")
    bench.door.jammed = False
    assert bench.answer("c1", message) == ("refused", "lock_jammed", "c1")
    assert bench.moved() == []


@pytest.mark.parametrize(
    ("make", "result", "reason"),
    [
        (lambda bench: bench.command("c1", lock="lock-2"), "refused", "command_wrong_lock"),
        (lambda bench: bench.command("c1", issued_ms=NOW - 1_000), "refused", "command_before_start"),
        (lambda bench: bench.command("c1")[:-1] + b"\xff", "refused", "command_signature"),
        (lambda bench: b"", "refused", "command_malformed"),
    ],
)
def test_what_the_verifier_refuses_is_reported_and_moves_nothing(
    bench: Bench, make: Callable[[Bench], bytes], result: str, reason: str
) -> None:
    assert bench.answer("c1", make(bench)) == (result, reason, "c1")
    assert bench.moved() == []


def test_a_late_command_is_reported_as_expired(bench: Bench) -> None:
    assert bench.answer("c1", bench.command("c1"), TICK + 6_000) == ("expired", "command_expired", "c1")
    assert bench.moved() == []


def test_a_lock_without_time_refuses(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.answer("c1", bench.command("c1"))[:2] == ("refused", "clock_unsure")
    assert bench.moved() == []


def test_a_forged_frame_does_not_spoil_the_answer_of_the_real_command(bench: Bench) -> None:
    assert bench.answer("c1", b"forged")[0] == "refused"
    message = bench.command("c1")
    assert bench.answer("c1", message) == ("done", None, "c1")
    assert bench.answer("c1", b"forged")[0] == "refused"
    assert bench.answer("c1", message) == ("done", None, "c1")
    assert bench.moved() == ["c1"]


def test_the_signed_id_counts_and_not_the_frames(bench: Bench) -> None:
    assert bench.answer("another", bench.command("c1")) == ("done", None, "c1")
    assert bench.moved() == ["c1"]


def locked(bench: Bench) -> bool:
    return bench.door.locked


def state(bench: Bench) -> str:
    return bench.door.state


def lease(bench: Bench, after_ms: int = 10, hold: str = "h1") -> bytes:
    return bench.ring.sign_command(ORGANIZATION, LOCK, DOOR, "hold", hold, NOW + after_ms, NOW + after_ms + 5_000)


def reports_of(bench: Bench) -> list[tuple[str, str | None]]:
    said = [verify_report(bench.key.public_key, pending.report, LOCK) for pending in bench.reports.due(10**15)]
    return [(report.result, report.command) for report in said]


def test_a_lease_keeps_the_bolt_back_until_it_ends_and_is_told_once(bench: Bench) -> None:
    assert bench.answers.lease("h1", lease(bench), TICK + 20) is None
    bench.answers.keep_time(TICK + 2_000)
    assert bench.answers.lease("h1", lease(bench, 2_010), TICK + 2_030) is None
    bench.answers.keep_time(TICK + 7_015)
    assert not locked(bench) and bench.moved() == ["h1"]
    assert reports_of(bench) == [("FREE_ACCESS", None), ("done", "h1")]
    bench.answers.keep_time(TICK + 7_020)  # told NOW at tick + 10: the lease ends at NOW + 7,010
    assert locked(bench)
    assert reports_of(bench)[2:] == [("NORMAL", None)]
    assert [line.what for line in read_moves(bench.moves_file)] == ["unlocked", "locked"]


def test_a_hold_that_is_over_begins_again_under_another_id_only(bench: Bench) -> None:
    assert bench.answers.lease("h1", lease(bench), TICK + 20) is None
    bench.answers.release(TICK + 100)
    assert locked(bench)
    told = reports_of(bench)
    assert (
        bench.answers.lease("h1", lease(bench, 200), TICK + 300) == "command_replayed"
    )  # renewed too late: its event told of the first time
    assert reports_of(bench) == told
    assert locked(bench) and not bench.verifier.holds(TICK + 301)
    assert bench.answers.lease("h2", lease(bench, 400, "h2"), TICK + 500) is None
    assert bench.moved() == ["h1", "h2"]


def test_a_lease_that_comes_as_a_command_holds_nothing(bench: Bench) -> None:
    assert bench.answers.lease("h0", lease(bench, 5, "h0"), TICK + 15) is None
    assert bench.answer("h0", lease(bench, 5, "h0")) == ("refused", "command_action_unknown", "h0")
    assert not locked(bench)  # nor does it end what is held
    bench.answers.release(TICK + 25)
    assert bench.answer("h1", lease(bench)) == ("refused", "command_action_unknown", "h1")
    bench.answers.keep_time(TICK + 30)
    assert locked(bench) and bench.moved() == ["h0"] and not bench.verifier.holds(TICK + 30)


def test_a_command_that_comes_as_a_lease_moves_nothing(bench: Bench) -> None:
    assert bench.answers.lease("h1", bench.command("c1"), TICK + 20) == "command_action_unknown"
    assert locked(bench) and bench.moved() == []
    assert reports_of(bench) == [("refused", "h1")]
    assert bench.answer("c1", bench.command("c1"), TICK + 25) == ("done", None, "c1")  # its id isn't used up


def test_a_jammed_bolt_is_not_held(bench: Bench) -> None:
    bench.door.jammed = True
    assert bench.answers.lease("h1", lease(bench), TICK + 20) == "lock_jammed"
    assert reports_of(bench) == [("LOCK_FAULT", None), ("refused", "h1")]
    assert bench.moved() == [] and not bench.door.free


def test_a_door_that_stands_open_when_its_hold_ends_is_shut_by_who_shuts_it(bench: Bench) -> None:
    bench.answers.lease("h1", lease(bench), TICK + 20)
    bench.door.opened(TICK + 30)
    bench.answers.keep_time(TICK + 4_000)
    bench.answers.release(TICK + 4_100)
    assert not locked(bench) and state(bench) == "NORMAL"
    bench.answers.keep_time(TICK + 34_100)
    assert state(bench) == "DOOR_OPEN_TOO_LONG"  # counted from the end of the hold
    bench.door.closed(TICK + 34_200)
    assert locked(bench) and state(bench) == "NORMAL"


def test_a_lease_that_lapsed_a_moment_ago_is_over_before_the_next_is_taken(bench: Bench) -> None:
    assert bench.answers.lease("h1", lease(bench), TICK + 20) is None
    assert bench.answers.lease("h1", lease(bench, 5_000), TICK + 5_030) == "command_replayed"
    assert locked(bench) and bench.moved() == ["h1"]


def test_a_lease_that_comes_too_late_is_told(bench: Bench) -> None:
    assert bench.answers.lease("h1", lease(bench), TICK + 5_020) == "command_expired"
    assert reports_of(bench) == [("expired", "h1")] and locked(bench)


def test_who_asks_at_a_held_door_is_let_in_and_keeps_the_bolt_back_for_as_long_as_ever(bench: Bench) -> None:
    bench.answers.lease("h1", lease(bench), TICK + 20)
    assert bench.answer("c1", bench.command("c1"), TICK + 100) == ("done", None, "c1")
    bench.answers.release(TICK + 200)
    bench.answers.keep_time(TICK + 5_099)
    assert not locked(bench)
    bench.answers.keep_time(TICK + 5_100)
    assert locked(bench)


def test_door_states_are_reported_signed_and_numbered(bench: Bench) -> None:
    bench.door.opened(TICK + 100)
    bench.answers.report_door(TICK + 100)
    (pending,) = bench.reports.due(TICK + 100)
    report = verify_report(bench.key.public_key, pending.report, LOCK)
    assert (report.kind, report.result, report.command) == ("door", "FORCED_OPEN", None)
    assert abs(report.at_ms - (NOW + 90)) <= 20
