"""The log of bolts: a line for each time that one moved, by which tests judge whether a door really opened."""

from __future__ import annotations

from io import FileIO
from pathlib import Path

import msgspec

from py_service.simulators.door import Move


class MoveLine(msgspec.Struct):
    """One line. `at_ms` is Unix time by this machine's clock, not by the lock's: it is compared with when calls returned."""

    at_ms: int
    lock: str
    what: str
    command: str | None


class MoveLog:
    """Appends JSON lines to a file, unbuffered: a line stands the moment the bolt has moved. Without a file it only counts."""

    def __init__(self, path: Path | None = None) -> None:
        self._file: FileIO | None = None if path is None else path.open("ab", buffering=0)  # closed by close()
        self.moves = 0

    def write(self, lock: str, at_ms: int, move: Move) -> None:
        self.moves += 1
        if self._file is not None:
            self._file.write(msgspec.json.encode(MoveLine(at_ms, lock, move.what, move.command)) + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def read_moves(path: Path) -> list[MoveLine]:
    """All whole lines of a move log."""
    if not path.exists():
        return []
    decoder = msgspec.json.Decoder(MoveLine)
    return [decoder.decode(line) for line in path.read_bytes().split(b"\n") if line]
