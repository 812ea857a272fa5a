"""The load test's gate bites: on the average, on one wrong answer, on a low rate, on silence, and on what no request shows."""

from __future__ import annotations

import math

import pytest

from loadtests import __main__ as loadtest
from loadtests.gate import Limits, Operation, Record, figures, misses, only_slow

LIMITS = Limits(rate=100.0)


def record(unlocks: list[float], reads: list[float], seconds: float = 1.0) -> Record:
    return Record(seconds, {"unlock": Operation(unlocks, []), "read": Operation(reads, [])})


def test_a_run_inside_every_limit_passes() -> None:
    assert misses(record([31.0] * 80, [31.0] * 20), LIMITS) == []


def test_the_average_is_taken_over_the_whole_mixed_load() -> None:
    # 80 of 20 ms and 20 of 80 ms: 32 ms together, though four requests of five are far below the limit.
    assert misses(record([20.0] * 80, [80.0] * 20), LIMITS) == ["average 32.00 ms is above the limit of 31 ms"]
    # A slow operation alone fails nothing as long as the whole is in time.
    assert misses(record([10.0] * 80, [80.0] * 20), LIMITS) == []


def test_the_average_is_no_median() -> None:
    assert misses(record([5.0] * 99, [5_000.0]), LIMITS) == ["average 54.95 ms is above the limit of 31 ms"]


def test_an_average_that_is_no_number_does_not_pass() -> None:
    assert misses(record([math.nan] * 100, []), LIMITS) == ["average nan ms is above the limit of 31 ms"]


def test_one_wrong_answer_fails_the_run() -> None:
    found = record([5.0] * 100, [5.0] * 100)
    found.operations["read"].failures.append("500 internal instead of 200")
    assert misses(found, LIMITS) == ["failures 1, and none is allowed: 1 x read: 500 internal instead of 200"]


def test_the_most_frequent_failure_is_named_first() -> None:
    found = record([5.0] * 100, [5.0] * 100)
    found.operations["read"].failures += ["seldom"]
    found.operations["unlock"].failures += ["often", "often"]
    assert misses(found, LIMITS) == ["failures 3, and none is allowed: 2 x unlock: often; 1 x read: seldom"]


def test_a_failure_that_a_lock_saw_fails_the_run() -> None:
    found = record([5.0] * 100, [])
    found.locks["a lock's report, stored"] = Operation([0.0], ["closed"])
    assert misses(found, LIMITS) == ["failures 1, and none is allowed: 1 x a lock's report, stored: closed"]


@pytest.mark.parametrize(("count", "expected"), [(95, []), (94, ["achieved rate 94.0/s is below 95% of the stated 100/s"])])
def test_fewer_requests_than_stated_fail_the_run(count: int, expected: list[str]) -> None:
    assert misses(record([5.0] * count, []), LIMITS) == expected


def test_the_rate_is_counted_over_the_seconds_that_were_measured() -> None:
    assert misses(record([5.0] * 190, [], seconds=2.0), LIMITS) == []
    assert misses(record([5.0] * 100, [], seconds=2.0), LIMITS) == ["achieved rate 50.0/s is below 95% of the stated 100/s"]


@pytest.mark.parametrize(
    "empty", [Record(60.0, {}), Record(60.0, {"unlock": Operation([], [])}), Record(0.0, {"unlock": Operation([1.0], [])})]
)
def test_a_run_without_requests_or_without_time_passes_nothing(empty: Record) -> None:
    assert misses(empty, LIMITS) == ["no request was measured"]


def test_what_the_locks_saw_is_no_request() -> None:
    found = Record(1.0, {}, locks={"a lock's report, stored": Operation([5.0] * 100, [])})
    assert misses(found, LIMITS) == ["no request was measured"]


def test_requests_without_an_answer_fail_the_run() -> None:
    found = record([5.0] * 100, [])
    found.unfinished = 2
    assert misses(found, LIMITS) == ["2 requests had no answer when the run was over"]


def test_a_fault_that_is_no_request_fails_the_run() -> None:
    found = record([5.0] * 100, [])
    found.faults.append("api died: signal SIGKILL")
    assert misses(found, LIMITS) == ["api died: signal SIGKILL"]


def test_every_missed_limit_is_named() -> None:
    found = record([40.0] * 10, [])
    found.operations["unlock"].failures.append("late")
    assert [miss.split()[0] for miss in misses(found, LIMITS)] == ["failures", "average", "achieved"]


def test_percentiles_are_values_that_were_measured() -> None:
    found = figures([float(value) for value in range(100, 0, -1)])
    assert (found.count, found.average, found.median, found.p95, found.p99) == (100, 50.5, 50.0, 95.0, 99.0)
    assert figures([7.0]).p99 == 7.0
    assert figures([]).count == 0


def test_only_a_run_whose_answers_were_all_right_may_be_measured_again() -> None:
    assert only_slow(record([40.0] * 100, []), LIMITS)
    assert only_slow(record([5.0] * 10, []), LIMITS)  # too few a second
    assert not only_slow(record([5.0] * 100, []), LIMITS)  # nothing was missed
    wrong = record([40.0] * 100, [])
    wrong.operations["unlock"].failures.append("granted after its revoke")
    silent = record([40.0] * 100, [])
    silent.unfinished = 1
    unmoved = record([40.0] * 100, [])
    unmoved.faults.append("a bolt did not move")
    assert not any(only_slow(found, LIMITS) for found in (wrong, silent, unmoved, Record(60.0, {})))


@pytest.mark.parametrize(
    ("runs", "exit_status", "measured"),
    [
        ([(0, False)], 0, 1),
        ([(1, True), (0, False)], 0, 2),
        ([(1, True), (1, True), (1, True), (0, False)], 1, 3),
        ([(1, True), (1, False), (0, False)], 1, 2),  # a wrong answer in any run
        ([(2, False), (0, False)], 2, 1),
    ],
)
def test_runs_end_with_the_first_that_is_good_or_wrong(
    monkeypatch: pytest.MonkeyPatch, runs: list[tuple[int, bool]], exit_status: int, measured: int
) -> None:
    left = iter(runs)
    monkeypatch.setattr(loadtest, "_run", lambda *_: next(left))
    assert loadtest.main([]) == exit_status
    assert len(runs) - len(list(left)) == measured
