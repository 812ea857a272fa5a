"""Refresh and sign-out: each token once, a copied one ends everything that came from it."""

from __future__ import annotations

import asyncio

import pytest

from py_service.errors import Problem
from py_service.identity.messages import SignedIn
from py_service.identity.refresh import Refresh
from py_service.identity.sign_out import SignOut
from py_service.identity.store import Session
from py_service.identity.tokens import REFRESH_TOKEN_MS, TokenIssuer, refresh_token_id
from tests.unit.identity_support import NOW_MS, Clock, Fails, MadePermissions, MadeStore, images, make_ring, person_document


class Room:
    def __init__(self) -> None:
        self.store = MadeStore()
        self.permissions = MadePermissions()
        self.clock = Clock()
        self.ring = make_ring()
        self.cut: list[tuple[str, str]] = []
        self.cut_fails = Fails()
        issuer = TokenIssuer(self.ring, self.permissions, self.clock)
        self.refresh = Refresh(self.store, issuer, self.cut_tokens, self.clock).refresh
        self.sign_out = SignOut(self.store).sign_out
        self.store.sessions[refresh_token_id("first")] = Session(refresh_token_id("first"), "family", "acme", "ada", NOW_MS + 1_000)
        self.store.sessions["other"] = Session("other", "other family", "acme", "ada", NOW_MS + 1_000)

    async def cut_tokens(self, organization: str, person: str) -> None:
        self.cut_fails.check("cut_tokens")
        self.cut.append((organization, person))

    def families(self) -> set[str]:
        return {session.family for session in self.store.sessions.values()}


@pytest.fixture
def room() -> Room:
    return Room()


async def refusal(room: Room, refresh_token: str) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        await room.refresh(refresh_token)
    return caught.value.status, caught.value.code


async def test_rotation(room: Room) -> None:
    first = await room.refresh("first")
    second = await room.refresh(first.refresh_token)
    assert first.refresh_token != second.refresh_token
    claims = room.ring.verify_access_token(second.access_token, "api", NOW_MS)
    assert (claims.subject, claims.session) == ("ada", "family")
    unused = [session for session in room.store.sessions.values() if session.family == "family" and not session.used]
    assert [(session.id, session.expires_at) for session in unused] == [(refresh_token_id(second.refresh_token), NOW_MS + REFRESH_TOKEN_MS)]


async def test_used_token_ends_its_family_and_cuts_tokens(room: Room) -> None:
    following = await room.refresh("first")
    assert await refusal(room, "first") == (401, "refresh_token_reused")
    assert room.cut == [("acme", "ada")]
    assert room.families() == {"other family"}
    assert await refusal(room, following.refresh_token) == (401, "refresh_token_unknown")


async def test_used_token_ends_its_family_however_old_it_is(room: Room) -> None:
    await room.refresh("first")
    room.clock.now_ms += 1_000
    assert await refusal(room, "first") == (401, "refresh_token_reused")
    assert room.cut == [("acme", "ada")]


async def test_two_at_once_are_a_reuse(room: Room) -> None:
    outcomes = await asyncio.gather(room.refresh("first"), room.refresh("first"), return_exceptions=True)
    problems = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert [problem.code for problem in problems] == ["refresh_token_reused"]
    assert room.families() == {"other family"}


async def test_reuse_whose_cut_fails_is_finished_by_the_next_try(room: Room) -> None:
    await room.refresh("first")
    room.cut_fails.at = "cut_tokens"
    assert await refusal(room, "first") == (503, "stores_unavailable")
    assert {session.id for session in room.store.sessions.values() if session.family == "family"} == {refresh_token_id("first")}
    assert await refusal(room, "first") == (401, "refresh_token_reused")
    assert room.cut == [("acme", "ada")]


async def test_store_that_fails_before_the_token_is_used_up_leaves_it_good(room: Room) -> None:
    room.store.fails.at = "insert_session"
    assert await refusal(room, "first") == (503, "stores_unavailable")
    assert isinstance(await room.refresh("first"), SignedIn)


async def test_unknown_and_expired(room: Room) -> None:
    assert await refusal(room, "never given") == (401, "refresh_token_unknown")
    assert await refusal(room, "\ud800") == (401, "refresh_token_unknown")
    room.clock.now_ms += 1_000
    assert await refusal(room, "first") == (401, "refresh_token_expired")


async def test_suspended_person_keeps_the_token_but_gets_nothing(room: Room) -> None:
    room.permissions.following = images(person__ada=person_document(state="suspended"))
    assert await refusal(room, "first") == (403, "person_suspended")
    room.permissions.index.load("acme", 3, images())
    room.permissions.following = None
    assert isinstance(await room.refresh("first"), SignedIn)


async def test_suspended_organization(room: Room) -> None:
    room.permissions.following = images(organization__acme={"name": "Acme", "active": False})
    assert await refusal(room, "first") == (403, "organization_suspended")


async def test_sign_out_ends_the_family_only(room: Room) -> None:
    following = await room.refresh("first")
    await room.sign_out(following.refresh_token)
    assert room.families() == {"other family"}
    await room.sign_out(following.refresh_token)
    await room.sign_out("never given")
    assert room.families() == {"other family"}
    assert room.cut == []
