"""Sign-in: what is told, what isn't, and what it costs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.low_level import ARGON2_VERSION

from py_service.errors import Problem, stores_unavailable
from py_service.identity import passwords as parameters
from py_service.identity.messages import SignedIn
from py_service.identity.passwords import Passwords, make_hasher
from py_service.identity.sign_in import SignIn
from py_service.identity.store import Account
from py_service.identity.tokens import ACCESS_TOKEN_MS, REFRESH_TOKEN_MS, TokenIssuer, refresh_token_id
from tests.unit.identity_support import NOW_MS, Clock, MadePermissions, MadeStore, images, make_ring, person_document

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse"


class Room:
    def __init__(self, passwords: Passwords) -> None:
        self.store = MadeStore()
        self.store.accounts["ada@acme.example"] = Account("acme", "ada", QUICK.hash(PASSWORD))
        self.permissions = MadePermissions()
        self.clock = Clock()
        self.ring = make_ring()
        self._sign_in = SignIn(self.store, passwords, TokenIssuer(self.ring, self.permissions, self.clock))

    async def sign_in(self, email: str, password: str) -> SignedIn:
        return await self._sign_in.sign_in(email, password, "Mozilla/5.0")


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(QUICK)
    yield made
    made.close()


@pytest.fixture
def room(passwords: Passwords) -> Room:
    return Room(passwords)


async def refusal(room: Room, email: str, password: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await room.sign_in(email, password)
    return caught.value


@pytest.mark.parametrize("email", ["ada@acme.example", " Ada@Acme.Example "])
async def test_signed_in(room: Room, email: str) -> None:
    signed_in = await room.sign_in(email, PASSWORD)
    claims = room.ring.verify_access_token(signed_in.access_token, "api", NOW_MS)
    assert (claims.organization, claims.subject, claims.kind) == ("acme", "ada", "person")
    assert (claims.issued_at_ms, claims.expires_at_ms) == (NOW_MS, NOW_MS + ACCESS_TOKEN_MS)
    assert signed_in.expires_at.timestamp() * 1_000 == claims.expires_at_ms
    (token,), (session,) = room.store.tokens.values(), room.store.sessions.going_on.values()
    assert (token.id, token.family) == (refresh_token_id(signed_in.refresh_token), claims.session)
    assert token.expires_at == session.expires_at == NOW_MS + REFRESH_TOKEN_MS
    assert (session.id, session.person, session.created_at, session.client) == (claims.session, "ada", NOW_MS, "Mozilla/5.0")
    assert signed_in.refresh_token not in repr(room.store.tokens) + repr(session)
    assert len(signed_in.refresh_token) == 43  # 256 bits


async def test_unknown_email_and_wrong_password_look_the_same(room: Room) -> None:
    wrong = await refusal(room, "ada@acme.example", "wrong")
    unknown = await refusal(room, "eve@acme.example", "wrong")
    assert (wrong.status, wrong.code, wrong.detail, wrong.members) == (unknown.status, unknown.code, unknown.detail, unknown.members)
    assert (wrong.status, wrong.code) == (401, "sign_in_failed")
    assert (room.store.sessions.going_on, room.store.tokens) == ({}, {})


async def test_unknown_email_costs_one_hash_too(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []

    def verify(self: PasswordHasher, stored: str | bytes, password: str | bytes) -> bool:
        verified.append(str(stored))
        return original(self, stored, password)

    original = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    await refusal(room, "ada@acme.example", "wrong")
    await refusal(room, "eve@acme.example", "wrong")
    assert len(verified) == 2
    first, second = (extract_parameters(stored) for stored in verified)
    assert first == second


async def test_the_password_of_nobody_opens_nothing(room: Room, passwords: Passwords) -> None:
    assert (await refusal(room, "eve@acme.example", "nobody has this password")).code == "sign_in_failed"
    assert not await passwords.verify(None, "nobody has this password")


async def test_suspended_is_told_only_to_who_knows_the_password(room: Room) -> None:
    room.permissions.following = images(person__ada=person_document(state="suspended"))
    assert (await refusal(room, "ada@acme.example", "wrong")).code == "sign_in_failed"
    suspended = await refusal(room, "ada@acme.example", PASSWORD)
    assert (suspended.status, suspended.code) == (403, "person_suspended")
    assert (room.store.sessions.going_on, room.store.tokens) == ({}, {})


async def test_person_who_is_gone(room: Room) -> None:
    room.store.accounts["ada@acme.example"] = Account("acme", "nobody", room.store.accounts["ada@acme.example"].password)
    assert (await refusal(room, "ada@acme.example", PASSWORD)).status == 401


async def test_store_that_is_away(room: Room) -> None:
    room.permissions.failure = stores_unavailable()
    assert (await refusal(room, "ada@acme.example", PASSWORD)).code == "stores_unavailable"
    assert (room.store.sessions.going_on, room.store.tokens) == ({}, {})


async def test_hash_with_old_parameters_is_renewed(room: Room) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    room.store.accounts["ada@acme.example"] = Account("acme", "ada", old)
    await refusal(room, "ada@acme.example", "wrong")
    assert room.store.accounts["ada@acme.example"].password == old
    await room.sign_in("ada@acme.example", PASSWORD)
    renewed = room.store.accounts["ada@acme.example"].password
    assert not QUICK.check_needs_rehash(renewed)
    await room.sign_in("ada@acme.example", PASSWORD)
    assert room.store.accounts["ada@acme.example"].password == renewed


async def test_stored_hash_that_is_broken_is_no_allow(room: Room) -> None:
    room.store.accounts["ada@acme.example"] = Account("acme", "ada", "not a hash")
    assert (await refusal(room, "ada@acme.example", PASSWORD)).code == "sign_in_failed"


async def test_lone_surrogates_are_a_wrong_password_and_no_failure(room: Room) -> None:
    assert (await refusal(room, "ada@acme.example", "\ud800")).code == "sign_in_failed"


async def test_same_password_from_another_keyboard(passwords: Passwords) -> None:
    stored = await passwords.hash("pass\u00e9")
    assert await passwords.verify(stored, "passe\u0301")


async def test_the_queue_of_hashes_is_bounded_and_the_loop_goes_on() -> None:
    gate = threading.Event()

    class Slow(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            if password == b"slow":
                gate.wait(5)
            return QUICK.hash(password)

    passwords = Passwords(Slow(time_cost=1, memory_cost=8, parallelism=1), threads=1, waiting_max=1)
    try:
        under_way = [asyncio.create_task(passwords.hash("slow")) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Problem) as caught:
            await passwords.hash("slow")
        assert (caught.value.status, caught.value.code, caught.value.retry_after_seconds) == (503, "overloaded", 1)
        gate.set()
        await asyncio.gather(*under_way)
        assert await passwords.hash("slow")
    finally:
        gate.set()
        passwords.close()


def test_parameters_are_explicit() -> None:
    used = extract_parameters(make_hasher().hash("x"))
    assert (used.type, used.version) == (Type.ID, ARGON2_VERSION)
    assert (used.time_cost, used.memory_cost, used.parallelism) == (parameters.TIME_COST, parameters.MEMORY_KIB, parameters.PARALLELISM)
    assert (used.memory_cost, used.time_cost) >= (19 * 1_024, 2)  # OWASP's minimum
