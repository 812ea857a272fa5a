"""Processor time by child of a stack, from Linux's /proc: what a request costs each process. A busy machine distorts it less than time.

Nothing is found on other systems.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from py_service.supervise.supervisor import Supervisor

# Fields of /proc/<pid>/stat behind the name (proc(5)): session, utime, stime.
SESSION, USER, SYSTEM = 3, 11, 12


def milliseconds(supervisor: Supervisor, names: Iterable[str]) -> dict[str, float]:
    """Of each child with everything it forked (a child leads a session of its own), since they started."""
    sessions = {supervisor.pid(name): name for name in names}
    found = dict.fromkeys(sessions.values(), 0.0)
    tick_ms = 1_000 / os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        name = sessions.get(int(fields[SESSION]))
        if name is not None:
            found[name] += (int(fields[USER]) + int(fields[SYSTEM])) * tick_ms
    return found


def since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Milliseconds between two readings."""
    return {name: after[name] - before.get(name, 0.0) for name in after}


def text(used: dict[str, float], seconds: float) -> str:
    """Shares of one core while the load ran."""
    shares = ", ".join(f"{name} {milliseconds_used / seconds / 1_000:.0%}" for name, milliseconds_used in used.items())
    return f"of one core: {shares}"
