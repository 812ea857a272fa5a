"""Bodies about passwords. What a new one has to be is said by `passwords.py`, with a code of its own."""

from __future__ import annotations

from typing import Annotated

import msgspec

from py_service.identity.mailed_tokens import TOKEN_CHARACTERS_MAX

Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024, examples=["a password of 12 to 256 characters"])]
Token = Annotated[
    str, msgspec.Meta(min_length=1, max_length=TOKEN_CHARACTERS_MAX, examples=["y2cQmKzDqv8tX0sF1uRbPjWnL5oHgEaTiN4dV7xZ3kM"])
]


class PasswordForgotten(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    email: Annotated[str, msgspec.Meta(min_length=3, max_length=254, examples=["anna@nordlicht.example"])]


class NewPasswordBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`token`: what stands behind `#` in the link that was mailed."""

    token: Token
    password: Password


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    old: Password
    new: Password
