"""How often somebody may ask: a quota for each subject, kept in this process alone.

A subject is a text: `<organization>:<person or api key>`, or a client's network. Each process meters for itself, so a client that
reaches all N workers of a machine gets N times the quota. No I/O, no clock: the time comes in.

The algorithm is GCRA (a token bucket that is one number): a quota of q a minute may be used up at once, and grows back by one every
60/q seconds. Headers: draft-ietf-httpapi-ratelimit-headers-11, whose `q`, `w`, `r` and `t` are whole numbers of requests and seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from py_service.errors import Problem

WINDOW_SECONDS = 60
SUBJECTS_MAX = 20_000  # about 5 MB; the subject that was silent longest is forgotten first, and begins anew
_ROUNDING = 1e-6  # of one request: sums of floats aren't exact

Headers = list[tuple[str, str]]


class Meter:
    """`name` is the policy's in the headers, `quota` a number of requests a minute."""

    __slots__ = ("_interval", "_name", "_policy", "_room", "_subjects_max", "_whole_at")

    def __init__(self, name: str, quota: int, subjects_max: int = SUBJECTS_MAX) -> None:
        self._name = name
        self._interval = WINDOW_SECONDS / quota
        self._room = WINDOW_SECONDS + self._interval * _ROUNDING
        self._policy = ("ratelimit-policy", f'"{name}";q={quota};w={WINDOW_SECONDS}')
        self._subjects_max = subjects_max
        self._whole_at: OrderedDict[str, float] = OrderedDict()  # when a subject's quota is whole again

    def take(self, subject: str, now_seconds: float, headers: Headers) -> None:
        """Take one, and add what is left to `headers`. `now_seconds` is a monotonic time. Raises Problem 429 `rate_limited`.

        `t` is the time until the quota is whole again; with nothing left, the time until the next request is taken.
        """
        whole_at = self._whole_at
        taken = max(whole_at.get(subject, 0.0), now_seconds) + self._interval - now_seconds
        headers.append(self._policy)
        if taken > self._room:
            whole_at.move_to_end(subject)
            wait_seconds = max(1, ceil(taken - self._room))
            headers.append(("ratelimit", f'"{self._name}";r=0;t={wait_seconds}'))
            raise Problem(429, "rate_limited", "Too many requests in a short time.", retry_after_seconds=wait_seconds)
        whole_at[subject] = now_seconds + taken
        whole_at.move_to_end(subject)
        if len(whole_at) > self._subjects_max:
            whole_at.popitem(last=False)
        left = int((self._room - taken) / self._interval)
        reset_seconds = ceil(taken if left else taken + self._interval - self._room)
        headers.append(("ratelimit", f'"{self._name}";r={left};t={reset_seconds}'))
