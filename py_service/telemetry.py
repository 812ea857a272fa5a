"""Logs and metrics. No secret gets out of here: names that hold secrets are blanked whoever logs them.

Logs: structlog, JSON in production, for the eye otherwise, each line with the request's id.
Metrics: each worker process has its own registry. `/metrics` shows the process that answered, labelled `process`, so that the series of
several workers on one port never mix; a scrape sees one of them at a time, and a rate is right per process. Not shared between processes
through files, which keeps the hot path free of locks and disk. Traces (opentelemetry) are not here yet.
"""

from __future__ import annotations

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterable, MutableMapping
from contextvars import ContextVar

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

request_id_of: ContextVar[str] = ContextVar("request_id_of", default="")

_SECRET_NAMES = frozenset(
    {
        "password",
        "token",
        "access_token",
        "refresh_token",
        "authorization",
        "assertion",
        "secret",
        "sealed",
        "master_key",
        "private_key",
        "api_key",
        "body",
    }
)
_BUCKETS_MS = (0.5, 1.0, 2.5, 5.0, 10.0, 31.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0)
_BUCKETS_NS = tuple(int(bound * 1_000_000) for bound in _BUCKETS_MS)


def configure_logging(level: str, environment: str) -> None:
    """Once per process, before anything is logged. `level` is a name of the logging module. Raises ValueError on another."""
    numbers = logging.getLevelNamesMapping()
    if level.upper() not in numbers:
        raise ValueError(f"no such log level: {level}")
    human = environment != "production"
    final: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_request_id,
            _without_secrets,
            *final,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numbers[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a room. Lazy: made before the configuration, it still follows it."""
    made: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return made


def _with_request_id(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    request_id = request_id_of.get()
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def _without_secrets(_: object, __: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    for name in event:
        if name.lower() in _SECRET_NAMES:
            event[name] = "***"
    return event


class RouteRecorder:
    """Counts and times of one route, as plain integers: the hot path takes no lock and makes no object."""

    __slots__ = ("_buckets", "_statuses", "_sum_ns", "method", "pattern")

    def __init__(self, method: str, pattern: str) -> None:
        self.method = method
        self.pattern = pattern
        self._statuses: dict[int, int] = {}
        self._buckets = [0] * (len(_BUCKETS_NS) + 1)
        self._sum_ns = 0

    def record(self, status: int, duration_ns: int) -> None:
        statuses = self._statuses
        statuses[status] = statuses.get(status, 0) + 1
        self._buckets[bisect_left(_BUCKETS_NS, duration_ns)] += 1
        self._sum_ns += duration_ns

    def counts(self) -> dict[int, int]:
        """Requests by status."""
        return dict(self._statuses)

    def cumulated(self) -> tuple[list[tuple[str, float]], float]:
        """Histogram buckets as Prometheus wants them (each includes the ones below), and the sum in seconds."""
        total = 0
        buckets: list[tuple[str, float]] = []
        bounds = [f"{bound / 1_000:g}" for bound in _BUCKETS_MS] + ["+Inf"]
        for bound, count in zip(bounds, self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets, self._sum_ns / 1e9


class RequestMetrics(Collector):
    """Requests by route pattern, method and status. `registry` is where other rooms put their own metrics."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, process: str) -> None:
        self.process = process
        self.in_flight = 0
        self.registry = CollectorRegistry()
        self._recorders: list[RouteRecorder] = []
        self.registry.register(self)

    def recorder(self, method: str, pattern: str) -> RouteRecorder:
        made = RouteRecorder(method, pattern)
        self._recorders.append(made)
        return made

    def exposition(self) -> bytes:
        """Prometheus text format 0.0.4."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        names = ["process", "method", "route"]
        requests = CounterMetricFamily("nexkey_http_requests", "Requests answered.", labels=[*names, "status"])
        seconds = HistogramMetricFamily("nexkey_http_request_seconds", "From the arrival of the headers to the answer.", labels=names)
        for recorder in self._recorders:
            labels = [self.process, recorder.method, recorder.pattern]
            for status, count in recorder.counts().items():
                requests.add_metric([*labels, str(status)], count)
            buckets, sum_seconds = recorder.cumulated()
            if buckets[-1][1]:
                seconds.add_metric(labels, buckets, sum_seconds)
        flight = GaugeMetricFamily("nexkey_http_requests_in_flight", "Requests under way.", labels=["process"])
        flight.add_metric([self.process], self.in_flight)
        return [requests, seconds, flight]
