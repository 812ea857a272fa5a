"""The pinned requirements agree with what pyproject.toml asks for, and name no host that packages come from."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.boundary.import_rules import imported_modules
from tests.boundary.project_files import ROOT, project_files, read

FOLDER = Path("requirements")
LOCKS = ("tools.txt", "runtime.txt", "embedded.txt", "dev.txt")
PROJECT = tomllib.loads(read(Path("pyproject.toml")))["project"]
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)(?P<rest>.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def pins(lock: str) -> dict[str, set[str]]:
    """Package -> pinned versions (one for each range of Python versions)."""
    found: dict[str, set[str]] = {}
    for match in PIN.finditer(read(FOLDER / lock)):
        found.setdefault(canonicalize_name(match["name"]), set()).add(match["version"])
    return found


def wanted(*groups: list[str]) -> list[Requirement]:
    """Requirements from lists of lines; comments fall away."""
    lines = (line.partition("#")[0].strip() for group in groups for line in group)
    return [Requirement(line) for line in lines if line]


DIRECT = {
    "tools.txt": wanted(read(FOLDER / "tools.in").splitlines()),
    "runtime.txt": wanted(PROJECT["dependencies"]),
    "embedded.txt": wanted(PROJECT["dependencies"], PROJECT["optional-dependencies"]["embedded"]),
    "dev.txt": wanted(PROJECT["dependencies"], PROJECT["optional-dependencies"]["embedded"], read(FOLDER / "dev.in").splitlines()),
}


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_asked_for_is_pinned_in_a_version_that_fits(lock: str) -> None:
    pinned = pins(lock)
    assert DIRECT[lock]
    for requirement in DIRECT[lock]:
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not pinned in {lock}: run `make lock`"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), (
            f"{requirement} but {versions}: run `make lock`"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    assert not [match["name"] for match in PIN.finditer(read(FOLDER / lock)) if "--hash=sha256:" not in match["rest"]]


@pytest.mark.parametrize("lock", ["runtime.txt", "embedded.txt"])
def test_what_runs_is_what_was_tested(lock: str) -> None:
    tested = pins("dev.txt")
    assert {name: versions for name, versions in pins(lock).items() if versions != tested.get(name)} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_requirement_names_a_place(lock: str) -> None:
    assert not re.findall(r"^\s*--(?:index|extra-index|find-links|trusted)\S*|://| @ ", read(FOLDER / lock), re.MULTILINE)


def test_there_is_one_lock_for_each_side() -> None:
    assert (ROOT / "Cargo.lock").exists()
    assert not (ROOT / "uv.lock").exists()


def test_every_direct_dependency_is_accounted_for() -> None:
    """docs/decisions/0002 says what each is for, who keeps it and why its licence fits."""
    listed = set(re.findall(r"^\| ([a-z0-9_-]+) \|", read(Path("docs/decisions/0002-dependencies.md")), re.MULTILINE)) - {
        "package",
        "crate",
    }
    used = {canonicalize_name(requirement.name) for requirements in DIRECT.values() for requirement in requirements} | crates_asked_for()
    assert used - listed == set()
    assert listed - used == set()


def crates_asked_for() -> set[str]:
    """What the members of the workspace depend on directly, tests and benchmarks included, without each other."""
    manifests = [tomllib.loads(read(path)) for path in project_files() if path.name == "Cargo.toml"]
    tables = ("dependencies", "dev-dependencies", "build-dependencies")
    found = {name for manifest in manifests for table in tables for name in manifest.get(table, {})}
    assert "tokio" in found
    return {name for name in found if not name.startswith("nexkey-")}


@pytest.mark.parametrize(
    ("folder", "lock"), [("py_service", "runtime.txt"), ("tests", "dev.txt"), ("benchmarks", "dev.txt"), ("loadtests", "dev.txt")]
)
def test_what_is_imported_is_asked_for(folder: str, lock: str) -> None:
    """A package that only comes along with another may leave with it. The service imports nothing that its bare wheel doesn't bring."""
    ours = {"py_service", "tests", "benchmarks", "loadtests"}
    files = [path for path in project_files() if path.suffix == ".py" and path.parts[0] == folder]
    imported = {module.partition(".")[0] for path in files for _, module in imported_modules(read(path))} - ours - sys.stdlib_module_names
    asked = {canonicalize_name(requirement.name) for requirement in DIRECT[lock]}
    brought_by = packages_distributions()
    assert imported
    assert {module for module in imported if not asked & {canonicalize_name(name) for name in brought_by.get(module, [])}} == set()
