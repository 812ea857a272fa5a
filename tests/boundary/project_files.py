"""Which files belong to the project: everything in the checkout that `.gitignore` doesn't leave out.

Walked by hand, so that the rules also hold in a copy without git.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE_SUFFIXES = frozenset({".py", ".pyi", ".rs", ".lua"})
TEXT_SUFFIXES = CODE_SUFFIXES | {
    ".css",
    ".md",
    ".toml",
    ".txt",
    ".in",
    ".json",
    ".yaml",
    ".yml",
    ".service",
    ".target",
    ".conf",
    ".sh",
    ".lock",
    ".env",
}
TEXT_NAMES = frozenset({"Makefile", "LICENSE", ".gitignore", "run"})


def ignored_patterns(root: Path = ROOT) -> tuple[frozenset[str], tuple[str, ...]]:
    """Folder names and file suffixes that `.gitignore` names; it holds nothing but `name/` and `*.suffix` lines."""
    lines = (root / ".gitignore").read_text(encoding="utf-8").split()
    folders = frozenset(line.strip("/") for line in lines if line.endswith("/"))
    suffixes = tuple(line[1:] for line in lines if line.startswith("*."))
    return folders | {".git"}, suffixes


def project_files(root: Path = ROOT) -> Iterator[Path]:
    """Every text file of the project, as a path relative to its root, sorted."""
    folders, suffixes = ignored_patterns(root)
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name not in folders)
        for name in sorted(files):
            path = Path(folder, name)
            if not name.endswith(suffixes) and (path.suffix in TEXT_SUFFIXES or name in TEXT_NAMES):
                yield path.relative_to(root)


def read(path: Path, root: Path = ROOT) -> str:
    """The text of a project file."""
    return (root / path).read_text(encoding="utf-8")
