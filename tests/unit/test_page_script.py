"""A page's script that can't be run is skipped by whoever has no node, and never where CI is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.page_script import node_found


@pytest.mark.parametrize(("ci", "outcome"), [(None, pytest.skip.Exception), ("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_node_ci_fails_and_others_skip(ci: str | None, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    with pytest.raises((pytest.skip.Exception, pytest.fail.Exception), match="needs node") as raised:  # a skip let through is no failure
        node_found()
    assert raised.type is outcome


def test_node_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node_found() == str(node)
