"""The app's own list of routes, without a store: what a test goes through, so that a new route is tested from its first day."""

from __future__ import annotations

import pytest

from py_service.app import Process
from py_service.exchange import Route
from py_service.journal.log import FIRST_HASH, Head, Log
from py_service.settings import MASTER_KEY_BYTES, Secret, Settings
from py_service.stores.mongo import Mongo


async def route_table() -> list[Route]:
    """Composed as an api process composes it; nothing connects, nothing runs."""

    async def unregistered(mongo: Mongo, lane: str, process: str) -> Log:
        return Log(mongo, f"{lane}-test", Head(0, FIRST_HASH))

    settings = Settings(mongo_url="mongodb://127.0.0.1:1", redis_url="redis://127.0.0.1:1", master_key=Secret(bytes(MASTER_KEY_BYTES)))
    process = Process(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "birth", unregistered)
        patch.setattr(process, "_spawn", lambda job: None)
        routes = await process.routes()
    await process.close()
    return routes
