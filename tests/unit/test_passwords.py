"""New passwords: what is guessed first is refused, whatever way it is typed; what nobody guesses is taken."""

from __future__ import annotations

import random
import string

import pytest

from py_service.errors import Problem
from py_service.identity.passwords import check_new_password

EMAIL, NAME = "verylongaddress@nordlicht.example", "Averylongnameofmine"
GUESSED = [
    "averylongnameofmine", " Averylongnameofmine ", "\uff21verylongnameofmine", "AVERYLONGNAMEOFMINE", EMAIL, EMAIL.upper(),
    "verylongaddress", "\uff56erylongaddress", "nordlicht2026!", "Averylongnameofmine1", "aaaaaaaaaaaa", "abcabcabcabc", "passwordpassword",
    "hunter7hunter7", "123456789012", "210987654321", "abcdefghijkl", "qwertyuiop12", "asdfghjkl123", "password1234", "Welcome2026!!",
    "Sommer2026!!", "nexkeynexkey1", "P@ssw0rd1234", "aaaabbbbcccc", "iloveyou!!!!", "111111222222", "\uff11\uff12\uff13\uff14567890123",
]  # fmt: skip
TAKEN = [
    "correct horse battery staple", "another-pass-7431", "tr0ub4dor&3x!", "kaffee um halb neun", "Ines likes Monet", "849275016384",
    "\u5ddd\u5cf6\u96e8\u7a93\u66f8\u9053\u753a\u6d77\u9ebb\u82b1\u96f2\u5915",
]  # fmt: skip


@pytest.mark.parametrize("password", GUESSED)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(Problem) as refused:
        check_new_password(password, EMAIL, NAME)
    assert (refused.value.status, refused.value.code) == (422, "password_weak")


@pytest.mark.parametrize("password", TAKEN)
def test_what_nobody_guesses_is_taken(password: str) -> None:
    check_new_password(password, EMAIL, NAME)


def test_random_ones_are_taken() -> None:
    choose = random.Random(20_261_129)
    for _ in range(2_000):
        check_new_password("".join(choose.choices(string.ascii_letters + string.digits, k=12)), EMAIL, NAME)
