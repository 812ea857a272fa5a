"""Which store a process takes, and when it says that it is ready: by what the store's `hello` answers."""

from __future__ import annotations

import datetime
import time

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from py_service.edge.health import HealthHandlers
from py_service.edge.problem import answer_to
from py_service.errors import Problem, SettingsError
from py_service.exchange import Request
from py_service.readiness import Readiness
from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Document, Mongo
from py_service.telemetry import RequestMetrics

REPLICA_SET: Document = {"isWritablePrimary": True, "setName": "rs0"}


def readyz() -> Request:
    return Request("GET", "/readyz", {}, {}, {}, b"", "request-1", time.perf_counter_ns())


class FakeServer:
    """Stands for the client: only `admin.command("hello")` is asked of it. Its clock is `ahead_ms` before ours."""

    def __init__(self, hello: Document, *, ahead_ms: float = 0, away: bool = False) -> None:
        self._hello = hello
        self._ahead_ms = ahead_ms
        self._away = away

    @property
    def admin(self) -> FakeServer:
        return self

    async def command(self, name: str) -> Document:
        assert name == "hello"
        if self._away:
            raise ServerSelectionTimeoutError("nobody answers")
        now = datetime.datetime.fromtimestamp(time.time() + self._ahead_ms / 1_000, datetime.UTC)
        return {**self._hello, "localTime": now}


async def mongo_of(server: FakeServer) -> Mongo:
    mongo = Mongo("mongodb://127.0.0.1:1/", "nexkey", 1_000)
    await mongo.close()
    mongo.client = server  # type: ignore[assignment]  # the one place where it is asked
    return mongo


@pytest.mark.parametrize(
    ("ahead_ms", "missing"),
    [
        (0, []),
        (CLOCK_DIFFERENCE_MS_MAX - 500, []),
        (500 - CLOCK_DIFFERENCE_MS_MAX, []),
        (CLOCK_DIFFERENCE_MS_MAX + 500, ["clock"]),
        (-CLOCK_DIFFERENCE_MS_MAX - 500, ["clock"]),
    ],
)
async def test_a_process_whose_clock_is_more_than_a_second_off_the_stores_is_not_ready(ahead_ms: float, missing: list[str]) -> None:
    assert CLOCK_DIFFERENCE_MS_MAX == 1_000
    readiness = Readiness(await mongo_of(FakeServer(REPLICA_SET, ahead_ms=ahead_ms)))
    assert await readiness.missing() == missing


async def test_readyz_refuses_and_says_what_is_missing() -> None:
    for server, missing in ((FakeServer(REPLICA_SET, ahead_ms=60_000), "clock"), (FakeServer(REPLICA_SET, away=True), "mongo")):
        health = HealthHandlers(Readiness(await mongo_of(server)).missing, RequestMetrics("api-1"))
        with pytest.raises(Problem) as refused:
            await health.readyz(readyz())
        answer = answer_to(refused.value, "request-1")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert f'"missing":["{missing}"]'.encode() in answer.body
    health = HealthHandlers(Readiness(await mongo_of(FakeServer(REPLICA_SET))).missing, RequestMetrics("api-1"))
    assert (await health.readyz(readyz())).status == 200


async def test_a_router_and_a_standalone_server_are_refused_at_the_start() -> None:
    await (await mongo_of(FakeServer(REPLICA_SET))).refuse_unfit_server()
    with pytest.raises(SettingsError, match=r"^NEXKEY_MONGO_URL: a mongos"):
        await (await mongo_of(FakeServer({"isWritablePrimary": True, "msg": "isdbgrid"}))).refuse_unfit_server()
    with pytest.raises(SettingsError, match=r"^NEXKEY_MONGO_URL: a standalone server has no transactions"):
        await (await mongo_of(FakeServer({"isWritablePrimary": True}))).refuse_unfit_server()
