"""The load itself: Locust as a library, in a process of its own: `python -m loadtests.swarm <plan>`. Writes the record and ends.

Starts every user, lets them warm the service up, then measures: a request belongs to the window in which it *started*, however late its
answer comes. Traffic goes to the addresses of the plan, which are on this machine, and ends with the window.

Importing Locust makes the standard library cooperative (gevent), so that `time.sleep` here lets the users run.
"""

from __future__ import annotations

import sys
import time
import urllib.parse
from collections import deque
from pathlib import Path

import msgspec
from locust.env import Environment

from loadtests.gate import Operation, Record
from loadtests.lock_user import LockUser
from loadtests.phone_user import Course, PhoneUser
from loadtests.plan import Plan, read_plan

SPAWN_SECONDS = 2.0
LOCKS_SECONDS_MAX = 30.0
UNFINISHED_SECONDS_MAX = 12.0
LOCK_PREFIX = "a lock's "
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Recorder:
    """Listens to Locust. Times are Unix seconds: that is what Locust says of a request's start."""

    def __init__(self) -> None:
        self._finished: list[tuple[str, float, float, str | None]] = []

    def heard(
        self, request_type: str, name: str, response_time: float, exception: BaseException | None, start_time: float, **_: object
    ) -> None:
        self._finished.append((name, start_time, response_time, None if exception is None else str(exception)))

    def between(self, begin: float, end: float) -> tuple[dict[str, Operation], dict[str, Operation]]:
        """Requests, and what the locks saw, of those that started in [begin, end)."""
        requests: dict[str, Operation] = {}
        locks: dict[str, Operation] = {}
        for name, started, milliseconds, failure in self._finished:
            if begin <= started < end:
                kinds = locks if name.startswith(LOCK_PREFIX) else requests
                operation = kinds.setdefault(name, Operation([], []))
                operation.latencies_ms.append(milliseconds)
                if failure is not None:
                    operation.failures.append(failure)
        return requests, locks


def run(plan: Plan) -> Record:
    """Raises TimeoutError when the swarm's own locks don't connect."""
    course, recorder = Course(plan), Recorder()
    environment = _environment(plan, course)
    environment.events.request.add_listener(recorder.heard)  # type: ignore[no-untyped-call]  # Locust's hook has no types
    runner = environment.create_local_runner()
    users = plan.users + len(plan.swarm_locks)
    runner.start(users, spawn_rate=users / SPAWN_SECONDS)
    _wait_for_locks(len(plan.swarm_locks))
    time.sleep(SPAWN_SECONDS + plan.warm_up_seconds)
    begin = time.time()
    time.sleep(plan.seconds)
    end = time.time()
    course.closed = True
    deadline = time.monotonic() + UNFINISHED_SECONDS_MAX
    while course.in_flight and time.monotonic() < deadline:
        time.sleep(0.02)
    unfinished = course.in_flight
    time.sleep(1.0)  # reports that are on their way are still stored
    operations, locks = recorder.between(begin, end)
    runner.quit()
    return Record(end - begin, operations, unfinished, locks, course.opened)


def _environment(plan: Plan, course: Course) -> Environment:
    _refuse_other_machines(plan)
    PhoneUser.course, PhoneUser.fixed_count, PhoneUser.host = course, plan.users, plan.api_url
    LockUser.organization, LockUser.gateway_url, LockUser.host = plan.cast.organization, plan.gateway_url, plan.api_url
    LockUser.waiting, LockUser.moves_file = deque(plan.swarm_locks), Path(plan.swarm_moves_file)
    LockUser.fixed_count = len(plan.swarm_locks)
    # Locks first: Locust starts the classes of fixed count in this order.
    return Environment(user_classes=[LockUser, PhoneUser] if plan.swarm_locks else [PhoneUser], catch_exceptions=True)


def _refuse_other_machines(plan: Plan) -> None:
    for url in (plan.api_url, plan.gateway_url):
        if urllib.parse.urlsplit(url).hostname not in LOOPBACK:
            raise ValueError(f"a load test stays on this machine: {url}")


def _wait_for_locks(count: int) -> None:
    deadline = time.monotonic() + LOCKS_SECONDS_MAX
    while LockUser.ready < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{LockUser.ready} of {count} locks of the swarm connected")
        time.sleep(0.05)


def main(plan_file: Path) -> None:
    plan = read_plan(plan_file)
    Path(plan.record_file).write_bytes(msgspec.json.encode(run(plan)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
