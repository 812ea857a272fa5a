"""When API keys were used last, on the real embedded server."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.identity import api_key_uses
from py_service.identity.api_key_uses import EVERY_MS, KeyUses
from py_service.stores.mongo import Mongo
from tests.integration.store_server import identity_store_url, mongo
from tests.unit.identity_support import NOW_MS, Clock

__all__ = ["identity_store_url", "mongo"]


@dataclass(frozen=True)
class Key:
    organization: str
    subject: str


KEY = Key("acme", "api_key:k1")


async def test_one_write_a_minute_and_the_latest_stays(mongo: Mongo) -> None:
    clock = Clock()
    uses = KeyUses(mongo.database, clock)
    for moved, told in ((0, NOW_MS), (EVERY_MS - 1, NOW_MS), (1, NOW_MS + EVERY_MS)):
        clock.now_ms += moved
        uses.used(KEY)
        uses.used(Key("other", "api_key:k1"))
        await uses.write()
        assert await uses.last("acme", ["k1", "k2"]) == {"k1": told}
    late = KeyUses(mongo.database, Clock())
    late.used(KEY)
    await late.write()
    assert await uses.last("acme", ["k1"]) == {"k1": NOW_MS + EVERY_MS}, "a process that was slow sets nothing back"


async def test_a_store_that_is_away_costs_a_note_only() -> None:
    away = Mongo("mongodb://127.0.0.1:9/?directConnection=true", "identity", 200)
    uses = KeyUses(away.database, Clock())
    uses.used(KEY)
    await uses.write()
    uses.used(KEY)
    assert uses._waiting, "the next use tries again"
    await away.close()


async def test_the_memory_of_uses_is_bounded(mongo: Mongo) -> None:
    uses = KeyUses(mongo.database, Clock())
    for number in range(api_key_uses.REMEMBERED_MAX + 10):
        uses.used(Key("acme", f"api_key:k{number}"))
    assert len(uses._noted) == api_key_uses.REMEMBERED_MAX
