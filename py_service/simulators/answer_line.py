"""What a phone was told, as one line of JSON: written by `simulate phones --json`, read by whoever shows it."""

from __future__ import annotations

import time

import msgspec

from py_service.simulators.phone import UnlockAnswer


class AnswerLine(msgspec.Struct):
    """`at_ms` is Unix time by the phone's machine, when the answer was there. `who` is the caller's name."""

    at_ms: int
    who: str
    answer: UnlockAnswer


def encode_answer(who: str, answer: UnlockAnswer) -> str:
    """One line, without its end."""
    return msgspec.json.encode(AnswerLine(time.time_ns() // 1_000_000, who, answer)).decode()


def decode_answer(line: bytes) -> AnswerLine | None:
    """None for a line that isn't an answer: a log holds others too."""
    try:
        return msgspec.json.decode(line, type=AnswerLine)
    except msgspec.MsgspecError:
        return None
