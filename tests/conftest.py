"""Pytest's workers don't meet: each chooses the ports of what it starts from a range of its own."""

from __future__ import annotations

import os

from py_service.supervise import ports


def pytest_configure() -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1; none without pytest-xdist
    if worker is not None:
        each = (ports.FREE_LAST - ports.FREE_FIRST + 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        ports.FREE_FIRST += int(worker.removeprefix("gw")) * each
        ports.FREE_LAST = ports.FREE_FIRST + each - 1
