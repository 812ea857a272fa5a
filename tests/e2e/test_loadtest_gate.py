"""The gate as CI runs it, on the whole stack, shortly: it fails past its limit and says which one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_broken_limit_fails_the_run_and_is_named(tmp_path: Path) -> None:
    options = ["--seconds", "5", "--rate", "40", "--warm-up-seconds", "3", "--limit-ms", "0.001", "--runs", "1", "--results", str(tmp_path)]
    command = [sys.executable, "-m", "loadtests", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=160, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    missed = [line for line in done.stdout.splitlines() if line.startswith("GATE MISSED")]
    assert len(missed) == 1, told  # the load itself was answered rightly and kept its rate
    assert missed[0].startswith("GATE MISSED: average "), told
    assert missed[0].endswith(" ms is above the limit of 0.001 ms"), told
    kept = json.loads((tmp_path / "latest.json").read_text(encoding="utf-8"))
    assert kept["passed"] is False
    assert kept["operations"]["unlock, waits for the lock"]["count"] > 50
