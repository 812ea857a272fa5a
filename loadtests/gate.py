"""The gate: from what was recorded to what missed its limit. Pure: no clock, no network, no Locust, so that it can be shown to bite.

What doesn't live here: making the load (`swarm.py`), judging a single answer (`answers.py`), printing (`report.py`).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import msgspec

AVERAGE_MS_MAX = 31.0  # the service-level objective over the whole mixed load
RATE_SHARE_MIN = 0.95
FAILURES_SHOWN_MAX = 5


class Operation(msgspec.Struct):
    """Every request of one kind that started inside the measured window. `failures` says of each wrong answer what was wrong."""

    latencies_ms: list[float]
    failures: list[str]


class Record(msgspec.Struct):
    """What the swarm measured. `operations` are the mixed load, `locks` what the locks saw of it and stands beside it.

    `opened` are the attempts that were answered `unlocked`. `unfinished` requests had no answer when the run was over.
    `faults` are wrong things that are no single request's: a child that died, a bolt that did not move.
    """

    seconds: float
    operations: dict[str, Operation]
    unfinished: int = 0
    locks: dict[str, Operation] = {}
    opened: list[str] = []
    faults: list[str] = []


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate` is the stated arrival rate, requests a second."""

    rate: float
    average_ms_max: float = AVERAGE_MS_MAX
    rate_share_min: float = RATE_SHARE_MIN


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds, except `count`. Percentiles are the smallest value that the share of requests does not exceed."""

    count: int
    average: float
    median: float
    p95: float
    p99: float


def figures(latencies_ms: list[float]) -> Figures:
    """Zeros for no requests at all."""
    if not latencies_ms:
        return Figures(0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(latencies_ms)
    return Figures(len(ordered), statistics.fmean(ordered), percentile(ordered, 50), percentile(ordered, 95), percentile(ordered, 99))


def percentile(ordered: list[float], percent: int) -> float:
    """Nearest rank of sorted, non-empty values."""
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(rank, 1) - 1]


def whole(record: Record) -> list[float]:
    """Latencies of the whole mixed load."""
    return [latency for operation in record.operations.values() for latency in operation.latencies_ms]


def misses(record: Record, limits: Limits) -> list[str]:
    """Each limit that was not kept, in words; empty when the gate is passed. A run without requests or without time passes nothing."""
    latencies = whole(record)
    if not latencies or record.seconds <= 0:
        return [*record.faults, "no request was measured"]
    return [*record.faults, *_failures(record), *_too_slow(record, limits, latencies)]


def only_slow(record: Record, limits: Limits) -> bool:
    """True when every answer was right and only time was missed. Other work on the machine takes time and never gives any, so such a run
    may be measured again, and the quickest of a few says most about the service; a wrong answer is wrong however often it is not repeated.
    """
    latencies = whole(record)
    if not latencies or record.seconds <= 0 or record.faults or _failures(record):
        return False
    return bool(_too_slow(record, limits, latencies))


def _too_slow(record: Record, limits: Limits, latencies: list[float]) -> list[str]:
    """The limits of time that were not kept, for at least one request in at least some time."""
    found: list[str] = []
    average = statistics.fmean(latencies)
    if not average <= limits.average_ms_max:  # so that a NaN doesn't pass
        found.append(f"average {average:.2f} ms is above the limit of {limits.average_ms_max:g} ms")
    achieved = len(latencies) / record.seconds
    if not achieved >= limits.rate * limits.rate_share_min:
        found.append(f"achieved rate {achieved:.1f}/s is below {limits.rate_share_min:.0%} of the stated {limits.rate:g}/s")
    return found


def _failures(record: Record) -> list[str]:
    """Wrong answers and requests without one, the most frequent first."""
    found: list[str] = []
    counts: dict[str, int] = {}
    for kinds in (record.operations, record.locks):
        for name, operation in kinds.items():
            for failure in operation.failures:
                text = f"{name}: {failure}"
                counts[text] = counts.get(text, 0) + 1
    if counts:
        ranked = sorted(counts.items(), key=lambda item: -item[1])
        shown = "; ".join(f"{count} x {text}" for text, count in ranked[:FAILURES_SHOWN_MAX])
        found.append(f"failures {sum(counts.values())}, and none is allowed: {shown}")
    if record.unfinished:
        found.append(f"{record.unfinished} requests had no answer when the run was over")
    return found
