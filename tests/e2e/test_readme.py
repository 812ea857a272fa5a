"""The README's words to a new user, run as they stand: the lines of its shell blocks against `nexkey up --demo`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from py_service.cli import application
from py_service.simulators.moves import read_moves
from tests.e2e.up_process import NexkeyProcess, nexkey

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8080"
FOLDER = ".nexkey/"


def test_the_lines_for_a_new_user_open_a_door_and_tour_the_api(tmp_path: Path) -> None:
    assert shutil.which("curl"), "curl is missing on this machine: the README's lines can't be tried without it"
    block, tour = curl_block(), tour_block()
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
        script = (block.splitlines()[0] + "\n" + tour).replace(ADDRESS, up.address("api")).replace(FOLDER, f"{data}/")
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, run.stderr
        toured([json.loads(line) for line in run.stdout.splitlines()])
        commanded(block.splitlines()[0], up, data, tmp_path)
        assert up.stop() == 0


def commanded(sign_in: str, up: NexkeyProcess, data: Path, home: Path) -> None:
    """The lines with the command itself: its own sign-in, and whose it is. The operator's, too, with what is printed for them."""
    (lines,) = [found for found in blocks() if ".venv/bin/nexkey" in found]
    operator = f"{up.line('^stores +(.*)').group(1)} NEXKEY_MASTER_KEY=$(cat .nexkey/master.key) .venv/bin/nexkey"
    whole = f"{sign_in}\n{lines}{operator} journal verify\n{operator} key rotate\n"
    script = (
        whole.replace(ADDRESS, up.address("api")).replace(FOLDER, f"{data}/").replace(".venv/bin/nexkey", f"{sys.executable} -m py_service")
    )
    known = {name: value for name, value in os.environ.items() if not name.startswith("NEXKEY_")}
    known |= {"XDG_CONFIG_HOME": str(home), "NEXKEY_API_URL": up.address("api")}
    owner = json.loads((data / "owner.json").read_text())
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], input=f"{owner['password']}\n", capture_output=True, text=True, timeout=60, env=known,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    for said in ("berlin-main-entrance", "signed in at", "owner", "changes-", "signs from"):
        assert said in run.stdout, run.stdout


def toured(told: list[dict[str, object]]) -> None:
    """What the README says that the lines of its tour say, in their order."""
    schedule, group, person, allowed, taken, refused, first, second, third, passes, locked, shut, released, events = told
    assert [one["id"] for one in (schedule, group, person)] == ["mornings", "florists", "nora"]
    assert (allowed["allowed"], allowed["reason"]) == (True, "granted") and allowed["steps"]
    assert taken["effective_by"] and (refused["allowed"], refused["reason"]) == (False, "no_grant")
    assert [one.get("state") for one in (first, second)] == ["unlocked", "unlocked"]
    assert third["code"] == "pass_used_up"
    assert (passes["passes"], bool(passes["effective_by"])) == (1, True)
    assert (locked["locked_down"], shut["code"], released["locked_down"]) == (True, "door_locked_down", False)
    items = events["items"]
    assert isinstance(items, list) and len(items) == 3


def tour_block() -> str:
    """The shell block of the tour."""
    (block,) = [found for found in blocks() if found.startswith("api()")]
    assert block.count(ADDRESS) == 1
    return block


def blocks() -> list[str]:
    return re.findall(r"^```\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def curl_block() -> str:
    """The shell block with the curl lines, three of them, with the addresses that this test knows."""
    (block,) = [found for found in blocks() if found.startswith("TOKEN=")]
    assert block.count("curl ") == len(block.splitlines()) == 3
    assert block.count(ADDRESS) == 3 and block.count(FOLDER) == 1
    return str(block)


def answers(printed: str) -> tuple[dict[str, list[dict[str, object]]], dict[str, object]]:
    """The bodies of the two calls that print one, which stand on one line."""
    first, end = json.JSONDecoder().raw_decode(printed)
    return first, json.loads(printed[end:])


def test_the_tour_names_commands_that_there_are_and_help_lists_all() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `nexkey ")]
    named = [name for row in rows for name in re.findall(r"`([a-z][a-z -]*)`", row.split("|")[2]) if not name.startswith("nexkey ")]
    present = set(commands(application))
    assert len(rows) == 2 and len(named) == len(set(named))
    assert set(named) <= present and len(named) < 40, "a few"
    shown = CliRunner().invoke(application, ["--help"], env={"COLUMNS": "200"}).output
    assert {command.split()[0] for command in present} <= set(re.findall(r"[a-z][a-z-]*", shown))


def commands(group: typer.Typer, prefix: str = "") -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield prefix + (command.name or command.callback.__name__)
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from commands(below.typer_instance, f"{prefix}{below.name} ")
