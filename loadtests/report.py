"""What a load test prints and keeps. Figures come in, text and a file go out."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

from loadtests.environment import machine, versions
from loadtests.gate import Figures, Limits, Operation, Record, figures, whole
from loadtests.projection import Lag

RESULTS = Path(__file__).resolve().parent.parent / ".build" / "loadtest"
HEADER = f"{'operation':<28} {'count':>7} {'share':>6} {'average':>9} {'median':>9} {'p95':>9} {'p99':>9} {'failures':>9}"


def print_header(facts: dict[str, dict[str, str]]) -> None:
    for title, fields in facts.items():
        print(title)
        for field, value in fields.items():
            print(f"  {field:<12} {value}")
    print(flush=True)


def facts() -> dict[str, dict[str, str]]:
    """The machine and the versions that the figures depend on."""
    return {"machine": machine(), "versions": versions()}


def print_record(record: Record, limits: Limits, lag: Lag) -> None:
    """The table: milliseconds, per operation and whole."""
    total = len(whole(record))
    print(HEADER)
    for name, operation in sorted(record.operations.items(), key=lambda item: -len(item[1].latencies_ms)):
        print(_row(name, figures(operation.latencies_ms), total, len(operation.failures)))
    wrong = sum(len(operation.failures) for operation in record.operations.values())
    print(_row("the whole mixed load", figures(whole(record)), total, wrong))
    for name, operation in record.locks.items():
        print(_row(name, figures(operation.latencies_ms), 0, len(operation.failures)))
    rate = total / record.seconds if record.seconds else 0.0
    print(f"\nrate: {rate:.1f}/s achieved of {limits.rate:g}/s stated, for {record.seconds:.1f} s")
    waiting = sum(len(operation.latencies_ms) for name, operation in record.operations.items() if _opens(name))
    unlocks = sum(len(operation.latencies_ms) for name, operation in record.operations.items() if name.startswith(("unlock", "refusal")))
    if unlocks:
        print(f"unlocks that wait until the lock has opened: {waiting / unlocks:.1%} of {unlocks}")
    print(lag.text(), flush=True)


def _opens(name: str) -> bool:
    return name.startswith("unlock") and name != "unlock, commanded"


def _row(name: str, found: Figures, total: int, failures: int) -> str:
    share = f"{found.count / total:.1%}" if total else ""
    times = f"{found.average:>9.2f} {found.median:>9.2f} {found.p95:>9.2f} {found.p99:>9.2f}"
    return f"{name:<28} {found.count:>7} {share:>6} {times} {failures:>9}"


def keep(folder: Path, record: Record, limits: Limits, lag: Lag, found: list[str], facts: dict[str, dict[str, str]]) -> Path:
    """Writes `<when>.json` and `latest.json`."""
    began = datetime.now(UTC)
    content = {
        "at": began.isoformat(timespec="seconds"),
        **facts,
        "limits": dataclasses.asdict(limits),
        "passed": not found,
        "misses": found,
        "seconds": record.seconds,
        "rate": len(whole(record)) / record.seconds if record.seconds else 0.0,
        "whole": dataclasses.asdict(figures(whole(record))),
        "operations": _operations(record.operations),
        "locks": _operations(record.locks),
        "unfinished": record.unfinished,
        "projection_lag_ms": lag.samples_ms,
        "caught_up_seconds": lag.caught_up_seconds,
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2)
    path = folder / f"{began:%Y%m%dT%H%M%SZ}.json"
    path.write_text(text, encoding="utf-8")
    (folder / "latest.json").write_text(text, encoding="utf-8")
    return path


def _operations(operations: dict[str, Operation]) -> dict[str, dict[str, float]]:
    return {
        name: {**dataclasses.asdict(figures(operation.latencies_ms)), "failures": len(operation.failures)}
        for name, operation in operations.items()
    }
