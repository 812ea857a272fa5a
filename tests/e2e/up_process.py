"""`nexkey` as a user starts it: a process whose lines are read as they come. For the end-to-end tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 40.0
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and movements of a terminal


class NexkeyProcess:
    """Started by `nexkey`. Its output is gathered by a thread, so that nothing blocks.

    `terminal`: columns and rows of a terminal that it writes to; `lines` are then what it drew, one after the other, without colours.
    """

    def __init__(self, arguments: tuple[str, ...], settings: dict[str, str], terminal: tuple[int, int] | None = None) -> None:
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("NEXKEY_")}
        reading, writing = os.pipe() if terminal is None else opened_terminal(*terminal)
        if terminal is not None:
            for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
                surroundings.pop(name, None)  # the terminal itself says what it is
            surroundings["TERM"] = "xterm-256color"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "py_service", *arguments],
            env={**surroundings, "NEXKEY_API_PORT": "0", "NEXKEY_GATEWAY_PORT": "0", "PYTHONUNBUFFERED": "1", **settings},
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(writing)
        self._output = os.fdopen(reading, "rb", buffering=0)
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
        rest = b""
        with self._output, contextlib.suppress(OSError):  # a terminal whose last writer has gone reads as an error
            while data := self._output.read(65_536):
                *lines, rest = (rest + data).split(b"\n")
                self.lines += [shown(line) for line in lines]
        if rest:
            self.lines.append(shown(rest))


def shown(line: bytes) -> str:
    """What stands there once a terminal has drawn it: a carriage return begins the line anew."""
    return CONTROL.sub("", line.decode("utf-8", "replace")).rstrip("\r").rpartition("\r")[2]


def opened_terminal(columns: int, rows: int) -> tuple[int, int]:
    """Both ends of a pseudo-terminal of this size: ours to read, a program's to write to."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return ours, theirs


@contextmanager
def nexkey(*arguments: str, terminal: tuple[int, int] | None = None, **settings: str) -> Iterator[NexkeyProcess]:
    """Whatever happens in the block, nothing is left running."""
    started = NexkeyProcess(arguments, settings, terminal)
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
