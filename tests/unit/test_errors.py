"""A token that doesn't stand is answered in one way, whoever finds out: the edge, a change, an unlock, a refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, not_standing
from py_service.permissions.change import Actor, View
from py_service.unlock.attempt import Attempt, Lanes
from tests.unit.identity_support import NOW_MS, images, person_document

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from py_service._core_rs import Claims
    from py_service.stores.mongo import Mongo

CAUSES = {
    "person_suspended": (403, "person_suspended"),
    "organization_suspended": (403, "organization_suspended"),
    "stores_unavailable": (503, "stores_unavailable"),
    "token_revoked": (401, "token_revoked"),
    "person_unknown": (401, "token_revoked"),
    "something_new": (401, "token_revoked"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_one_answer(cause: str) -> None:
    problem = not_standing(cause)
    assert (problem.status, problem.code) == CAUSES[cause]
    assert (problem.retry_after_seconds is not None) == (problem.status == 503)


def index(cause: str) -> PermissionIndex:
    """Where a token of 1970 has this cause against it."""
    made = PermissionIndex()
    state = "suspended" if cause == "person_suspended" else "active"
    person = person_document(state=state, tokens_valid_after=int(cause == "token_revoked"))
    organization: dict[str, object] = {"name": "Acme", "active": cause != "organization_suspended"}
    if cause != "stores_unavailable":
        made.load("acme", 1, images(person__ada=person, organization__acme=organization))
    return made


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if cause != "something_new"])
def test_a_change_answers_so(cause: str) -> None:
    person = "nobody" if cause == "person_unknown" else "ada"
    view = View(cast("Mongo", None), cast("AsyncClientSession", None), index(cause), "acme", Actor("acme", person, 0, "s1"), 2, NOW_MS)
    for refused in (view.stand, lambda: view.require("doors.write", None), lambda: view.require_any("doors.write")):
        with pytest.raises(Problem) as caught:
            refused()
        assert (caught.value.status, caught.value.code) == CAUSES[cause]


class AdasClaims:
    organization, subject, session, issued_at_ms, expires_at_ms = "acme", "ada", "s1", 0, NOW_MS + 1


@pytest.mark.parametrize(("at_ms", "cause", "code"), [(NOW_MS, "token_revoked", "token_revoked"), (NOW_MS + 1, "", "token_expired")])
async def test_an_unlock_answers_so(at_ms: int, cause: str, code: str) -> None:
    claims = cast("Claims", AdasClaims())
    attempt = Attempt(
        index(cause),
        claims,
        "front",
        wait_seconds=0,
        idempotency_key=None,
        pin=None,
        lanes=Lanes(print, print, lambda *_: False, lambda *_: ""),
        on_committed=lambda _: None,
    )
    assert not attempt.judge(at_ms)
    problem = attempt.decided.exception()
    assert isinstance(problem, Problem)
    assert (problem.status, problem.code) == (401, code)
