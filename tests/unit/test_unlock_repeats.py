"""A repeat of an unlock is held against the first: the door, and the PIN without keeping it or letting anybody guess at it."""

from __future__ import annotations

import pytest

from py_service.errors import Problem
from py_service.permissions.pin import Pins
from py_service.unlock.attempt import Replay
from py_service.unlock.recall import WRONG_PINS_MAX, WRONG_PINS_SECONDS, Repeats


class Scene:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.repeats = Repeats(lambda: self.now)

    def told(self, *, same: bool = True, with_pin: bool = True, person: str = "ada", door: str = "front") -> int:
        event = {"org": "acme", "person": person, "door": "front"}
        try:
            self.repeats.check(Replay(event, "log:1:0", asked_with_pin=with_pin, same_pin=same), door)
        except Problem as problem:
            return problem.status
        return 200


def test_another_door_and_another_pin_are_another_request() -> None:
    scene = Scene()
    assert scene.told() == scene.told(with_pin=False) == 200
    assert scene.told(door="back") == scene.told(same=False) == 422


def test_a_pin_cannot_be_guessed_by_repeating() -> None:
    scene = Scene()
    assert [scene.told(same=False) for _ in range(WRONG_PINS_MAX)] == [422] * WRONG_PINS_MAX
    assert scene.told(same=False) == scene.told(same=True) == 429  # the right one isn't told apart any more
    assert scene.told(with_pin=False) == scene.told(person="eve") == 200
    scene.now += WRONG_PINS_SECONDS - 1
    assert scene.told() == 429
    scene.now += 1
    assert scene.told() == 200
    assert scene.told(same=False) == 422


def test_right_repeats_are_not_counted() -> None:
    scene = Scene()
    assert {scene.told() for _ in range(3 * WRONG_PINS_MAX)} == {200}


@pytest.mark.parametrize(
    "other", [("other", "ada", "4711", "k"), ("acme", "eve", "4711", "k"), ("acme", "ada", "4712", "k"), ("acme", "ada", "4711", "l")]
)
def test_a_mark_is_of_one_request_and_needs_the_master_key(other: tuple[str, str, str, str]) -> None:
    pins, request = Pins(bytes(32)), ("acme", "ada", "4711", "k")
    mark = pins.mark(*request)
    assert len(mark) == 43
    assert mark == Pins(bytes(32)).mark(*request)
    assert mark not in (pins.mark(*other), Pins(bytes([1]) * 32).mark(*request), pins.hashed("acme", "ada", "4711"))
