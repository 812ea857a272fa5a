"""How far the worker's projection is behind the journal, asked while the load runs and while it catches up afterwards."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

from pymongo.errors import PyMongoError

from py_service.journal.log import read_head
from py_service.stores.mongo import Mongo

POLL_SECONDS = 1.0
CATCH_UP_SECONDS_MAX = 60.0
READER = "events"


@dataclass(slots=True)
class Lag:
    """Milliseconds, as the worker writes them down with each batch (`projections.lag_ms`); and how long it went on after the load."""

    samples_ms: list[int] = field(default_factory=list)
    caught_up_seconds: float | None = None

    @property
    def median_ms(self) -> float:
        return statistics.median(self.samples_ms) if self.samples_ms else 0.0

    @property
    def worst_ms(self) -> int:
        return max(self.samples_ms, default=0)

    def text(self) -> str:
        rest = "not within a minute" if self.caught_up_seconds is None else f"{self.caught_up_seconds:.1f} s"
        return f"projection lag: median {self.median_ms:.0f} ms, worst {self.worst_ms} ms; caught up after the load: {rest}"


async def watch_lag(mongo: Mongo, lag: Lag) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        try:
            document = await mongo.database["projections"].find_one({"_id": READER})
        except PyMongoError:
            continue
        if document is not None:
            lag.samples_ms.append(int(document.get("lag_ms", 0)))


async def wait_until_projected(mongo: Mongo, lag: Lag) -> None:
    """Every journal document that stands now has been read by the projection; `lag.caught_up_seconds` says how long that took."""
    began = time.monotonic()
    logs = await mongo.database["logs"].find({"state": {"$in": ["open", "closed"]}}).to_list()
    heads = {log["_id"]: (await read_head(mongo, log["_id"])).seq for log in logs}
    while time.monotonic() - began < CATCH_UP_SECONDS_MAX:
        document = await mongo.database["projections"].find_one({"_id": READER})
        marks = {} if document is None else document["logs"]
        if all(int(marks.get(log, 0)) >= seq for log, seq in heads.items()):
            lag.caught_up_seconds = time.monotonic() - began
            return
        await asyncio.sleep(0.05)
