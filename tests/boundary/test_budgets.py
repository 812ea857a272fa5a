"""Each suite of tests has a written budget of minutes (CONTRIBUTING.md), and every command that runs tests stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.boundary.project_files import project_files, read

RUNS_TESTS = re.compile(r"-m pytest|\$\(PYTEST\)|cargo test|cargo \S+ fuzz run|python -m (?:benchmarks|loadtests)\b")
ROW = re.compile(r"^\| [^|]+ \| (?P<run_by>[^|]*`make [^|]+) \| (?P<minutes>\d+) \|$", re.MULTILINE)


def recipes() -> dict[str, str]:
    """What each target of the Makefile runs."""
    found: dict[str, str] = {}
    target = ""
    for line in read(Path("Makefile")).splitlines():
        if match := re.match(r"([a-z-]+):(?!=)", line):
            target = match[1]
        elif line.startswith("\t"):
            found[target] = found.get(target, "") + line + "\n"
    return found


def test_every_command_that_runs_tests_has_a_budget() -> None:
    running = {target for target, recipe in recipes().items() if RUNS_TESTS.search(recipe)}
    assert running >= {"test", "test-rust", "check", "histories", "campaign", "schemathesis", "bench", "loadtest", "fuzz"}
    rows = list(ROW.finditer(read(Path("CONTRIBUTING.md"))))
    named = {name for row in rows for name in re.findall(r"`make ([a-z-]+)", row["run_by"])}
    assert named == running
    assert all(int(row["minutes"]) > 0 for row in rows)


def test_every_folder_of_tests_is_run() -> None:
    """They are named one by one, so that what takes long comes first."""
    folders = {str(path.parent) for path in project_files() if path.parts[0] == "tests" and path.name.startswith("test_")}
    named = re.findall(
        r"\btests/[a-z0-9_]+(?![\w./])",
        recipes()["test"] + next(line for line in read(Path("Makefile")).splitlines() if line.startswith("NO_PROCESSES")),
    )
    assert set(named) == folders
