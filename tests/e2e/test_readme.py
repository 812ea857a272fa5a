"""The README's words to a new user, run as they stand: the lines of its shell block against `nexkey up --demo`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from py_service.cli import application
from py_service.simulators.moves import read_moves
from tests.e2e.up_process import nexkey

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8080"
FOLDER = ".nexkey/"


def test_the_three_curl_lines_open_a_door(tmp_path: Path) -> None:
    assert shutil.which("curl"), "curl is missing on this machine: the README's lines can't be tried without it"
    block = curl_block()
    data = tmp_path / "data"
    with nexkey("up", "--demo", "--data", str(data)) as up:
        up.line("^ready; Ctrl-C")
        up.line(r"^\S+  authorized ")  # locks are connected, phones are opening doors
        script = block.replace(ADDRESS, up.address("api")).replace(FOLDER, f"{data}/")
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=30, check=False)
        assert run.returncode == 0, run.stderr
        doors, last = answers(run.stdout)
        assert "berlin-main-entrance" in [door["id"] for door in doors["items"] if door["allowed"]]
        assert '"state":"unlocked"' in run.stdout, run.stdout
        assert (last["state"], last["door"]) == ("unlocked", "berlin-main-entrance")
        moved = [move.lock for move in read_moves(data / "moves.jsonl") if move.command == last["id"]]
        assert moved == ["lock-berlin-main-entrance"], "the bolt moved, for this command, once"
        for kind in ("authorized", "unlocked"):  # "the terminal of `make run` shows the two events"
            up.line(rf"^\S+  {kind}  .*Berlin main entrance")
        assert up.stop() == 0


def curl_block() -> str:
    """The shell block with the curl lines, three of them, with the addresses that this test knows."""
    blocks = re.findall(r"^```\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = [found for found in blocks if "curl" in found]
    assert block.count("curl ") == len(block.splitlines()) == 3
    assert block.count(ADDRESS) == 3 and block.count(FOLDER) == 1
    return str(block)


def answers(printed: str) -> tuple[dict[str, list[dict[str, object]]], dict[str, object]]:
    """The bodies of the two calls that print one, which stand on one line."""
    first, end = json.JSONDecoder().raw_decode(printed)
    return first, json.loads(printed[end:])


def test_the_tour_names_every_command() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `nexkey ")]
    named = [name for row in rows for name in re.findall(r"`([a-z ]+)`", row.split("|")[2])]
    assert len(rows) == 2 and len(named) == len(set(named))
    assert set(named) == set(commands(application))


def commands(group: typer.Typer, prefix: str = "") -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield prefix + (command.name or command.callback.__name__)
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from commands(below.typer_instance, f"{prefix}{below.name} ")
