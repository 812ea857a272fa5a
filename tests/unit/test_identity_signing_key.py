"""A signing key's life by the clock."""

from __future__ import annotations

import pytest

from py_service.identity.signing_key import VERIFIES_AFTERWARDS_MS, SigningKey, State, states_at


def key(number: int, activate_at: int, state: State = "verifying") -> SigningKey:
    return SigningKey("access", "", f"access.{number}", b"", state, 0, activate_at)


@pytest.mark.parametrize(
    ("now_ms", "expected"),
    [
        (0, {"access.1": "active", "access.2": "verifying"}),
        (999, {"access.1": "active", "access.2": "verifying"}),
        (1_000, {"access.1": "verifying", "access.2": "active"}),
        (999 + VERIFIES_AFTERWARDS_MS, {"access.1": "verifying", "access.2": "active"}),
        (1_000 + VERIFIES_AFTERWARDS_MS, {"access.1": "retired", "access.2": "active"}),
    ],
)
def test_a_rotation(now_ms: int, expected: dict[str, State]) -> None:
    assert states_at([key(2, 1_000), key(1, 0)], now_ms) == expected


def test_the_first_key_signs_even_when_a_clock_is_behind() -> None:
    assert states_at([key(1, 1_000)], 0) == {"access.1": "active"}


def test_tenth_key_comes_after_the_ninth() -> None:
    assert states_at([key(10, 5), key(9, 4)], 6) == {"access.9": "verifying", "access.10": "active"}


def test_retired_stays_retired() -> None:
    assert states_at([key(1, 0), key(2, 5, "retired")], 10) == {"access.1": "active"}
    assert states_at([], 0) == {}
