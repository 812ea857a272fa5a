"""The folder that keeps everything of one `nexkey up`: stores, logs, master key, demonstration. One at a time may use it.

<data>/mongo        the embedded store        <data>/master.key   made on first start in development, 0600
<data>/logs         one file per child        <data>/demo.json    accounts and seed of the demonstration, 0600
<data>/moves.jsonl  bolts that moved in it    <data>/owner.json   what its owner signs in with, 0600
"""

from __future__ import annotations

import base64
import fcntl
import secrets
from pathlib import Path
from typing import IO

from py_service.errors import SettingsError
from py_service.settings import MASTER_KEY_BYTES, Secret
from py_service.stores.private_file import read_private, write_private


class DataFolder:
    """Made and locked by `open`, released by `close` (and by the death of the process)."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> DataFolder:
        """Raises SettingsError when another process uses it or it can't be made."""
        path = path.expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            (path / "logs").mkdir(exist_ok=True)
            lock = (path / "up.lock").open("a+", encoding="ascii")  # held as long as the folder is used
        except OSError as error:
            raise SettingsError(f"NEXKEY_DATA_FOLDER: {path} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise SettingsError(f"NEXKEY_DATA_FOLDER: {path} is in use by another `nexkey up`") from error
        return cls(path, lock)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def demo_file(self) -> Path:
        return self.path / "demo.json"

    @property
    def owner_file(self) -> Path:
        """What the demonstration's owner signs in with, as the body of a request."""
        return self.path / "owner.json"

    @property
    def moves_file(self) -> Path:
        """A line for each time that a bolt of the demonstration moved, since its last start."""
        return self.path / "moves.jsonl"

    def close(self) -> None:
        self._lock.close()

    def master_key(self) -> Secret:
        """The key of this folder, made on first use. Raises SettingsError when others may read it or it is damaged."""
        path = self.path / "master.key"
        if not path.exists():
            write_private(path, base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)))
        text = read_private(path)
        try:
            value = base64.b64decode(text.strip(), validate=True)
        except ValueError:
            value = b""
        if len(value) != MASTER_KEY_BYTES:
            raise SettingsError(f"NEXKEY_MASTER_KEY: {path} doesn't hold {MASTER_KEY_BYTES} bytes in base64")
        return Secret(value)
