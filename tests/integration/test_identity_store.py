"""The identity room on the real embedded server: plans of its queries, rotation under two at once, keys under two processes."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import asdict, replace

import pytest

from py_service._core_rs import KeyRing, TokenError
from py_service.errors import Problem
from py_service.identity.keys import KeyStore
from py_service.identity.messages import RoleHeld, SignedIn
from py_service.identity.refresh import Refresh
from py_service.identity.signing_key import PUBLISHED_AHEAD_MS, VERIFIES_AFTERWARDS_MS
from py_service.identity.store import EXPIRED_KEPT_MS, SESSIONS_AT_ONCE_MAX, IdentityStore, Session
from py_service.identity.tokens import TokenIssuer, refresh_token_id
from py_service.settings import Settings
from py_service.stores.mongo import Mongo, now_ms
from py_service.worker import SWEEP_SECONDS, Worker
from tests.integration.identity_support import identity_store_url, mongo
from tests.unit.identity_support import NOW_MS, Clock, MadePermissions, make_ring

__all__ = ["identity_store_url", "mongo"]

MASTER_KEY = bytes(range(32))


def session(token: str, family: str = "family", *, used: bool = False) -> Session:
    return Session(refresh_token_id(token), family, "acme", "ada", NOW_MS + 1_000_000, used)


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
        ("signing_keys", {"_id": "access::access.1"}),
        ("signing_keys", {"state": {"$in": ["active", "verifying"]}}),
    ],
)
async def test_no_query_scans(mongo: Mongo, collection: str, query: dict[str, object]) -> None:
    await mongo.database[collection].insert_many(
        [{"_id": f"s{number}", "family": f"f{number}", "state": "retired", "expires_at": number} for number in range(50)]
    )
    plan = await explained(mongo, collection, query)
    assert "COLLSCAN" not in plan, plan


async def test_account_and_person(mongo: Mongo) -> None:
    store = IdentityStore(mongo.database)
    assert await store.account("ada@acme.example") is None
    await mongo.database["accounts"].insert_one({"_id": "ada@acme.example", "org": "acme", "person": "ada", "password": "old"})
    await store.replace_password("ada@acme.example", "old", "new")
    await store.replace_password("ada@acme.example", "old", "lost")
    account = await store.account("ada@acme.example")
    assert account is not None
    assert (account.org, account.person, account.password) == ("acme", "ada", "new")
    roles = [{"role": "site_manager", "sites": ["hq"]}]
    await mongo.database["persons"].insert_one(
        {"_id": "acme:ada", "org": "acme", "id": "ada", "name": "Ada", "roles": roles, "state": "active"}
    )
    person = await store.person("acme", "ada")
    assert person is not None
    assert (person.name, person.roles) == ("Ada", [RoleHeld("site_manager", ["hq"])])
    assert await store.person("other", "ada") is None


async def test_session_is_used_once_and_kept_without_its_token(mongo: Mongo) -> None:
    store = IdentityStore(mongo.database)
    await store.insert_session(session("secret"))
    assert await store.session(refresh_token_id("secret")) == session("secret")
    assert "secret" not in str(await mongo.database["sessions"].find({}).to_list())
    assert await store.use_session(refresh_token_id("secret"))
    assert not await store.use_session(refresh_token_id("secret"))
    assert await store.session(refresh_token_id("secret")) == session("secret", used=True)
    assert not await store.use_session("never stored")


async def test_one_of_many_uses_a_session(mongo: Mongo) -> None:
    store = IdentityStore(mongo.database)
    for number in range(50):
        await store.insert_session(session(f"token {number}"))
        uses = await asyncio.gather(*(store.use_session(refresh_token_id(f"token {number}")) for _ in range(4)))
        assert sorted(uses) == [False, False, False, True]


async def test_family_is_deleted_whole_and_alone(mongo: Mongo) -> None:
    store = IdentityStore(mongo.database)
    for token, family in (("a", "one"), ("b", "one"), ("c", "one"), ("d", "two")):
        await store.insert_session(session(token, family))
    await store.delete_family("one", keep=refresh_token_id("b"))
    assert {found["_id"] for found in await mongo.database["sessions"].find({}).to_list()} == {refresh_token_id("b"), refresh_token_id("d")}
    await store.delete_family("one")
    await store.delete_session(refresh_token_id("d"))
    assert await mongo.database["sessions"].find({}).to_list() == []


def session_until(number: int, expires_at: int) -> Session:
    return Session(refresh_token_id(f"token {number}"), f"family {number}", "acme", "ada", expires_at)


async def sessions_left(mongo: Mongo) -> list[int]:
    return sorted(found["expires_at"] for found in await mongo.database["sessions"].find({}).to_list())


async def test_expired_sessions_go_and_live_ones_stay(mongo: Mongo) -> None:
    store = IdentityStore(mongo.database)
    kept_from = NOW_MS - EXPIRED_KEPT_MS
    ends = [1, kept_from - 1, kept_from, NOW_MS, NOW_MS + 1, NOW_MS + 1_000_000]
    for number, expires_at in enumerate(ends):
        await store.insert_session(session_until(number, expires_at))
    assert await store.delete_expired(NOW_MS) == 2
    assert await sessions_left(mongo) == ends[2:]
    assert await store.session(refresh_token_id("token 2")) == session_until(2, kept_from)
    assert await store.delete_expired(NOW_MS) == 0


async def test_the_leading_worker_sweeps_a_batch_at_a_time(mongo: Mongo, identity_store_url: str) -> None:
    live = now_ms() + 1_000_000
    expired = [session_until(number, 1 + number) for number in range(SESSIONS_AT_ONCE_MAX + 3)]
    documents = [{**asdict(found), "_id": found.id} for found in [*expired, session_until(-1, live)]]
    await mongo.database["sessions"].insert_many(documents)
    worker = Worker(
        replace(Settings(), mongo_url=identity_store_url, mongo_database=mongo.database.name, redis_url="redis://127.0.0.1:9/0")
    )
    try:
        assert await worker.sweep_once() == SWEEP_SECONDS
        assert len(await sessions_left(mongo)) == len(documents), "another one leads"
        worker._leading = True
        assert await worker.sweep_once() < 1
        assert len(await sessions_left(mongo)) == 4, "one batch"
        assert await worker.sweep_once() == SWEEP_SECONDS == 60
        assert await sessions_left(mongo) == [live]
    finally:
        await worker.close()


async def test_two_refreshes_at_once_never_both_succeed(mongo: Mongo) -> None:
    """40 races. Whoever loses has shown a used token: the family is gone and nothing of it is left behind."""
    clock, cuts = Clock(), list[str]()

    async def cut_tokens(organization: str, person: str) -> None:
        cuts.append(person)

    store = IdentityStore(mongo.database)
    refresh = Refresh(store, TokenIssuer(make_ring(), MadePermissions(), clock), cut_tokens, clock)
    for number in range(40):
        await store.insert_session(session(f"token {number}", f"family {number}"))
        outcomes = await asyncio.gather(*(refresh.refresh(f"token {number}") for _ in range(2)), return_exceptions=True)
        won = [outcome for outcome in outcomes if isinstance(outcome, SignedIn)]
        lost = [outcome.code for outcome in outcomes if isinstance(outcome, Problem)]
        assert len(won) <= 1
        assert len(won) + len(lost) == 2
        assert set(lost) <= {"refresh_token_reused", "refresh_token_unknown"}
        assert "refresh_token_reused" in lost
        assert await mongo.database["sessions"].find({"family": f"family {number}"}).to_list() == []
    assert len(cuts) >= 40


async def test_store_that_is_away_is_a_503(mongo: Mongo) -> None:
    away = Mongo("mongodb://127.0.0.1:9/?directConnection=true", "identity", 200)
    store = IdentityStore(away.database)
    for call in (
        store.account("x"),
        store.session("x"),
        store.use_session("x"),
        store.insert_session(session("x")),
        store.delete_family("x"),
    ):
        with pytest.raises(Problem) as caught:
            await call
        assert (caught.value.status, caught.value.code) == (503, "stores_unavailable")
    await away.close()


class Process:
    """What one api process has of keys."""

    def __init__(self, mongo: Mongo, clock: Clock) -> None:
        self.ring = KeyRing(MASTER_KEY)
        self.clock = clock
        self.keys = KeyStore(mongo.database, self.ring, lambda: KeyRing(MASTER_KEY), clock)

    def sign(self) -> str:
        now_ms = self.clock()
        return self.ring.sign_access_token("api", "acme", "ada", "person", "s", [], now_ms, now_ms + 300_000)

    def accepts(self, token: str) -> bool:
        try:
            self.ring.verify_access_token(token, "api", self.clock())
        except TokenError:
            return False
        return True

    def published(self) -> list[str]:
        return sorted(key["kid"] for key in json.loads(self.ring.jwks())["keys"])


async def test_processes_that_start_at_once_share_one_key(mongo: Mongo) -> None:
    clock = Clock()
    processes = [Process(mongo, clock) for _ in range(4)]
    await asyncio.gather(*(process.keys.start() for process in processes))
    tokens = [process.sign() for process in processes]
    assert all(process.accepts(token) for process in processes for token in tokens)
    assert await asyncio.gather(*(process.keys.command_key("acme") for process in processes)) == ["acme.1"] * 4
    assert len({process.ring.public_key("command", "acme", "acme.1") for process in processes}) == 1
    stored = await mongo.database["signing_keys"].find({}).to_list()
    assert sorted(found["_id"] for found in stored) == ["access::access.1", "command:acme:acme.1"]
    assert {found["state"] for found in stored} == {"active"}


async def test_rotation_without_a_failed_request(mongo: Mongo) -> None:
    """Two processes reload at different moments, all the way through a rotation; each accepts what the other signs, at every moment."""
    clock = Clock()
    first, second = Process(mongo, clock), Process(mongo, clock)
    await first.keys.start()
    await second.keys.start()
    rotated = await first.keys.rotate("access", "")
    assert rotated.kid == "access.2"
    assert (await second.keys.rotate("access", "")).kid == "access.2"  # one on its way is enough
    end_ms = rotated.activate_at + VERIFIES_AFTERWARDS_MS + 20_000
    live: list[tuple[str, int]] = []
    for turn in itertools.count():
        if clock.now_ms > end_ms:
            break
        await (first, second)[turn % 2].keys.reload()
        live += [(process.sign(), clock.now_ms + 300_000) for process in (first, second)]
        live = [(token, until) for token, until in live if until > clock.now_ms]
        assert all(process.accepts(token) for process in (first, second) for token, _ in live)
        if clock.now_ms < rotated.activate_at - PUBLISHED_AHEAD_MS + 10_000:
            assert first.ring.active_key_id("access", "") == "access.1"
        clock.now_ms += 5_000
    assert first.published() == second.published() == ["access.2"]
    states = {found["kid"]: found["state"] for found in await mongo.database["signing_keys"].find({}).to_list()}
    assert states == {"access.1": "retired", "access.2": "active"}
    assert (await first.keys.rotate("access", "")).kid == "access.3"


async def test_new_key_is_published_before_it_signs(mongo: Mongo) -> None:
    clock = Clock()
    process = Process(mongo, clock)
    await process.keys.start()
    rotated = await process.keys.rotate("access", "")
    assert process.published() == ["access.1", "access.2"]
    assert rotated.activate_at == clock.now_ms + PUBLISHED_AHEAD_MS
    clock.now_ms = rotated.activate_at - 1
    await process.keys.reload()
    assert process.ring.active_key_id("access", "") == "access.1"
    clock.now_ms = rotated.activate_at
    await process.keys.reload()
    assert process.ring.active_key_id("access", "") == "access.2"


async def test_two_rotations_at_once_make_one_key(mongo: Mongo) -> None:
    clock = Clock()
    processes = [Process(mongo, clock) for _ in range(2)]
    for process in processes:
        await process.keys.start()
    made = await asyncio.gather(*(process.keys.rotate("access", "") for process in processes))
    assert [key.kid for key in made] == ["access.2", "access.2"]
    assert await mongo.database["signing_keys"].count_documents({}) == 2
    assert processes[0].published() == processes[1].published() == ["access.1", "access.2"]


async def test_key_retired_by_hand_is_gone_at_the_next_look_and_its_name_is_not_used_again(mongo: Mongo) -> None:
    clock = Clock()
    process = Process(mongo, clock)
    await process.keys.start()
    token = process.sign()
    await mongo.database["signing_keys"].update_one({"_id": "access::access.1"}, {"$set": {"state": "retired"}})
    await process.keys.reload()
    assert not process.accepts(token)
    await process.keys.start()
    assert process.published() == ["access.2"]


async def test_unknown_key_makes_it_look_once_a_second(mongo: Mongo) -> None:
    clock = Clock()
    first, second = Process(mongo, clock), Process(mongo, clock)
    await first.keys.start()
    token = first.sign()
    assert not second.accepts(token)
    assert await second.keys.reload_for_unknown_key()
    assert second.accepts(token)
    assert not await second.keys.reload_for_unknown_key()
    await asyncio.sleep(1.0)
    assert await second.keys.reload_for_unknown_key()


async def test_command_keys_do_not_rotate_yet(mongo: Mongo) -> None:
    process = Process(mongo, Clock())
    await process.keys.start()
    with pytest.raises(ValueError, match="locks pin"):
        await process.keys.rotate("command", "acme")


async def test_keys_stay_good_while_the_store_is_away() -> None:
    away = Mongo("mongodb://127.0.0.1:9/?directConnection=true", "identity", 200)
    process = Process(away, Clock())
    with pytest.raises(Problem) as caught:
        await process.keys.start()
    assert caught.value.code == "stores_unavailable"
    process.ring.generate("access", "", "access.1")
    process.ring.activate("access", "", "access.1")
    token = process.sign()
    with pytest.raises(Problem):
        await process.keys.reload()
    assert process.accepts(token)
    await away.close()
