"""The commit group's bounded queue: who comes when it is full is sent away at once, and is told when to come back."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import cast

import pytest

from py_service.edge.problem import answer_to
from py_service.errors import Problem
from py_service.journal.event import make_event
from py_service.journal.group import CommitGroup, GroupLimits, Revisions
from py_service.journal.log import FIRST_HASH, Head, Log
from py_service.journal.member import Note
from py_service.stores.mongo import Mongo

NUMBERS = itertools.count(1)


def full_group(members: int) -> CommitGroup:
    """Nobody commits, as when the store stands still: its queue holds `members` and no more."""
    mongo = cast("Mongo", SimpleNamespace(session=lambda: None))
    log = Log(mongo, "plain-1", Head(0, FIRST_HASH))
    group = CommitGroup(mongo, log, cast("Revisions", None), GroupLimits(queue_members_max=members), lambda: None)
    for _ in range(members):
        group.submit(note())
    return group


def note() -> Note:
    return Note(make_event("not_commanded", "acme", 1, attempt=f"plain-1:{next(NUMBERS):012d}:000"))


def test_a_full_queue_answers_503_overloaded_with_retry_after() -> None:
    group = full_group(3)
    late = note()
    with pytest.raises(Problem) as refused:
        group.submit(late)
    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    answer = answer_to(refused.value, "request-1")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert not late.answered, "it never joined: the refusal is its only answer"


def test_a_queue_has_a_limit_unless_told_otherwise() -> None:
    assert 0 < GroupLimits().queue_members_max <= 10_000
    group = full_group(GroupLimits().queue_members_max)
    with pytest.raises(Problem, match="overloaded"):
        group.submit(note())
