"""Ties a program to the life of the process that starts it, then becomes that program.

Run as a script, before anything is imported: `python -I -S tether.py <parent's pid> <program> <arguments>`. On Linux the kernel
kills the program when its parent dies, so that a supervisor that was killed leaves nothing behind. Elsewhere it only starts the program.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent dies. It survives execve, not fork."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def main(arguments: list[str]) -> None:
    parent, program = int(arguments[0]), arguments[1:]
    die_with_parent()
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606  # the point of this file: no shell, no second process


if __name__ == "__main__":
    main(sys.argv[1:])
