"""The persons of the mixed load: one Locust user each, on a schedule of its own.

80 % unlocks, 15 % reads, 5 % changes. Nine of ten plain unlocks ask `Prefer: wait=2` with an Idempotency-Key, as the phone app does,
and are right only when the lock really opened; one of ten is answered when the command is out.

A change is never alone. It is part of one of two acts, four requests of one user, whose unlocks prove what the changes promise:
    give a stranger a grant -> they open the door -> take it back -> they are refused (`no_grant`)
    lock a door down -> a resident is refused (`door_locked_down`) -> release it -> they open it

What doesn't live here: what a right answer is (`answers.py`), and the measured window (`swarm.py`).
"""

from __future__ import annotations

import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import msgspec
from locust import FastHttpUser, task

from loadtests import answers
from loadtests.answers import Expected, Judged
from loadtests.plan import Plan
from loadtests.tokens import TokenMint

UNLOCKS, READS, CHANGES = 0.80, 0.15, 0.05
# An act is two changes and two unlocks: this is how often each thing is begun, so that requests come out in the shares above.
BEGUN = {"unlock": UNLOCKS - CHANGES, "read": READS, "act": CHANGES / 2}
WAITING_SHARE = 0.9
REQUEST_SECONDS_MAX = 10.0
WAIT_SECONDS = 2

Step = Callable[[], None]


class Course:
    """What all users share: the plan, the tokens, and which strangers and lockable doors nobody is using."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cast = plan.cast
        self.mint = TokenMint(plan.keys, plan.cast.organization)
        self.strangers = deque(plan.cast.strangers)
        self.lockable = deque(plan.cast.lockable)
        self.opened: list[str] = []
        self.in_flight = 0
        self.closed = False
        self.chance = random.Random(7)

    @property
    def interval_seconds(self) -> float:
        """Between two arrivals of one user."""
        return self.plan.users / self.plan.rate


class PhoneUser(FastHttpUser):
    """One arrival is one request. Arrivals keep their times however long an answer takes: a late one is followed by the next at once."""

    course: ClassVar[Course]
    network_timeout = REQUEST_SECONDS_MAX
    connection_timeout = REQUEST_SECONDS_MAX
    max_retries = 0  # a request that fails has failed

    def on_start(self) -> None:
        course = self.course
        self._resident = course.chance.choice(course.cast.residents)
        self._steps: deque[Step] = deque()
        self._due = time.monotonic() + course.chance.random() * course.interval_seconds

    def wait_time(self) -> float:
        self._due += self.course.interval_seconds
        return max(0.0, self._due - time.monotonic())

    @task
    def arrive(self) -> None:
        course = self.course
        if course.closed:
            return
        course.in_flight += 1
        try:
            step = self._steps.popleft() if self._steps else self._begin()
            step()
        finally:
            course.in_flight -= 1

    def _begin(self) -> Step:
        chance, cast = self.course.chance, self.course.cast
        kind = chance.choices(list(BEGUN), list(BEGUN.values()))[0]
        if kind == "read":
            return self._read_doors if chance.random() < 0.5 else self._read_events
        if kind == "act":
            act = self._act()
            if act is not None:
                return act
        door = chance.choice(cast.doors)
        if chance.random() < WAITING_SHARE:
            return partial(self._unlock, "unlock, waits for the lock", self._resident, door, answers.OPENED)
        return partial(self._unlock, "unlock, commanded", self._resident, door, answers.COMMANDED, 0)

    def _act(self) -> Step | None:
        """None when every stranger and every lockable door is taken."""
        course = self.course
        grants_first = course.chance.random() < 0.5
        if course.strangers and (grants_first or not course.lockable):
            return partial(self._give, course.strangers.popleft(), course.chance.choice(course.cast.doors))
        if course.lockable:
            return partial(self._lock_down, course.lockable.popleft())
        return None

    def _unlock(self, name: str, person: str, door: str, expected: Expected, wait_seconds: int = WAIT_SECONDS) -> None:
        headers = {}
        if wait_seconds:
            headers = {"Prefer": f"wait={wait_seconds}", "Idempotency-Key": secrets.token_hex(16)}

        def judge(status: int, body: bytes) -> Judged:
            return answers.judge_unlock(status, body, expected, door, person)

        judged = self._ask(name, "POST", f"/v1/doors/{door}/unlock", person, judge, headers)
        if judged.fault is None and expected is answers.OPENED:
            self.course.opened.append(judged.id)

    def _read_doors(self) -> None:
        cast = self.course.cast

        def judge(status: int, body: bytes) -> Judged:
            return answers.judge_doors(status, body, len(cast.doors) + len(cast.lockable), cast.lockable)

        self._ask("read my doors", "GET", "/v1/me/doors", self._resident, judge)

    def _read_events(self) -> None:
        path = f"/v1/events?limit={answers.EVENTS_LIMIT}"
        self._ask("read events", "GET", path, self.course.cast.auditor, answers.judge_events)

    def _give(self, stranger: str, door: str) -> None:
        def judge(status: int, body: bytes) -> Judged:
            return answers.judge_given(status, body, stranger, door)

        body = msgspec.json.encode({"effect": "allow", "person": stranger, "door": door})
        given = self._ask("give a grant", "POST", "/v1/grants", self.course.cast.manager, judge, body=body)
        if given.fault is not None:
            return  # this stranger may hold a grant now, and is not used again
        self._steps += (
            partial(self._unlock, "unlock, just granted", stranger, door, answers.OPENED),
            partial(self._take, given, stranger),
            partial(self._unlock, "refusal, just revoked", stranger, door, answers.refused("no_grant")),
            partial(self._free, self.course.strangers, stranger),
        )

    def _take(self, given: Judged, stranger: str) -> None:
        def judge(status: int, body: bytes) -> Judged:
            return answers.judge_changed(status, body, given.id, given.revision)

        taken = self._ask("take a grant back", "DELETE", f"/v1/grants/{given.id}", self.course.cast.manager, judge)
        if taken.fault is not None:
            self._steps.clear()

    def _lock_down(self, door: str) -> None:
        locked = self._set_lockdown(door, "lockdown", 0)
        if locked.fault is not None:
            return
        self._steps += (
            partial(self._unlock, "refusal, locked down", self._resident, door, answers.refused("door_locked_down")),
            partial(self._release, door, locked.revision),
        )

    def _release(self, door: str, revision: int) -> None:
        if self._set_lockdown(door, "release", revision).fault is not None:
            return
        self._steps += (
            partial(self._unlock, "unlock, just released", self._resident, door, answers.OPENED),
            partial(self._free, self.course.lockable, door),
        )

    def _set_lockdown(self, door: str, verb: str, revision: int) -> Judged:
        def judge(status: int, body: bytes) -> Judged:
            return answers.judge_changed(status, body, door, revision)

        name = "lock a door down" if verb == "lockdown" else "release a door"
        return self._ask(name, "POST", f"/v1/doors/{door}/{verb}", self.course.cast.manager, judge)

    def _free(self, pool: deque[str], item: str) -> None:
        """Gives back what an act used. It is no request, so the next thing follows at once."""
        pool.append(item)
        self._begin()()

    def _ask(
        self,
        name: str,
        method: str,
        path: str,
        person: str,
        judge: Callable[[int, bytes], Judged],
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Judged:
        """One request, judged. Locust is told of a wrong answer as a failure."""
        whole = {"Authorization": f"Bearer {self.course.mint.token(person)}", "Accept-Encoding": "identity", **(headers or {})}
        if body is not None:
            whole["Content-Type"] = "application/json"
        with self.client.request(
            method, path, name=name, headers=whole, data=None if body is None else body.decode(), catch_response=True
        ) as response:
            if response.status_code == 0:
                judged = Judged(f"no answer: {type(response.error).__name__}")
            else:
                judged = judge(response.status_code, response.content or b"")
            if judged.fault is None:
                response.success()
            else:
                response.failure(judged.fault)
        return judged
