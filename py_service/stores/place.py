"""Where a process runs, so that another one on the same machine knows at once that it is gone. Linux; elsewhere a heartbeat has to tell.

A wrong answer costs a repeated transaction and nothing else: whoever is taken for dead finds its transaction aborted, or its log closed.
"""

from __future__ import annotations

import os
from pathlib import Path

from py_service.stores.mongo import Document

_START_FIELD = 19  # of /proc/<pid>/stat behind the command's name: when it started, in ticks since boot


def own_place() -> Document | None:
    """For a register; None where processes can't be told apart."""
    began = _began(os.getpid())
    machine = _machine()
    return None if began is None or machine is None else {"machine": machine, "pid": os.getpid(), "began": began}


def is_gone(place: Document | None) -> bool:
    """Whether that process ran on this machine and runs no more. False when nobody here can know."""
    return place is not None and place["machine"] == _machine() and _began(place["pid"]) != place["began"]


def _machine() -> str | None:
    """This boot and this set of process ids: containers of one machine have sets of their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _began(pid: int) -> int | None:
    """None for no such process, and for one that only waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[_START_FIELD])
