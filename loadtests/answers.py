"""What a right answer is, operation by operation: the body is judged, not the status alone. Pure.

Each function says in a few words what is wrong, or None. The words are few on purpose: they are counted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec

EVENTS_LIMIT = 50


class _Unlock(msgspec.Struct):
    """An attempt, or the problem that refuses it."""

    id: str = ""
    door: str = ""
    person: str = ""
    state: str = ""
    reason: str | None = None
    code: str = ""


class _Door(msgspec.Struct):
    id: str
    allowed: bool
    reason: str


class _Doors(msgspec.Struct):
    items: list[_Door]


class _Event(msgspec.Struct):
    id: str
    kind: str


class _Events(msgspec.Struct):
    items: list[_Event]


class _Changed(msgspec.Struct):
    """A grant that was given, or a change's result."""

    id: str = ""
    revision: int = 0
    effective_by: str = ""
    person: str | None = None
    door: str | None = None


_UNLOCK = msgspec.json.Decoder(_Unlock)
_DOORS = msgspec.json.Decoder(_Doors)
_EVENTS = msgspec.json.Decoder(_Events)
_CHANGED = msgspec.json.Decoder(_Changed)


@dataclass(frozen=True, slots=True)
class Expected:
    """The one right answer to an unlock. `reason` is that of a refusal, else None."""

    status: int
    state: str
    reason: str | None = None


OPENED = Expected(200, "unlocked")
COMMANDED = Expected(202, "commanded")


def refused(reason: str) -> Expected:
    """403, and the reason is this one."""
    return Expected(403, "authorized.failed", reason)


@dataclass(frozen=True, slots=True)
class Judged:
    """`fault` None: the answer was right. `id` of the attempt or grant, `revision` of the change, when there is one."""

    fault: str | None
    id: str = ""
    revision: int = 0


def judge_unlock(status: int, body: bytes, expected: Expected, door: str, person: str) -> Judged:
    """Status, state, reason, and that it is this door and this person that are spoken of."""
    try:
        answer = _UNLOCK.decode(body)
    except msgspec.MsgspecError:
        return _unreadable(status)
    reason = answer.code or answer.reason
    # A refusal is a problem document: it names the door, and not the person.
    person_right = answer.person == person if expected.reason is None else True
    if (status, answer.state, reason) != (expected.status, expected.state, expected.reason):
        return Judged(
            f"{status} {answer.state or '-'} {reason or '-'} instead of {expected.status} {expected.state} {expected.reason or '-'}"
        )
    if not answer.id or answer.door != door or not person_right:
        return Judged("another door or person in the answer")
    return Judged(None, answer.id)


def judge_doors(status: int, body: bytes, doors: int, changing: Collection[str]) -> Judged:
    """All doors are there, and those that nobody changes are allowed."""
    if status != 200:
        return _wrong_status(status, body, 200)
    try:
        items = _DOORS.decode(body).items
    except msgspec.MsgspecError:
        return _unreadable(status)
    if len(items) != doors:
        return Judged(f"{len(items)} doors instead of {doors}")
    refused_doors = [door for door in items if not door.allowed and door.id not in changing]
    return Judged(f"a door is refused: {refused_doors[0].reason}" if refused_doors else None)


def judge_events(status: int, body: bytes) -> Judged:
    """A full page of different events: the warm-up has made more than one page."""
    if status != 200:
        return _wrong_status(status, body, 200)
    try:
        items = _EVENTS.decode(body).items
    except msgspec.MsgspecError:
        return _unreadable(status)
    if len(items) != EVENTS_LIMIT:
        return Judged(f"{len(items)} events instead of {EVENTS_LIMIT}")
    return Judged(None if len({event.id for event in items}) == EVENTS_LIMIT else "an event twice on a page")


def judge_given(status: int, body: bytes, person: str, door: str) -> Judged:
    """The grant that was asked for."""
    if status != 201:
        return _wrong_status(status, body, 201)
    try:
        grant = _CHANGED.decode(body)
    except msgspec.MsgspecError:
        return _unreadable(status)
    if not grant.id or grant.revision < 1 or (grant.person, grant.door) != (person, door):
        return Judged("another grant than the one asked for")
    return Judged(None, grant.id, grant.revision)


def judge_changed(status: int, body: bytes, identifier: str, revision_before: int) -> Judged:
    """The object that was named, a later revision than before, and the moment from which it holds at the doors."""
    if status != 200:
        return _wrong_status(status, body, 200)
    try:
        changed = _CHANGED.decode(body)
    except msgspec.MsgspecError:
        return _unreadable(status)
    if changed.id != identifier or changed.revision <= revision_before or not changed.effective_by:
        return Judged("the change is not the one asked for, or has no new revision")
    return Judged(None, changed.id, changed.revision)


def _wrong_status(status: int, body: bytes, expected: int) -> Judged:
    try:
        code = _UNLOCK.decode(body).code
    except msgspec.MsgspecError:
        code = ""
    return Judged(f"{status} {code or '-'} instead of {expected}")


def _unreadable(status: int) -> Judged:
    return Judged(f"{status} with a body that can't be read")
