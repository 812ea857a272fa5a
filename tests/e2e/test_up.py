"""`nexkey up` and `nexkey demo` with every real process: started, killed, restarted, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from pymongo import MongoClient

from tests.e2e.up_process import NexkeyProcess, alive, descendants, gone, nexkey

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

CHILDREN = ("mongo", "redis", "api", "gateway", "worker")


def test_up_starts_everything_in_order_and_one_ctrl_c_stops_all_in_reverse(tmp_path: Path) -> None:
    with nexkey("up", "--data", str(tmp_path)) as up:
        up.line("^ready; Ctrl-C")
        assert str(tmp_path) in up.line("^data folder +(.*)").group(1)
        assert httpx.get(f"{up.address('api')}/readyz", trust_env=False).status_code == 200
        assert (
            httpx.get(up.address("gateway").replace("ws://", "http://").replace("/v1/realtime", "/readyz"), trust_env=False).status_code
            == 200
        )
        shown = shlex.split(up.line("^mail .*`nexkey (mailbox .*)` shows it").group(1))
        with nexkey(*shown) as mailbox:  # as it is told, letter by letter
            assert (mailbox.wait(), mailbox.lines) == (0, ["no mail"])
        stores = up.line("^stores +(NEXKEY_MONGO_URL=.* NEXKEY_REDIS_URL=.*)").group(1)
        listing = f"{stores} {shlex.quote(sys.executable)} -m py_service organization list --json"
        assert subprocess.run(["bash", "-c", listing], capture_output=True, timeout=30, check=True).stdout == b"[]\n"
        mail = mailed(up, tmp_path, stores, shown)
        assert "\nTo: mira@seehaus.example\nSubject: A new password for Nexkey\n" in mail and "/reset-password#" in mail
        pids = descendants(up.process.pid)
        assert len(pids) >= len(CHILDREN) + 1  # the api has workers of its own
        with nexkey("up", "--data", str(tmp_path)) as second:
            assert second.wait() == 2
            assert "NEXKEY_DATA_FOLDER" in second.text
            assert "in use by another" in second.text
        assert up.stop(signal.SIGINT) == 0
        assert gone(pids)
        kinds = [(line.split()[0], line.split()[1]) for line in up.lines if len(line.split()) > 1]
        assert [name for name, kind in kinds if kind == "ready"] == list(CHILDREN)
        assert [name for name, kind in kinds if kind == "stopped"] == list(reversed(CHILDREN))
        stops = [line for line in up.lines if " stopped " in line]
        assert all("exit status 0" in line for line in stops), stops
    assert {path.name for path in (tmp_path / "logs").iterdir()} >= {f"{name}.log" for name in CHILDREN}
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600


def test_ctrl_c_during_the_start_stops_what_has_started(tmp_path: Path) -> None:
    with nexkey("up", "--data", str(tmp_path)) as up:
        up.line("^api +started")
        pids = descendants(up.process.pid)
        assert up.stop(signal.SIGINT) == 0
        assert gone(pids)
        assert "Traceback" not in up.text
        assert "ready; Ctrl-C" not in up.text


def test_a_killed_child_is_named_and_comes_back_and_a_killed_up_leaves_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with nexkey("up", "--data", str(tmp_path)) as up:
        up.line("^ready; Ctrl-C")
        for name in ("gateway", "mongo", "api"):
            before = up.child(name)
            below = descendants(before)
            os.kill(before, signal.SIGKILL)
            up.line(rf"^{name} +died +signal SIGKILL after .* s; starts again in ")
            up.line(rf"^{name} +started +process \d+, again")
            assert gone(below | {before})
            assert up.child(name) != before
        up.line("^api +ready.*")
        answer = httpx.Client(transport=httpx.HTTPTransport(retries=5), trust_env=False)
        wait_for_200(answer, f"{up.address('api')}/readyz")
        mongo = mongo_url(tmp_path, up.process.pid)
        client: MongoClient[dict[str, object]] = MongoClient(mongo, timeoutMS=5_000)
        client["nexkey"]["kept"].insert_one({"_id": "x", "value": 41})
        pids = descendants(up.process.pid)
        up.process.kill()
        assert gone(pids), "children outlived the one that watches them"
    with nexkey("up", "--data", str(tmp_path)) as up:
        up.line("^ready; Ctrl-C")
        again: MongoClient[dict[str, object]] = MongoClient(mongo_url(tmp_path, up.process.pid), timeoutMS=5_000)
        assert again["nexkey"]["kept"].find_one({"_id": "x"}) == {"_id": "x", "value": 41}
        assert up.stop(signal.SIGTERM) == 0


def test_up_demo_shows_what_happens_and_seeds_once(tmp_path: Path) -> None:
    with nexkey("up", "--demo", "--data", str(tmp_path)) as up:
        up.line(r"^seed +200 persons, 40 doors")
        password = up.line(r"^nordlicht +owner +(\S+) +(\S+)").group(2)
        up.line(r"\d  authorized  .*ms after the decision")
        up.line(r"\d  unlocked  .*ms from decision to bolt")
        up.line(r"\d  phone  .* authenticated \S+ ms  authorized \S+ ms  committed \S+ ms  commanded \S+ ms  unlocked \S+ ms  whole \S+ ms")
        assert up.stop() == 0
        assert "Traceback" not in up.text
    demo = json.loads((tmp_path / "demo.json").read_text())
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600
    assert demo["accounts"][0]["password"] == password
    with nexkey("up", "--demo", "--data", str(tmp_path)) as up:
        email, again = up.line(r"^nordlicht +owner +(\S+) +(\S+)").groups()
        assert again == password
        up.line("^ready; Ctrl-C")
        assert not re.search("^seed ", up.text, re.MULTILINE)
        signed_in = httpx.post(f"{up.address('api')}/v1/sign-in", json={"email": email, "password": password}, trust_env=False)
        assert signed_in.status_code == 200
        assert up.stop() == 0
    for log in (tmp_path / "logs").iterdir():
        text = log.read_text()
        for secret in (password, demo["seed"], (tmp_path / "master.key").read_text().strip()):
            assert secret not in text, f"{log.name} holds a secret"


def test_on_a_terminal_the_tables_of_up_demo_show_events_and_how_long_each_phase_took(tmp_path: Path) -> None:
    with nexkey("up", "--demo", "--data", str(tmp_path), terminal=(140, 40)) as up:
        up.line("Live: what happens at the doors")
        up.line(r"^\d\d:\d\d:\d\d\.\d{3} unlocked .* \d+ ms from decision to bolt")
        heads = up.line(r"^time +who +where +told +authenticated +authorized +committed +commanded +unlocked +whole$").group(0)
        row = up.line(r"^\d\d:\d\d:\d\d\.\d{3} .+ unlocked( +\d+\.\d){6}$").group(0)
        assert len(row) == len(heads) == 140
        *phases, whole = map(float, row.split()[-6:])
        assert sum(phases) <= whole + 1, "phases are parts of the call, in milliseconds"
        os.kill(up.child("worker"), signal.SIGKILL)  # notices go on above the tables
        up.line(r"^worker +died +signal SIGKILL")
        assert up.stop() == 0
        assert "Traceback" not in up.text


def test_demo_plays_one_round_and_judges_it_by_the_bolt() -> None:
    with nexkey("demo") as demo:
        assert demo.wait() == 0, demo.text
        assert "all right after" in demo.lines[-1]
        assert demo.text.count("right │") == 5
        folder = demo.line("^data folder +(.*)").group(1)
    assert not Path(folder).exists()


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with nexkey("up", "--data", str(tmp_path), NEXKEY_API_PORT=str(port)) as up:
            assert up.wait() == 2
            assert f"NEXKEY_API_PORT: port {port} on 127.0.0.1 is taken" in up.text
            assert "started" not in up.text


@pytest.mark.parametrize(
    ("command", "settings", "named"),
    [
        ("api", {}, "NEXKEY_MONGO_URL"),
        ("gateway", {}, "NEXKEY_REDIS_URL"),
        ("worker", {}, "NEXKEY_MONGO_URL"),
        ("api", {"NEXKEY_MONGO_URL": "mongodb://127.0.0.1:1/", "NEXKEY_REDIS_URL": "redis://127.0.0.1:1/"}, "NEXKEY_MASTER_KEY"),
        ("up", {"NEXKEY_MONGO_ULR": "a typing error"}, "NEXKEY_MONGO_ULR"),
        ("up", {"NEXKEY_ENVIRONMENT": "production"}, "NEXKEY_MONGO_URL"),
    ],
)
def test_a_start_that_lacks_a_setting_names_it(tmp_path: Path, command: str, settings: dict[str, str], named: str) -> None:
    with nexkey(command, terminal=None, NEXKEY_DATA_FOLDER=str(tmp_path), **settings) as process:
        assert process.wait() == 2
        assert process.lines[-1].startswith(f"nexkey: {named}: ")


def mailed(up: NexkeyProcess, folder: Path, stores: str, mailbox: list[str]) -> str:
    """The first mail of this `up`, by the command that it told: a new owner has forgotten their password."""
    key = f"NEXKEY_MASTER_KEY={shlex.quote((folder / 'master.key').read_text().strip())}"
    founding = "organization create --name Seehaus --owner-email mira@seehaus.example"
    command = f"{stores} {key} {shlex.quote(sys.executable)} -m py_service {founding}"
    subprocess.run(["bash", "-c", command], input=b"a long enough password\n", capture_output=True, timeout=30, check=True)
    forgotten = {"email": "mira@seehaus.example"}
    assert httpx.post(f"{up.address('api')}/v1/password-reset", json=forgotten, trust_env=False).status_code == 202
    deadline = time.monotonic() + 20
    while True:
        with nexkey(*mailbox, "1") as shown:
            if shown.wait() == 0:
                return shown.text
        assert time.monotonic() < deadline, shown.text


def mongo_url(folder: Path, up: int) -> str:
    """Where the embedded store of this `up` listens: its command line says so."""
    for pid in descendants(up):
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if alive(pid) and str(folder / "mongo") in command:
            return f"mongodb://127.0.0.1:{command[command.index('--port') + 1]}/?directConnection=true"
    raise AssertionError("no embedded store runs")


def wait_for_200(client: httpx.Client, url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if client.get(url).status_code == 200:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)
