"""A worker must not outlive its server: Granian's workers otherwise keep the shared port after the parent was killed.

Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """SIGKILL when the parent is gone. Raises SystemExit when it went before this could be asked for.

    SIGKILL, because a worker without a parent holds nothing that a sudden end could lose: what was answered is in the store.
    """
    parent = multiprocessing.parent_process()
    if parent is None or not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent.pid:
        raise SystemExit("the server is gone")
