"""What the load test counts as a right answer: a status alone convinces nobody."""

from __future__ import annotations

import json

import pytest

from loadtests import answers
from loadtests.answers import COMMANDED, EVENTS_LIMIT, OPENED, Expected, refused


def unlock(expected: Expected, status: int, **fields: object) -> str | None:
    body = {"id": "log:000000000001:000", "door": "front", "person": "ada", **fields}
    return answers.judge_unlock(status, json.dumps(body).encode(), expected, "front", "ada").fault


def test_an_opened_door_is_right_only_when_the_lock_said_so() -> None:
    assert unlock(OPENED, 200, state="unlocked") is None
    assert unlock(OPENED, 202, state="unconfirmed") == "202 unconfirmed - instead of 200 unlocked -"
    assert unlock(OPENED, 200, state="unlocked.failed", reason="lock_jammed") == "200 unlocked.failed lock_jammed instead of 200 unlocked -"
    assert unlock(COMMANDED, 202, state="commanded") is None
    assert unlock(COMMANDED, 200, state="unlocked.failed", reason="door_unreachable") is not None


def test_a_refusal_is_right_only_for_its_reason() -> None:
    assert unlock(refused("no_grant"), 403, state="authorized.failed", code="no_grant") is None
    assert unlock(refused("no_grant"), 403, state="authorized.failed", code="outside_schedule") is not None
    assert unlock(refused("no_grant"), 200, state="unlocked") is not None
    assert unlock(OPENED, 403, state="authorized.failed", code="no_grant") is not None


@pytest.mark.parametrize("other", [{"id": ""}, {"door": "back"}, {"person": "bob"}])
def test_an_answer_about_something_else_is_wrong(other: dict[str, str]) -> None:
    assert unlock(OPENED, 200, state="unlocked", **other) == "another door or person in the answer"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"state": 7}'])
def test_a_body_that_can_not_be_read_is_wrong(body: bytes) -> None:
    assert answers.judge_unlock(200, body, OPENED, "front", "ada").fault == "200 with a body that can't be read"
    assert answers.judge_doors(200, body, 1, ()).fault is not None
    assert answers.judge_events(200, body).fault is not None
    assert answers.judge_given(201, body, "ada", "front").fault is not None
    assert answers.judge_changed(200, body, "front", 0).fault is not None


def test_doors_are_all_there_and_open_unless_they_are_being_changed() -> None:
    items = [{"id": "front", "allowed": True, "reason": "granted"}, {"id": "vault", "allowed": False, "reason": "door_locked_down"}]
    body = json.dumps({"items": items}).encode()
    assert answers.judge_doors(200, body, 2, ["vault"]).fault is None
    assert answers.judge_doors(200, body, 2, []).fault == "a door is refused: door_locked_down"
    assert answers.judge_doors(200, body, 3, ["vault"]).fault == "2 doors instead of 3"
    assert answers.judge_doors(401, b'{"code": "token_expired"}', 2, []).fault == "401 token_expired instead of 200"


def test_a_page_of_events_is_full_and_repeats_nothing() -> None:
    page = [{"id": str(number), "kind": "authorized"} for number in range(EVENTS_LIMIT)]
    assert answers.judge_events(200, json.dumps({"items": page}).encode()).fault is None
    assert (
        answers.judge_events(200, json.dumps({"items": page[1:]}).encode()).fault == f"{EVENTS_LIMIT - 1} events instead of {EVENTS_LIMIT}"
    )
    assert answers.judge_events(200, json.dumps({"items": [page[0], *page[:-1]]}).encode()).fault == "an event twice on a page"


def test_a_change_is_right_only_with_a_later_revision() -> None:
    body = json.dumps({"id": "front", "revision": 8, "effective_by": "2026-11-23T12:00:06Z"}).encode()
    assert answers.judge_changed(200, body, "front", 7).revision == 8
    assert answers.judge_changed(200, body, "front", 8).fault is not None
    assert answers.judge_changed(200, body, "back", 7).fault is not None
    assert answers.judge_changed(503, b'{"code": "outcome_unknown"}', "front", 7).fault == "503 outcome_unknown instead of 200"


def test_a_grant_is_the_one_that_was_asked_for() -> None:
    body = json.dumps({"id": "grant_1", "revision": 3, "person": "ada", "door": "front"}).encode()
    assert answers.judge_given(201, body, "ada", "front").id == "grant_1"
    assert answers.judge_given(201, body, "bob", "front").fault is not None
    assert answers.judge_given(200, body, "ada", "front").fault is not None
