"""The simulated door against its law, stated a second time by looking back over everything that happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from py_service.simulators.door import Door, Move, StateChange

UNLOCK_MS = 5_000
OPEN_TOO_LONG_MS = 30_000


@dataclass
class Truth:
    """The law in its plainest form. No code is shared with `Door`."""

    now: int = 0
    free_until: int = 0  # the bolt is back until then
    open_since: int | None = None
    forced: bool = False
    back: bool = False

    def pass_time(self, now: int) -> None:
        self.now = max(self.now, now)
        if self.back and self.open_since is None and self.now >= self.free_until:
            self.back = False

    def state(self, fault: bool) -> str:
        if self.open_since is not None and self.forced:
            return "FORCED_OPEN"
        if self.open_since is not None and self.now - self.open_since >= OPEN_TOO_LONG_MS:
            return "DOOR_OPEN_TOO_LONG"
        return "LOCK_FAULT" if fault else "NORMAL"


class DoorMachine(RuleBasedStateMachine):
    """Any order of commands, people and pauses; jams are tested apart."""

    def __init__(self) -> None:
        super().__init__()
        self.door = Door(unlock_ms=UNLOCK_MS, open_too_long_ms=OPEN_TOO_LONG_MS)
        self.truth = Truth()
        self.commands = 0
        self.moves: list[Move] = []
        self.states: list[StateChange] = []

    @rule(pause=st.integers(-100, 40_000))
    def wait(self, pause: int) -> None:
        self.truth.pass_time(self.truth.now + pause)
        self.door.tick(self.truth.now)

    @rule()
    def wait_until_it_is_due(self) -> None:
        if (due := self.door.next_deadline_ms()) is not None:
            assert due > self.truth.now, "a deadline that has passed was not acted on"
            self.truth.pass_time(due)
            self.door.tick(due)

    @rule()
    def command(self) -> None:
        self.commands += 1
        assert self.door.unlock(self.truth.now, f"c{self.commands}")
        self._free()

    @rule()
    def request_to_exit(self) -> None:
        self.door.request_to_exit(self.truth.now)
        self._free()
        assert not self.door.locked, "egress is always free"

    @rule()
    def open_it(self) -> None:
        if self.truth.open_since is None:
            self.truth.forced = not self.truth.back
            self.truth.open_since = self.truth.now
        self.door.opened(self.truth.now)

    @rule()
    def close_it(self) -> None:
        self.truth.open_since = None
        self.truth.pass_time(self.truth.now)
        self.door.closed(self.truth.now)

    def _free(self) -> None:
        self.truth.back = True
        self.truth.free_until = max(self.truth.free_until, self.truth.now + UNLOCK_MS)

    @invariant()
    def it_obeys_the_law(self) -> None:
        effects = self.door.take_effects()
        self.moves += [effect for effect in effects if isinstance(effect, Move)]
        self.states += [effect for effect in effects if isinstance(effect, StateChange)]
        assert self.door.locked is not self.truth.back
        assert self.door.open is (self.truth.open_since is not None)
        assert self.door.state == self.truth.state(fault=False)

    @invariant()
    def what_it_told_is_what_it_did(self) -> None:
        assert [move.command for move in self.moves if move.command] == [f"c{n + 1}" for n in range(self.commands)]
        bolt = [move.what for move in self.moves if move.what != "held"]
        assert bolt == ["unlocked", "locked"] * (len(bolt) // 2) + ["unlocked"] * (len(bolt) % 2)
        assert (len(bolt) % 2 == 1) is self.truth.back
        told = ["NORMAL", *(change.state for change in self.states)]
        assert all(before != after for before, after in pairwise(told)), "a state was told twice"
        assert told[-1] == self.door.state


DoorMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestDoor = DoorMachine.TestCase


def test_a_jam_refuses_and_moves_nothing() -> None:
    door = Door()
    door.jammed = True
    assert door.unlock(100, "c1") is False
    assert door.locked
    assert door.take_effects() == [StateChange(100, "LOCK_FAULT")]
    door.jammed = False
    assert door.unlock(200, "c2")
    assert door.take_effects() == [StateChange(200, "NORMAL"), Move(200, "unlocked", "c2")]


def test_a_jam_does_not_hold_people_in() -> None:
    door = Door()
    door.jammed = True
    door.request_to_exit(100)
    assert door.take_effects() == [Move(100, "unlocked", None)]


def test_the_bolt_relocks_only_once_the_door_is_closed() -> None:
    door = Door(unlock_ms=1_000)
    door.unlock(0, "c1")
    door.opened(500)
    door.tick(9_000)
    door.closed(9_500)
    assert door.take_effects() == [Move(0, "unlocked", "c1"), Move(9_500, "locked", None)]
