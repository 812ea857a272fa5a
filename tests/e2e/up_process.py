"""`nexkey` as a user starts it: a process whose lines are read as they come. For the end-to-end tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 40.0


class NexkeyProcess:
    """Started by `nexkey`. Its output is gathered by a thread, so that nothing blocks."""

    def __init__(self, arguments: tuple[str, ...], settings: dict[str, str]) -> None:
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("NEXKEY_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "py_service", *arguments],
            env={**surroundings, "NEXKEY_API_PORT": "0", "NEXKEY_GATEWAY_PORT": "0", "PYTHONUNBUFFERED": "1", **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def line(self, pattern: str, seconds_max: float = START_SECONDS_MAX) -> re.Match[str]:
        """The first line that matches, waited for."""
        deadline = time.monotonic() + seconds_max
        while True:
            for line in list(self.lines):
                if (found := re.search(pattern, line)) is not None:
                    return found
            assert self.process.poll() is None or self._reader.is_alive(), f"ended without {pattern!r}:\n{self.text}"
            assert time.monotonic() < deadline, f"no {pattern!r} in {seconds_max} s:\n{self.text}"
            time.sleep(0.02)

    def child(self, name: str) -> int:
        """The process id of a child as it was last announced."""
        self.line(rf"^{name} +started +process (\d+)")
        return int([found for line in self.lines if (found := re.search(rf"^{name} +started +process (\d+)", line))][-1].group(1))

    def address(self, name: str) -> str:
        return self.line(rf"^{name} +(\w+://\S+)").group(1)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Its exit status after a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(STOP_SECONDS_MAX)
        self._reader.join(5)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


@contextmanager
def nexkey(*arguments: str, **settings: str) -> Iterator[NexkeyProcess]:
    """Whatever happens in the block, nothing is left running."""
    started = NexkeyProcess(arguments, settings)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()  # its children die with it
            started.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid: int) -> set[int]:
    """Every process below this one, by the kernel's word."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= {int(child)} | (descendants(int(child)) if Path(f"/proc/{child}").exists() else set())
    return found


def gone(pids: set[int], seconds_max: float = 10.0) -> bool:
    """Whether all of them end in time."""
    deadline = time.monotonic() + seconds_max
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
