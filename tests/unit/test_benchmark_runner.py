"""The runner of the benchmarks: what it finds, that a miss fails the run, and that results are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as runner

PASSES = 'if __name__ == "__main__":\n    print("median 0.8 us")\n'
MISSES = 'if __name__ == "__main__":\n    print("p99 40 ms")\n    raise SystemExit(1)\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    benchmarks = tmp_path / "benchmarks"
    benchmarks.mkdir()
    (benchmarks / "support.py").write_text("FIGURE = 1\n", encoding="utf-8")
    (benchmarks / "b_check.py").write_text(PASSES, encoding="utf-8")
    monkeypatch.setattr(runner, "FOLDER", benchmarks)
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner, "benchmarks", lambda: names_in(benchmarks))
    monkeypatch.setattr(runner, "BUILD_PROFILE", "release")
    return benchmarks


names_in = runner.benchmarks


def kept(folder: Path) -> list[dict[str, object]]:
    content = json.loads((folder.parent / "results" / "latest.json").read_text(encoding="utf-8"))
    assert content["machine"]["cores"]
    assert content["versions"]["pymongo"]
    results: list[dict[str, object]] = content["results"]
    return results


def test_scripts_are_found_in_order_and_modules_are_not(folder: Path) -> None:
    (folder / "a_sign.py").write_text(PASSES, encoding="utf-8")
    (folder / "__main__.py").write_text(PASSES, encoding="utf-8")
    assert names_in(folder) == ["a_sign", "b_check"]


def test_a_run_that_meets_its_targets_passes_and_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main([]) == 0
    assert [(result["name"], result["exit_code"], result["printed"]) for result in kept(folder)] == [("b_check", 0, ["median 0.8 us"])]
    assert "median 0.8 us" in capsys.readouterr().out


def test_one_missed_target_fails_the_run_and_the_others_still_run(folder: Path) -> None:
    (folder / "a_sign.py").write_text(MISSES, encoding="utf-8")
    assert runner.main([]) == 1
    assert [(result["name"], result["exit_code"]) for result in kept(folder)] == [("a_sign", 1), ("b_check", 0)]


def test_a_name_picks_one(folder: Path) -> None:
    (folder / "a_sign.py").write_text(MISSES, encoding="utf-8")
    assert runner.main(["b_check"]) == 0
    assert [result["name"] for result in kept(folder)] == ["b_check"]


@pytest.mark.parametrize("arguments", [["nothing"], ["b_check", "nothing"]])
def test_an_unknown_name_is_refused(folder: Path, arguments: list[str]) -> None:
    assert runner.main(arguments) == 2
    assert not (folder.parent / "results").exists()


def test_a_debug_build_is_not_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BUILD_PROFILE", "debug")
    assert runner.main([]) == 2
    assert not (folder.parent / "results").exists()
