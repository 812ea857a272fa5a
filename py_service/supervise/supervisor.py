"""Starts children in order, names and restarts the one that dies, stops all in reverse order. Knows nothing of what they are.

Use it as an async context manager: leaving the block stops every child.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from py_service.supervise.child import Child, ChildSpec, describe_status, start_child

READY_POLL_SECONDS = 0.05
BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_LAST_SECONDS = 10.0
STEADY_SECONDS = 30.0  # a child that lived this long has earned a quick restart

NoticeKind = Literal["started", "ready", "died", "not_ready", "stopped"]


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to a child, for people. `detail` names exit status or signal and the pause before the restart."""

    kind: NoticeKind
    name: str
    detail: str
    last_lines: list[str] = field(default_factory=list)


class ChildFailed(Exception):
    """A child died or did not get ready at the first start."""

    def __init__(self, name: str, detail: str, last_lines: list[str]) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.last_lines = last_lines


@dataclass(slots=True)
class _Post:
    """The place of one child in the order, whoever fills it at the moment."""

    spec: ChildSpec
    child: Child
    guard: asyncio.Task[None] | None = None
    started_at: float = 0.0
    failures: int = 0
    restarts: int = 0


class Supervisor:
    """`announce` is told everything; it must not block."""

    def __init__(self, logs: Path, announce: Callable[[Notice], None]) -> None:
        self._logs = logs
        self._announce = announce
        self._posts: dict[str, _Post] = {}

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.stop()

    async def start(self, spec: ChildSpec) -> None:
        """Returns when it is ready. Raises ChildFailed when it dies before, or takes longer than `ready_seconds_max`."""
        began = time.monotonic()
        child = await start_child(spec, self._logs)
        self._posts[spec.name] = post = _Post(spec, child, started_at=began)
        self._announce(Notice("started", spec.name, f"process {child.pid}"))
        if not await _became_ready(child):
            detail = "not ready in time" if child.alive else describe_status(await child.wait())
            raise ChildFailed(spec.name, detail, child.last_lines())
        self._announce(Notice("ready", spec.name, f"{(time.monotonic() - began) * 1_000:.0f} ms"))
        post.guard = asyncio.create_task(self._guard(post), name=f"guard of {spec.name}")

    def pid(self, name: str) -> int:
        """The process that fills this post now. Raises KeyError."""
        return self._posts[name].child.pid

    def restarts(self, name: str) -> int:
        return self._posts[name].restarts

    async def stop(self) -> None:
        """Reverse order, each within its `stop_seconds_max`, then killed. Safe to call twice."""
        guards = [post.guard for post in self._posts.values() if post.guard is not None]
        for guard in guards:
            guard.cancel()  # INVARIANT: nothing is restarted once stopping has begun
        await asyncio.gather(*guards, return_exceptions=True)
        for name in reversed(list(self._posts)):
            try:
                status = await self._posts[name].child.stop()
            except asyncio.CancelledError:
                self.kill()
                raise
            del self._posts[name]  # only now: `kill` reaches the one that is being stopped
            self._announce(Notice("stopped", name, describe_status(status)))

    def kill(self) -> None:
        """No more patience: SIGKILL to every child."""
        for post in self._posts.values():
            post.child.kill()

    async def _guard(self, post: _Post) -> None:
        """Waits for a child to die, says so, and starts it again. Ends only by being cancelled."""
        while True:
            status = await post.child.wait()
            lived = time.monotonic() - post.started_at
            post.failures = 0 if lived >= STEADY_SECONDS else post.failures + 1
            pause = min(BACKOFF_FIRST_SECONDS * 2.0 ** min(max(post.failures - 1, 0), 10), BACKOFF_LAST_SECONDS)
            detail = f"{describe_status(status)} after {lived:.1f} s; starts again in {pause:.1f} s"
            self._announce(Notice("died", post.spec.name, detail, post.child.last_lines()))
            await asyncio.sleep(pause)
            await self._restart(post)

    async def _restart(self, post: _Post) -> None:
        post.started_at = time.monotonic()
        post.child = await start_child(post.spec, self._logs)
        post.restarts += 1
        self._announce(Notice("started", post.spec.name, f"process {post.child.pid}, again"))
        if await _became_ready(post.child):
            self._announce(Notice("ready", post.spec.name, f"{(time.monotonic() - post.started_at) * 1_000:.0f} ms"))
        elif post.child.alive:
            # It stays: what it waits for may come back, and its own readiness says no until then.
            self._announce(Notice("not_ready", post.spec.name, "runs, but isn't ready yet", post.child.last_lines()))


async def _became_ready(child: Child) -> bool:
    """Asks until it is ready, dead, or late."""
    spec = child.spec
    deadline = time.monotonic() + spec.ready_seconds_max
    settled = time.monotonic() + spec.settle_seconds
    while child.alive and time.monotonic() < deadline:
        if spec.ready is None:
            if time.monotonic() >= settled:
                return True
        elif await spec.ready():
            return child.alive
        await asyncio.sleep(READY_POLL_SECONDS)
    return False
