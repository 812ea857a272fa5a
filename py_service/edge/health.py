"""`/healthz` (the process runs), `/readyz` (it can do its work) and `/metrics`. What ready means is told by `app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from py_service.errors import Problem
from py_service.exchange import Media, Operation, Request, Response, Route, encoded
from py_service.telemetry import RequestMetrics


class Alive(msgspec.Struct):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct):
    """It can do its work."""

    process: str
    status: Literal["ready"] = "ready"


class Missing(msgspec.Struct):
    """What the process lacks right now."""

    missing: list[str] | msgspec.UnsetType = msgspec.UNSET


ALIVE = Operation("Does the process run", "Operation", {200: Alive})
READY = Operation("Can it do its work", "Operation", {200: Ready}, members={503: Missing})
METRICS = Operation("Figures for Prometheus", "Operation", {200: Media(RequestMetrics.content_type)})


@dataclass(slots=True, frozen=True)
class HealthHandlers:
    """`missing` names what the process lacks right now (`mongo`, `redis`, `clock`, ...); an empty list means ready."""

    missing: Callable[[], Awaitable[list[str]]]
    metrics: RequestMetrics

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/healthz", self.healthz, access="anyone", fenced=False, body_bytes_max=0, own_quota="none", about=ALIVE),
            Route("GET", "/readyz", self.readyz, access="anyone", fenced=False, body_bytes_max=0, own_quota="none", about=READY),
            Route("GET", "/metrics", self.prometheus, access="anyone", fenced=False, body_bytes_max=0, own_quota="none", about=METRICS),
        ]

    async def healthz(self, request: Request) -> Response:
        return encoded(200, Alive())

    async def readyz(self, request: Request) -> Response:
        missing = await self.missing()
        if missing:
            raise Problem(503, "stores_unavailable", "Not ready.", retry_after_seconds=1, members={"missing": missing})
        return encoded(200, Ready(self.metrics.process))

    async def prometheus(self, request: Request) -> Response:
        return Response(200, self.metrics.exposition(), content_type=self.metrics.content_type)
