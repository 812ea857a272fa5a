"""An embedded store for integration tests: the real server, a process of its own, on a free port, ended by its id."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import Mongo

_START_SECONDS_MAX = 20.0
_OWNER = {"count": 0}


def server_binary() -> Path:
    """`secantusd-rs` of the installed wheel."""
    return Path(sysconfig.get_path("scripts")) / "secantusd-rs"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def store_server(folder: Path) -> Iterator[str]:
    """The URL of a fresh store that syncs each commit."""
    port = free_port()
    arguments = ["--port", str(port), "--storage-path", str(folder), "--sync-on-commit", "--log-file-max", "64MB", "--cache-size", "256M"]
    process = subprocess.Popen([server_binary(), *arguments, "--log-level", "ERROR"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        _wait_until_it_answers(url, process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS_MAX
    with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=200) as client:
        while True:
            with contextlib.suppress(PyMongoError):
                client.admin.command("hello")
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the store did not start")


@pytest.fixture(scope="session")
def identity_store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with store_server(tmp_path_factory.mktemp("identity-store")) as url:
        yield url


@pytest_asyncio.fixture
async def mongo(identity_store_url: str) -> AsyncIterator[Mongo]:
    """A database of its own for each test, with the service's indexes."""
    _OWNER["count"] += 1
    made = Mongo(identity_store_url, f"identity{_OWNER['count']}", 5_000)
    await make_indexes(made.database)
    yield made
    await made.close()
