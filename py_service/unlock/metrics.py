"""What the unlock room tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from py_service.journal.group import GroupFigures
from py_service.unlock.desk import Desk


class UnlockMetrics(Collector):
    """Commit groups and waiting attempts of one process."""

    def __init__(self, process: str, figures: GroupFigures, desk: Desk) -> None:
        self._process = process
        self._figures = figures
        self._desk = desk

    def collect(self) -> Iterable[Metric]:
        counters = {
            "nexkey_commit_groups": ("Groups committed.", self._figures.groups),
            "nexkey_commit_events": ("Events committed.", self._figures.events),
            "nexkey_commit_seconds": ("Seconds from the start of a transaction to the end of its commit.", self._figures.commit_seconds),
            "nexkey_commit_behind": ("Times memory was behind the fence.", self._figures.behind),
            "nexkey_commit_late": ("Groups whose commit ended too late to act on.", self._figures.late),
            "nexkey_commit_unknown": ("Groups whose commit stayed unknown.", self._figures.unknown),
            "nexkey_commands_received": ("Commands that a lock said it has, before it acted.", self._desk.received),
        }
        for name, (text, value) in counters.items():
            family = CounterMetricFamily(name, text, labels=["process"])
            family.add_metric([self._process], value)
            yield family
        waiting = GaugeMetricFamily("nexkey_attempts_waiting", "Commands whose lock has not answered.", labels=["process"])
        waiting.add_metric([self._process], len(self._desk))
        yield waiting
