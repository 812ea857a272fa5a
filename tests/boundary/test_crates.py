"""What each crate may reach: the engines know no network, no clock, no environment and no Python; the lock's crate needs no `std`.

Read from the manifests, `Cargo.lock` and the sources, so that it needs no compiler.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.boundary.project_files import project_files, read

CRATES = Path("core_rs/crates")
ENGINES = ("permissions", "tokens", "lock")
NETWORKS = frozenset({"tokio", "mio", "redis", "socket2", "ureq", "reqwest", "hyper", "rustls", "tokio-websockets"})
# A clock, a socket, a file or the environment: with one of them, the same question could get two answers. Tests may have them.
OUTSIDE_WORLD = re.compile(
    r"\b(?:SystemTime|Instant)::now|\bstd::(?:net|fs|env|process)\b|\b(?:Timestamp|Zoned)::now\b|\benv::(?:var|args)\b|\bTimeZone::(?:system|try_system)\b"
)


def dependencies_of(crate: str) -> frozenset[str]:
    """Every package that a crate is built from, through all levels; not what only its tests need."""
    graph = {package["name"]: [name.split()[0] for name in package.get("dependencies", [])] for package in LOCK["package"]}
    found: set[str] = set()
    waiting = list(manifest(crate).get("dependencies", {}))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += manifest(name.removeprefix("nexkey-")).get("dependencies", {}) if name.startswith("nexkey-") else graph.get(name, [])
    return frozenset(found)


def manifest(crate: str) -> dict[str, dict[str, object]]:
    """The Cargo.toml of one of the crates."""
    return tomllib.loads(read(CRATES / crate / "Cargo.toml"))


LOCK = tomllib.loads(read(Path("Cargo.lock")))


def sources(crate: str) -> list[Path]:
    """The files a crate is compiled from, without its tests."""
    return [
        path
        for path in project_files()
        if path.suffix == ".rs" and path.is_relative_to(CRATES / crate / "src") and "tests" not in path.stem
    ]


@pytest.mark.parametrize("crate", ENGINES)
def test_an_engine_is_built_without_network_or_python(crate: str) -> None:
    assert not dependencies_of(crate) & (NETWORKS | {"pyo3"})


def test_the_gateway_is_built_without_python() -> None:
    assert "tokio" in dependencies_of("gateway"), "the walk through Cargo.lock found nothing"
    assert "pyo3" not in dependencies_of("gateway")


@pytest.mark.parametrize("crate", ENGINES)
def test_an_engine_looks_at_nothing_outside(crate: str) -> None:
    assert sources(crate)
    seen = [f"{path}: {found}" for path in sources(crate) for found in OUTSIDE_WORLD.findall(outside_of_tests(read(path)))]
    assert not seen


def outside_of_tests(text: str) -> str:
    """A source up to its test module, which stands at the end."""
    return text.split("#[cfg(test)]\nmod ")[0]


def test_the_crate_of_the_lock_needs_no_std() -> None:
    opening = read(CRATES / "lock/src/lib.rs")
    assert re.search(r"^#!\[(?:cfg_attr\(not\(test\), no_std\)|no_std)\]", opening, re.MULTILINE)
    assert not [path for path in sources("lock") if re.search(r"\bstd::", outside_of_tests(read(path)))]


def test_every_crate_obeys_the_lints_of_the_workspace() -> None:
    crates = {
        path.parent.name: tomllib.loads(read(path)) for path in project_files() if path.name == "Cargo.toml" and path.is_relative_to(CRATES)
    }
    assert set(ENGINES) | {"gateway"} <= set(crates)
    assert not [name for name, content in crates.items() if content.get("lints") != {"workspace": True}]


def test_a_look_outside_is_found() -> None:
    assert OUTSIDE_WORLD.search("let now = SystemTime::now();")
    assert OUTSIDE_WORLD.search("use std::net::TcpStream;")
    assert not OUTSIDE_WORLD.search("pub fn check(now_ms: i64)")
    assert outside_of_tests("fn a() {}\n#[cfg(test)]\nmod tests { use std::fs; }") == "fn a() {}\n"
