"""Refresh and sign-out: each token once, a copied one ends everything that came from it."""

from __future__ import annotations

import asyncio

import pytest

from py_service.errors import Problem
from py_service.identity.messages import SignedIn
from py_service.identity.refresh import Refresh
from py_service.identity.sessions import Session
from py_service.identity.sign_out import SignOut
from py_service.identity.store import RefreshToken
from py_service.identity.tokens import REFRESH_TOKEN_MS, TokenIssuer, refresh_token_id
from tests.unit.identity_support import NOW_MS, Clock, Fails, MadePermissions, MadeSessions, MadeStore, images, make_ring, person_document


class Room:
    """Ada has two sessions; the refresh token `first` is of the one, `family`."""

    def __init__(self) -> None:
        self.store = MadeStore()
        self.sessions = self.store.sessions
        self.permissions = MadePermissions()
        self.clock = Clock()
        self.ring = make_ring()
        self.ended: list[tuple[str, str, str, str]] = []
        self.end_fails = Fails()
        issuer = TokenIssuer(self.ring, self.permissions, self.clock)
        self._refresh = Refresh(self.store, self.sessions, issuer, self.end, self.clock)
        self.sign_out = SignOut(self.store, self.sessions, self.end).sign_out
        for session in ("family", "other family"):
            self.sessions.going_on[session] = Session(session, "acme", "ada", NOW_MS - 5_000, NOW_MS - 5_000, NOW_MS + 1_000, "phone")
        self.store.tokens[refresh_token_id("first")] = RefreshToken(refresh_token_id("first"), "family", "acme", "ada", NOW_MS + 1_000)
        self.store.tokens["other"] = RefreshToken("other", "other family", "acme", "ada", NOW_MS + 1_000)

    async def refresh(self, refresh_token: str, client: str = "phone") -> SignedIn:
        return await self._refresh.refresh(refresh_token, client)

    async def end(self, organization: str, person: str, session: str, because: str) -> None:
        """As the change does: the session is gone."""
        self.end_fails.check("end")
        if self.sessions.going_on.pop(session, None) is not None:
            self.ended.append((organization, person, session, because))

    def families(self) -> set[str]:
        return set(self.sessions.going_on)


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
    unused = [token for token in room.store.tokens.values() if token.family == "family" and not token.used]
    assert [(token.id, token.expires_at) for token in unused] == [(refresh_token_id(second.refresh_token), NOW_MS + REFRESH_TOKEN_MS)]


async def test_a_session_tells_when_and_by_whom_it_was_seen_last(room: Room) -> None:
    room.clock.now_ms += 500
    await room.refresh("first", "Mozilla/5.0")
    seen = room.sessions.going_on["family"]
    assert (seen.created_at, seen.last_seen, seen.client) == (NOW_MS - 5_000, NOW_MS + 500, "Mozilla/5.0")
    assert seen.expires_at == NOW_MS + 500 + REFRESH_TOKEN_MS


async def test_used_token_ends_its_session(room: Room) -> None:
    following = await room.refresh("first")
    assert await refusal(room, "first") == (401, "refresh_token_reused")
    assert room.ended == [("acme", "ada", "family", "refresh_token_reused")]
    assert room.families() == {"other family"}
    assert await refusal(room, following.refresh_token) == (401, "refresh_token_unknown")


async def test_used_token_ends_its_session_however_old_it_is(room: Room) -> None:
    await room.refresh("first")
    room.clock.now_ms += 1_000
    assert await refusal(room, "first") == (401, "refresh_token_reused")
    assert room.ended == [("acme", "ada", "family", "refresh_token_reused")]


async def test_two_at_once_are_a_reuse(room: Room) -> None:
    outcomes = await asyncio.gather(room.refresh("first"), room.refresh("first"), return_exceptions=True)
    problems = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert [problem.code for problem in problems] == ["refresh_token_reused"]
    assert room.families() == {"other family"}


async def test_reuse_whose_end_fails_is_finished_by_the_next_try(room: Room) -> None:
    await room.refresh("first")
    room.end_fails.at = "end"
    assert await refusal(room, "first") == (503, "stores_unavailable")
    assert room.families() == {"family", "other family"}
    assert await refusal(room, "first") == (401, "refresh_token_reused")
    assert room.ended == [("acme", "ada", "family", "refresh_token_reused")]


async def test_store_that_fails_before_the_token_is_used_up_leaves_it_good(room: Room) -> None:
    room.store.fails.at = "insert_token"
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


async def test_sign_out_ends_its_session_only(room: Room) -> None:
    following = await room.refresh("first")
    await room.sign_out(following.refresh_token)
    assert room.families() == {"other family"}
    await room.sign_out(following.refresh_token)
    await room.sign_out("never given")
    assert room.families() == {"other family"}
    assert room.ended == [("acme", "ada", "family", "signed_out")]


async def test_a_session_that_ends_during_a_refresh_gives_no_token(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends_meanwhile(session: Session, at_ms: int, expires_at_ms: int, client: str) -> bool:
        room.sessions.going_on.pop("family")
        return await MadeSessions.seen(room.sessions, session, at_ms, expires_at_ms, client)

    monkeypatch.setattr(room.sessions, "seen", ends_meanwhile)
    assert await refusal(room, "first") == (401, "refresh_token_unknown")
