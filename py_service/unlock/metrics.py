"""What the unlock room tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from py_service.journal.group import GroupFigures
from py_service.unlock.desk import Desk


class UnlockMetrics(Collector):
    """Commit groups by their lane, and waiting attempts, of one process."""

    def __init__(self, process: str, lanes: Mapping[str, GroupFigures], desk: Desk) -> None:
        self._process = process
        self._lanes = lanes
        self._desk = desk

    def collect(self) -> Iterable[Metric]:
        counters = {
            "nexkey_commit_groups": ("Groups committed.", "groups"),
            "nexkey_commit_events": ("Events committed.", "events"),
            "nexkey_commit_seconds": ("Seconds from the start of a transaction to the end of its commit.", "commit_seconds"),
            "nexkey_commit_behind": ("Times memory was behind the fence.", "behind"),
            "nexkey_commit_late": ("Groups whose commit ended too late to act on.", "late"),
            "nexkey_commit_unknown": ("Groups whose commit stayed unknown.", "unknown"),
        }
        for name, (text, figure) in counters.items():
            family = CounterMetricFamily(name, text, labels=["process", "lane"])
            for lane, figures in self._lanes.items():
                family.add_metric([self._process, lane], getattr(figures, figure))
            yield family
        received = CounterMetricFamily("nexkey_commands_received", "Commands that a lock said it has, before it acted.", labels=["process"])
        received.add_metric([self._process], self._desk.received)
        yield received
        waiting = GaugeMetricFamily("nexkey_attempts_waiting", "Commands whose lock has not answered.", labels=["process"])
        waiting.add_metric([self._process], len(self._desk))
        yield waiting
