"""Files that hold secrets: written whole, readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from py_service.errors import SettingsError

OTHERS_MAY = 0o077


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by the owner alone."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_private(path: Path) -> bytes:
    """Raises SettingsError when others than the owner may read or write it."""
    if path.stat().st_mode & OTHERS_MAY:
        raise SettingsError(f"NEXKEY_DATA_FOLDER: others may read {path}; it must have mode 0600")
    return path.read_bytes()
