"""Runs the benchmarks: `python -m benchmarks` all of them, `python -m benchmarks check unlock` the named ones.

Every `benchmarks/<name>.py` with an `if __name__ == "__main__":` is one.
They run in the order of their names, each in a process of its own.
A benchmark prints its figures beside the answer it checked, and exits non-zero when it misses its target. What was printed, by which
machine and which versions, is kept in `.build/bench/`.

What doesn't live here: any measurement.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from loadtests.environment import machine, versions
from py_service import _core_rs

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
RESULTS = ROOT / ".build" / "bench"
ENTRY = 'if __name__ == "__main__":'
BUILD_PROFILE = _core_rs.__build_profile__


def benchmarks(folder: Path = FOLDER) -> list[str]:
    """Names of the benchmarks, in the order in which they run."""
    scripts = sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return [path.stem for path in scripts if ENTRY in path.read_text(encoding="utf-8")]


def run(name: str) -> dict[str, object]:
    """Run one benchmark, show what it prints as it prints it, and return it with its exit code and its seconds."""
    began = time.monotonic()
    printed: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-u", "-m", f"{FOLDER.name}.{name}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line.rstrip("\n"))
    return {"name": name, "exit_code": process.returncode, "seconds": round(time.monotonic() - began, 1), "printed": printed}


def main(arguments: list[str]) -> int:
    """0 when every benchmark met its target, 1 when one didn't, 2 when nothing could be measured."""
    known = benchmarks()
    unknown = sorted(set(arguments) - set(known))
    if unknown or not known:
        print(f"no such benchmark: {', '.join(unknown) or 'there is none'}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    if BUILD_PROFILE != "release":
        print("the core is a debug build; figures would mean nothing: run `make build`", file=sys.stderr)
        return 2
    header = {"machine": machine(), "versions": versions()}
    for title, facts in header.items():
        print(f"\n{title}")
        for field, value in facts.items():
            print(f"  {field:<12} {value}")
    began = datetime.now(UTC)
    results: list[dict[str, object]] = []
    for name in [name for name in known if not arguments or name in arguments]:
        print(f"\n== {name}", flush=True)
        results.append(run(name))
        write(began, header, results)
    print()
    for result in results:
        print(f"{'ok    ' if result['exit_code'] == 0 else 'FAILED'} {result['name']:<24} {result['seconds']} s")
    return 0 if all(result["exit_code"] == 0 for result in results) else 1


def write(began: datetime, header: dict[str, dict[str, str]], results: list[dict[str, object]]) -> None:
    """Keep the results after each benchmark, so that one that is stopped leaves those before it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"began": began.isoformat(timespec="seconds"), **header, "results": results}, indent=2)
    (RESULTS / f"{began:%Y%m%dT%H%M%SZ}.json").write_text(content, encoding="utf-8")
    (RESULTS / "latest.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
