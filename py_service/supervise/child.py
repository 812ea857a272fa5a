"""One child process: started, watched, stopped. What restarts it and in which order lives in `supervisor.py`.

A child has its own session, so that a Ctrl-C in the terminal reaches the supervisor alone, and so that what a dead child leaves
behind in its process group can be ended too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py_service.supervise import tether
from py_service.supervise.ready import Ready

LOG_BYTES_MAX = 16_000_000
TAIL_BYTES_MAX = 8_192
TAIL_LINES = 8


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run. `environment` is the whole of it and may hold secrets, so it doesn't show.

    `ready` is asked until it says yes; without it a child is ready when it has lived for `settle_seconds`.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    ready: Ready | None = None
    ready_seconds_max: float = 30.0
    settle_seconds: float = 0.3
    stop_seconds_max: float = 5.0
    stop_signal: signal.Signals = signal.SIGTERM


class Child:
    """A started process. Made by `start_child`."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process, log: Path, log_offset: int) -> None:
        self.spec = spec
        self._process = process
        self._log = log
        self._log_offset = log_offset

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Its exit status, negative for a signal. What it left in its process group is killed."""
        status = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        return status

    async def stop(self) -> int:
        """Ask it to stop; after `stop_seconds_max` make it."""
        if self.alive:
            self._process.send_signal(self.spec.stop_signal)
            try:
                async with asyncio.timeout(self.spec.stop_seconds_max):
                    return await self.wait()
            except TimeoutError:
                self.kill()
        return await self.wait()

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        self._signal_group(signal.SIGKILL)

    def last_lines(self) -> list[str]:
        """The end of what this run of it wrote."""
        try:
            with self._log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_offset, end - TAIL_BYTES_MAX))
                text = file.read(TAIL_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-TAIL_LINES:]

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def start_child(spec: ChildSpec, logs: Path) -> Child:
    """Start it, tied to this process's life. Call it from the main thread: the kernel ties a child to the thread that made it."""
    log = logs / f"{spec.name}.log"
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    program = (sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *spec.command)
    with log.open("ab") as output:
        offset = output.tell()
        process = await asyncio.create_subprocess_exec(
            *program,
            env=dict(spec.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(spec, process, log, offset)


def describe_status(status: int) -> str:
    """`exit status 3`, `signal SIGKILL`."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
