"""Signing keys on the real embedded server: two processes that start, rotate and retire them."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from py_service._core_rs import KeyRing, TokenError
from py_service.errors import Problem
from py_service.identity.keys import KeyStore
from py_service.identity.signing_key import PUBLISHED_AHEAD_MS, VERIFIES_AFTERWARDS_MS
from py_service.stores.mongo import Mongo
from tests.integration.store_server import identity_store_url, mongo
from tests.unit.identity_support import Clock

__all__ = ["identity_store_url", "mongo"]

MASTER_KEY = bytes(range(32))


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
