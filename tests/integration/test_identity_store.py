"""The identity room on the real embedded server: plans of its queries, accounts, sessions, rotation under two at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession

from py_service.errors import Problem
from py_service.identity.accounts import new_account
from py_service.identity.messages import RoleHeld, SignedIn
from py_service.identity.refresh import Refresh
from py_service.identity.sessions import SWEPT_LATE_MS, Session, SessionStore
from py_service.identity.store import EXPIRED_KEPT_MS, TOKENS_AT_ONCE_MAX, Account, IdentityStore, RefreshToken
from py_service.identity.tokens import TokenIssuer, refresh_token_id
from py_service.settings import Settings
from py_service.stores.mongo import Mongo, now_ms
from py_service.worker import SWEEP_SECONDS, Worker
from tests.integration.store_server import identity_store_url, mongo, store_server
from tests.unit.identity_support import NOW_MS, Clock, MadePermissions, make_ring

__all__ = ["identity_store_url", "mongo"]


def refresh_token(token: str, family: str = "family", *, used: bool = False) -> RefreshToken:
    return RefreshToken(refresh_token_id(token), family, "acme", "ada", NOW_MS + 1_000_000, used)


def going_on(session: str, person: str = "ada", last_seen: int = NOW_MS, expires_at: int = NOW_MS + 1_000_000) -> Session:
    return Session(session, "acme", person, NOW_MS, last_seen, expires_at, "phone")


def stages(plan: dict[str, object]) -> list[str]:
    """The stages of a winning plan, from the top."""
    names: list[str] = []
    stage: object = plan
    while isinstance(stage, dict):
        names.append(str(stage["stage"]))
        stage = stage.get("inputStage")
    return names


async def explained(mongo: Mongo, collection: str, query: dict[str, object]) -> list[str]:
    found = await mongo.database.command("explain", {"find": collection, "filter": query}, verbosity="queryPlanner")
    return stages(found["queryPlanner"]["winningPlan"])


@pytest.mark.parametrize(
    ("collection", "query"),
    [
        ("accounts", {"_id": "ada@acme.example"}),
        ("persons", {"_id": "acme:ada"}),
        ("sessions", {"_id": "s1"}),
        ("sessions", {"_id": {"$in": ["s1", "s2"]}}),
        ("sessions", {"family": "f1"}),
        ("sessions", {"expires_at": {"$gte": 0, "$lt": 5}}),
        ("session_families", {"_id": "acme:s1"}),
        ("session_families", {"holder": "acme:ada"}),
        ("session_families", {"expires_at": {"$gte": 0, "$lt": 5}}),
        ("ended_sessions", {"forget_at": {"$gte": 0, "$lt": 5}}),
        ("signing_keys", {"_id": "access::access.1"}),
        ("signing_keys", {"state": {"$in": ["active", "verifying"]}}),
    ],
)
async def test_no_query_scans(mongo: Mongo, collection: str, query: dict[str, object]) -> None:
    await mongo.database[collection].insert_many(
        [
            {
                "_id": f"s{number}",
                "family": f"f{number}",
                "holder": f"h{number}",
                "state": "retired",
                "expires_at": number,
                "forget_at": number,
            }
            for number in range(50)
        ]
    )
    plan = await explained(mongo, collection, query)
    assert "COLLSCAN" not in plan, plan


async def test_account_and_person(mongo: Mongo) -> None:
    store = IdentityStore(mongo)
    assert await store.account("ada@acme.example") is None
    await mongo.database["accounts"].insert_one({"_id": "ada@acme.example", "org": "acme", "person": "ada", "password": "old"})
    account = await store.account("ada@acme.example")
    assert account is not None
    assert (account.org, account.person, account.password) == ("acme", "ada", "old")
    roles = [{"role": "site_manager", "sites": ["hq"]}]
    await mongo.database["persons"].insert_one(
        {"_id": "acme:ada", "org": "acme", "id": "ada", "name": "Ada", "roles": roles, "state": "active"}
    )
    person = await store.person("acme", "ada")
    assert person is not None
    assert (person.name, person.roles) == ("Ada", [RoleHeld("site_manager", ["hq"])])
    assert await store.person("other", "ada") is None


async def test_a_refresh_token_is_used_once_and_stored_as_its_hash(mongo: Mongo) -> None:
    store = IdentityStore(mongo)
    await store.insert_token(refresh_token("secret"))
    assert await store.token(refresh_token_id("secret")) == refresh_token("secret")
    assert "secret" not in str(await mongo.database["sessions"].find({}).to_list())
    assert await store.use_token(refresh_token_id("secret"))
    assert not await store.use_token(refresh_token_id("secret"))
    assert await store.token(refresh_token_id("secret")) == refresh_token("secret", used=True)
    assert not await store.use_token("never stored")
    await store.delete_token(refresh_token_id("secret"))
    assert await store.token(refresh_token_id("secret")) is None


async def test_one_of_many_uses_a_refresh_token(mongo: Mongo) -> None:
    store = IdentityStore(mongo)
    for number in range(50):
        await store.insert_token(refresh_token(f"token {number}"))
        uses = await asyncio.gather(*(store.use_token(refresh_token_id(f"token {number}")) for _ in range(4)))
        assert sorted(uses) == [False, False, False, True]


async def opened_account(mongo: Mongo, email: str) -> None:
    await mongo.database["accounts"].insert_one({"_id": email, **new_account("acme", "ada", "old")})


async def change_password(store: IdentityStore, mongo: Mongo, email: str) -> None:
    """As a change does it: read and written in one transaction."""

    async def work(transaction: AsyncClientSession) -> None:
        found = await mongo.database["accounts"].find_one({"_id": email}, session=transaction)
        assert found is not None and found["password"] == "old"
        await mongo.database["accounts"].update_one({"_id": email}, {"$set": {"password": "new"}}, session=transaction)

    await store._settled(work)


async def test_a_session_begins_with_the_password_that_was_proved_or_not_at_all(mongo: Mongo) -> None:
    store, sessions = IdentityStore(mongo), SessionStore(mongo.database)
    await opened_account(mongo, "ada@acme.example")
    assert await store.begin_session("ada@acme.example", "old", "renewed", going_on("s1"), refresh_token("t1", "s1"))
    assert await sessions.find("acme", "s1") == going_on("s1")
    assert await store.account("ada@acme.example") == Account("acme", "ada", "renewed")
    for email, proved in (("ada@acme.example", "old"), ("eve@acme.example", "renewed")):
        assert not await store.begin_session(email, proved, None, going_on("s2"), refresh_token("t2", "s2"))
    assert await sessions.find("acme", "s2") is None
    assert await store.token(refresh_token_id("t2")) is None


async def test_a_password_is_changed_before_a_session_begins_or_sees_it(mongo: Mongo) -> None:
    """40 races of a sign-in with a change of the password: a session that began stands beside the new password, or there is none."""
    store, sessions = IdentityStore(mongo), SessionStore(mongo.database)
    for number in range(40):
        email, session = f"{number}@acme.example", f"s{number}"
        await opened_account(mongo, email)
        signed_in, _ = await asyncio.gather(
            store.begin_session(email, "old", None, going_on(session), refresh_token(session, session)),
            change_password(store, mongo, email),
        )
        account = await store.account(email)
        assert account is not None
        assert account.password == "new"
        assert signed_in == (await sessions.find("acme", session) is not None)
    assert not await store.begin_session("0@acme.example", "old", None, going_on("late"), refresh_token("late", "late"))


async def test_sessions_of_a_person_those_seen_last_first(mongo: Mongo) -> None:
    sessions = SessionStore(mongo.database)
    made = [going_on("s1", last_seen=NOW_MS - 2), going_on("s2"), going_on("s3", person="ben"), going_on("s4", last_seen=NOW_MS - 1)]
    await mongo.database["session_families"].insert_many([found.document() for found in made])
    assert [found.id for found in await sessions.of_person("acme", "ada", 10)] == ["s2", "s4", "s1"]
    assert [found.id for found in await sessions.of_person("acme", "ada", 2)] == ["s2", "s4"], "who has too many is told the latest"
    assert await sessions.of_person("other", "ada", 10) == []
    assert await sessions.find("other", "s1") is None
    assert await sessions.seen(made[0], NOW_MS + 5, NOW_MS + 9, "laptop")
    seen = await sessions.find("acme", "s1")
    assert seen == replace(made[0], last_seen=NOW_MS + 5, expires_at=NOW_MS + 9, client="laptop")
    assert not await sessions.seen(going_on("ended"), NOW_MS + 5, NOW_MS + 9, "laptop")
    assert await sessions.find("acme", "ended") is None


def token_until(number: int, expires_at: int) -> RefreshToken:
    return RefreshToken(refresh_token_id(f"token {number}"), f"family {number}", "acme", "ada", expires_at)


async def tokens_left(mongo: Mongo) -> list[int]:
    return sorted(found["expires_at"] for found in await mongo.database["sessions"].find({}).to_list())


async def test_expired_refresh_tokens_go_and_live_ones_stay(mongo: Mongo) -> None:
    store = IdentityStore(mongo)
    kept_from = NOW_MS - EXPIRED_KEPT_MS
    ends = [1, kept_from - 1, kept_from, NOW_MS, NOW_MS + 1, NOW_MS + 1_000_000]
    for number, expires_at in enumerate(ends):
        await store.insert_token(token_until(number, expires_at))
    assert await store.delete_expired(NOW_MS) == 2
    assert await tokens_left(mongo) == ends[2:]
    assert await store.token(refresh_token_id("token 2")) == token_until(2, kept_from)
    assert await store.delete_expired(NOW_MS) == 0


async def test_sessions_that_nobody_prolonged_go(mongo: Mongo) -> None:
    sessions = SessionStore(mongo.database)
    kept_from = NOW_MS - SWEPT_LATE_MS
    made = [going_on(f"s{end}", expires_at=end) for end in (1, kept_from - 1, kept_from, NOW_MS)]
    await mongo.database["session_families"].insert_many([found.document() for found in made])
    assert await sessions.delete_expired(NOW_MS) == 2
    assert {found.id for found in await sessions.of_person("acme", "ada", 10)} == {f"s{kept_from}", f"s{NOW_MS}"}


async def test_an_end_is_forgotten_with_the_refresh_tokens_of_its_session(mongo: Mongo) -> None:
    store, sessions = IdentityStore(mongo), SessionStore(mongo.database)
    kept_from = NOW_MS - SWEPT_LATE_MS
    for session, forget_at in (("s1", kept_from - 1), ("s2", kept_from)):
        end = {"_id": f"acme:{session}", "org": "acme", "id": session, "person": "ada", "ended_at": 1, "forget_at": forget_at}
        await mongo.database["ended_sessions"].insert_one(end)
        for number in range(3):
            await store.insert_token(refresh_token(f"{session} {number}", session))
    assert await sessions.delete_forgotten(NOW_MS) == 1
    assert [found["id"] for found in await mongo.database["ended_sessions"].find({}).to_list()] == ["s2"]
    assert {found["family"] for found in await mongo.database["sessions"].find({}).to_list()} == {"s2"}


async def test_the_leading_worker_sweeps_a_batch_at_a_time(mongo: Mongo, identity_store_url: str) -> None:
    live = now_ms() + 1_000_000
    expired = [token_until(number, 1 + number) for number in range(TOKENS_AT_ONCE_MAX + 3)]
    documents = [found.document() for found in [*expired, token_until(-1, live)]]
    await mongo.database["sessions"].insert_many(documents)
    worker = Worker(
        replace(Settings(), mongo_url=identity_store_url, mongo_database=mongo.database.name, redis_url="redis://127.0.0.1:9/0")
    )
    try:
        assert await worker.sweep_once() == await worker.end_once() == SWEEP_SECONDS
        assert len(await tokens_left(mongo)) == len(documents), "another one leads"
        worker._leading = True
        assert await worker.sweep_once() < 1
        assert len(await tokens_left(mongo)) == 4, "one batch"
        assert await worker.sweep_once() == SWEEP_SECONDS == 60
        assert await tokens_left(mongo) == [live]
    finally:
        await worker.close()


async def test_two_refreshes_at_once_never_both_succeed(mongo: Mongo) -> None:
    """40 races. Whoever loses has shown a used token: the session has ended, and what the other one got is void."""
    clock, ended = Clock(), list[str]()

    async def end(organization: str, person: str, session: str, because: str) -> None:
        ended.append(because)
        await mongo.database["session_families"].delete_one({"_id": f"{organization}:{session}"})

    store, sessions = IdentityStore(mongo), SessionStore(mongo.database)
    refresh = Refresh(store, sessions, TokenIssuer(make_ring(), MadePermissions(), clock), end, clock)
    for number in range(40):
        session = f"s{number}"
        await mongo.database["session_families"].insert_one(going_on(session).document())
        await store.insert_token(refresh_token(f"token {number}", session))
        outcomes = await asyncio.gather(*(refresh.refresh(f"token {number}", "phone") for _ in range(2)), return_exceptions=True)
        won = [outcome for outcome in outcomes if isinstance(outcome, SignedIn)]
        lost = [outcome.code for outcome in outcomes if isinstance(outcome, Problem)]
        assert len(won) <= 1
        assert len(won) + len(lost) == 2
        assert set(lost) <= {"refresh_token_reused", "refresh_token_unknown"}
        assert "refresh_token_reused" in lost
        assert await sessions.find("acme", session) is None
        for signed_in in won:
            with pytest.raises(Problem, match="refresh_token_unknown"):
                await refresh.refresh(signed_in.refresh_token, "phone")
    assert len(ended) >= 40


async def test_a_process_ends_soon_though_its_store_is_gone(tmp_path: Path) -> None:
    """The driver would look for the store for as long as twenty seconds, to tell it which sessions are over."""
    with store_server(tmp_path) as url:
        left = Mongo(url, "left", 20_000)
        await left.database["sessions"].find_one({"_id": "acme:nobody"})
    await asyncio.sleep(0.5)  # until the driver has noticed
    began = time.monotonic()
    await left.close()
    assert time.monotonic() - began < 3


async def test_store_that_is_away_is_a_503(mongo: Mongo) -> None:
    away = Mongo("mongodb://127.0.0.1:9/?directConnection=true", "identity", 200)
    store, sessions = IdentityStore(away), SessionStore(away.database)
    for call in (
        store.account("x"),
        store.token("x"),
        store.use_token("x"),
        store.insert_token(refresh_token("x")),
        store.begin_session("x", "x", None, going_on("x"), refresh_token("x")),
        sessions.find("acme", "x"),
        sessions.of_person("acme", "ada", 1),
        sessions.seen(going_on("x"), 1, 1, ""),
        sessions.delete_forgotten(NOW_MS),
    ):
        with pytest.raises(Problem) as caught:
            await call
        assert (caught.value.status, caught.value.code) == (503, "stores_unavailable")
    await away.close()
