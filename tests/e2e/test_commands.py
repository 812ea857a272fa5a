"""The commands for daily work against the running service: each once, as a manager would use it; exit statuses; a lost answer."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from py_service.cli import application
from py_service.commands.table import VERBS
from tests.e2e.running import Service, device_key, running_service
from tests.e2e.test_readme import commands

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR = "berlin-main-entrance"
NOBODY = "http://127.0.0.1:9"
OF_THE_TABLE = {f"{verb.noun} {verb.verb}" for verb in VERBS}
DAILY = OF_THE_TABLE | {"login", "logout", "whoami", "group join", "group leave", "import add"}


@dataclass(slots=True)
class Terminal:
    """Somebody's shell, with a home of its own. `ran` remembers which commands were carried out with success."""

    url: str
    home: Path
    ran: set[str] = field(default_factory=set)

    def __call__(self, *words: str, status: int = 0, typed: str = "", **environment: str) -> Any:
        """Standard output, as JSON where that was asked for. Fails when the exit status is another."""
        own = {"XDG_CONFIG_HOME": str(self.home), "NEXKEY_API_URL": self.url, "NEXKEY_TOKEN": "", **environment}
        result = CliRunner().invoke(application, list(words), input=typed, env=own)
        assert result.exit_code == status, (words, result.exit_code, result.output, result.exception)
        if status == 0:
            self.ran.add(" ".join(words[:2]) if " ".join(words[:2]) in DAILY else words[0])
        return json.loads(result.stdout) if "--json" in words else result.output


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("commands"), persons=12, doors=4) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def ids(answer: dict[str, Any]) -> set[str]:
    return {item["id"] for item in answer["items"]}


async def test_a_working_day(service: Service, home: Path) -> None:
    """Every command once: what one changes, the next one shows."""
    nexkey = Terminal(service.url, home)
    await asyncio.to_thread(working_day, nexkey, service)
    assert nexkey.ran == DAILY, DAILY ^ nexkey.ran


def working_day(nexkey: Terminal, service: Service) -> None:
    owner = service.made.account("owner")
    assert "signed in at" in nexkey("login", owner.email, typed=f"{owner.password}\n")
    assert (nexkey.home / "nexkey" / "sign-ins.json").stat().st_mode & 0o777 == 0o600
    assert owner.name in nexkey("whoami")
    people(nexkey)
    doors(nexkey)
    keys(nexkey)
    programs(nexkey)
    imports(nexkey)
    sessions(nexkey, service)
    places(nexkey)
    changes(nexkey)
    own(nexkey, service)
    assert "signed out" in nexkey("logout")
    assert "nobody is signed in" in nexkey_process(nexkey, "door", "list", status=2)


def people(nexkey: Terminal) -> None:
    group = nexkey("group", "add", "Climbers", "--id", "climbers", "--json")["id"]
    nexkey("group", "add", "All sports", "--id", "sports", "--includes", group)
    assert "Climbers" in nexkey("group", "list", "--name", "Clim")
    assert nexkey("group", "show", "sports", "--json")["includes"] == [group]
    made = nexkey(
        "person", "add", "Nora Lind", "--email", "nora@example.test", "--group", "sports", "--until", "2099-01-01T00:00:00Z", "--json"
    )
    person = made["id"]
    assert (made["kind"], made["valid_until"], made["groups"]) == ("employee", "2099-01-01T00:00:00Z", ["sports"])
    assert nexkey("group", "join", group, person, "--json")["groups"] == [group, "sports"]
    assert "climbers, sports" in nexkey("person", "list", "--group", group)
    grant = nexkey("grant", "add", "--group", group, "--door", DOOR, "--json")["id"]
    assert ids(nexkey("grant", "list", "--group", group, "--json")) == {grant}
    together = ("--group", group, "--effect", "allow", "--sort", "-created_at", "--json")
    assert ids(nexkey("grant", "list", *together)) == {grant}
    assert ids(nexkey("grant", "list", *together, "--effect", "deny")) == set()
    assert "climbers" in nexkey("grant", "show", grant)
    explained = nexkey("access", "explain", "--person", person, "--door", DOOR, "--json")
    assert (explained["allowed"], explained["rule"]) == (True, grant)
    told = nexkey("access", "explain", "--person", person, "--door", DOOR)
    assert [line.split() for line in told.splitlines() if line.startswith(grant)] == [[grant, "allow", "holds"]]
    assert "stateful rules:" not in told
    assert person in ids(nexkey("access", "who", "--door", DOOR, "--limit", "200", "--json"))
    assert DOOR in nexkey("access", "what", "--person", person)
    nexkey("person", "suspend", person)
    assert nexkey("person", "show", person, "--json")["state"] == "suspended"
    assert not nexkey("access", "explain", "--person", person, "--door", DOOR, "--json")["allowed"]
    assert "effective by" in nexkey("person", "resume", person)
    assert "in_use" in nexkey("group", "remove", group, status=1)
    assert nexkey("group", "leave", group, person, "--json")["groups"] == ["sports"]
    assert "effective by" in nexkey("grant", "remove", grant)
    nexkey("person", "remove", person)
    nexkey("group", "remove", "sports")
    nexkey("group", "remove", group)
    assert nexkey("group", "show", group, "--json")["ended_at"] is not None


def keys(nexkey: Terminal) -> None:
    until = "2027-06-03T18:00:00Z"
    given = nexkey(
        "pass", "add", "Noor", "--door", DOOR, "--until", until, "--uses", "3", "--passes-on", "1", "--email", "noor@example.test", "--json"
    )  # fmt: skip
    one = given["id"]
    assert (given["doors"], given["uses"], given["passes_on_max"], given["receiver"]) == ([DOOR], 3, 1, {"email": "noor@example.test"})
    renewed = nexkey("pass", "link", one)
    assert "#" in renewed and (given["link"], given["delivery"]) == (None, "email")
    assert "email" in nexkey("pass", "resend", one)
    assert "issued" in nexkey("pass", "list", "--door", DOOR)
    assert "Noor" in nexkey("pass", "show", one)
    link = nexkey("pass", "link", one, "--json")["link"]
    asked_of(nexkey, "/v1/me/passes", {"token": link.partition("#")[2]}, status=200)
    assert nexkey("pass", "mine", "--json")["items"][0]["state"] == "active"
    below = nexkey("pass", "pass-on", one, "Ben", "--uses", "1", "--json")
    assert (below["parent"], below["valid_until"], below["receiver"]) == (one, until, {"link": True})
    assert nexkey("pass", "take", one, "--json")["passes"] == 2


def sessions(nexkey: Terminal, service: Service) -> None:
    other = Terminal(nexkey.url, nexkey.home / "elsewhere")
    owner = service.made.account("owner")
    other("login", owner.email, typed=f"{owner.password}\n")
    (there,) = [one["id"] for one in other("session", "list", "--json")["items"] if one["current"]]
    assert "nexkey/" in nexkey("session", "list")
    nexkey("session", "end", there)
    assert "token_revoked" in other("whoami", status=1)
    assert "ended" in nexkey("session", "end-others")
    employee = service.made.account("employee")
    other("login", employee.email, typed=f"{employee.password}\n")
    assert nexkey("person", "sessions", employee.person, "--json")["items"]
    there = nexkey_process(nexkey, "person", "remove", f"{employee.person}/sessions", status=2)
    assert "is no id" in there
    other("whoami")  # another operation was not reached by it
    nexkey("person", "sign-out", employee.person)
    assert "token_revoked" in other("whoami", status=1)


def programs(nexkey: Terminal) -> None:
    made = nexkey("api-key", "add", "Payroll", "--scope", "persons.read", "--scope", "doors.read", "--site", "berlin", "--json")
    assert (made["scopes"], made["sites"]) == (["doors.read", "persons.read"], ["berlin"])
    assert nexkey("door", "list", "--json", NEXKEY_TOKEN=made["key"])["items"]
    assert "Payroll" in nexkey("api-key", "list")
    assert made["key"] not in nexkey("api-key", "show", made["id"])
    turned = nexkey("api-key", "rotate", made["id"], "--overlap-seconds", "0", "--json")["key"]
    assert "api_key_unknown" in nexkey("door", "list", status=1, NEXKEY_TOKEN=made["key"])
    assert nexkey("door", "list", "--json", NEXKEY_TOKEN=turned)["items"]
    assert "effective by" in nexkey("api-key", "remove", made["id"])
    named = ("--email", "uli@nordlicht.example", "--name", "Uli", "--group", "everyone")
    invited = nexkey("invitation", "add", *named, "--role", "reception:berlin", "--role", "auditor", "--json")
    assert invited["state"] == "waiting"
    roles = nexkey("person", "show", invited["person"], "--json")["roles"]
    assert {role["role"]: role["sites"] for role in roles} == {"reception": ["berlin"], "auditor": None}
    assert nexkey("invitation", "resend", invited["id"], "--json")["sent"] == 2
    assert "Uli" in nexkey("invitation", "list")
    assert "uli@nordlicht.example" in nexkey("invitation", "show", invited["id"])
    assert "effective by" in nexkey("invitation", "remove", invited["id"])
    assert "api_key" in nexkey("door", "list", status=1, NEXKEY_TOKEN=turned)


def imports(nexkey: Terminal) -> None:
    file = nexkey.home / "groups.CSV"
    file.write_text("id,name\nnight,Night shift\nday,Day shift\n", encoding="utf-8-sig")
    whole = nexkey("import", "add", str(file), "--kind", "groups", "--json")
    assert (whole["state"], whole["rows_applied"], whole["rows_refused"]) == ("ended", 2, 0)
    assert "Night shift" in nexkey("group", "show", "night")
    again = nexkey("import", "add", str(file), "--kind", "groups", "--all-or-nothing", status=1)
    assert "refused" in again
    people = nexkey.home / "people.ndjson"
    people.write_text('{"name":"Ada"}\n{"name":"Bob","groups":["nobody-here"]}\n')
    partly = nexkey("import", "add", str(people), "--kind", "persons", "--json", status=1)
    assert (partly["rows_applied"], partly["rows_refused"]) == (1, 1)
    assert "group_unknown" in nexkey("import", "rows", partly["id"], "--outcome", "refused")
    assert partly["id"] in nexkey("import", "list")
    assert "ended" in nexkey("import", "show", partly["id"])
    assert "ended" in nexkey("import", "stop", partly["id"])
    started = nexkey("import", "add", str(people), "--kind", "persons", "--no-watch", "--json")
    assert started["state"] in ("waiting", "applying", "ended")
    assert "its name has to end in" in nexkey_process(nexkey, "import", "add", "people.xls", "--kind", "persons", status=2)


def doors(nexkey: Terminal) -> None:
    modes = [{"schedule": "night-shift", "mode": "locked"}]
    rules = ("--modes", json.dumps(modes), "--enters", "berlin-lobby", "--two-persons-seconds", "30", "--sharing")
    made = nexkey("door", "add", "Roof door", "--site", "berlin", "--area", "berlin-lobby", *rules, "--json")
    assert (made["modes"], made["enters"], made["leaves"]) == (modes, "berlin-lobby", None)
    assert (made["two_persons_seconds"], made["sharing"], made["mode"]) == (30, True, "locked")
    roof = made["id"]
    assert roof in ids(nexkey("door", "list", "--site", "berlin", "--limit", "200", "--json"))
    assert "Roof door" in nexkey("door", "show", roof)
    assert DOOR in nexkey("door", "mine")
    opened = nexkey("door", "unlock", DOOR, "--wait", "5", "--json")
    assert (opened["state"], opened["door"]) == ("unlocked", DOOR)
    assert "commanded" in nexkey("door", "unlock", DOOR, "--wait", "0")
    assert "manual" in nexkey("door", "lockdown", DOOR)
    refused = nexkey("door", "unlock", DOOR, "--json", status=1)
    assert (refused["code"], refused["status"]) == ("door_locked_down", 403)
    assert nexkey("door", "release", DOOR, "--json")["locked_down"] is False
    assert "unlocked" in nexkey("door", "unlock", DOOR, "--wait", "5", "--pin", typed="4711\n")  # a PIN that nobody asked for
    nexkey("door", "remove", roof)
    first = nexkey("event", "list", "--limit", "1", "--json")
    assert first["next_cursor"] and len(first["items"]) == 1
    assert first["items"][0]["id"] not in nexkey("event", "list", "--cursor", first["next_cursor"])


def places(nexkey: Terminal) -> None:
    assert "Europe/Berlin" in nexkey("site", "list")
    for noun, place in (("site", "berlin"), ("area", "berlin-lobby")):
        assert nexkey(noun, "lockdown", place, "--json")["held_by"] == ["manual"]
        assert nexkey(noun, "release", place, "--json")["held_by"] == []
    assert nexkey("area", "inside", "berlin-lobby", "--json")["count"] == 0
    nexkey("area", "reset", "berlin-lobby")
    nexkey("area", "change", "berlin-lobby", "--occupancy-max", "50")
    nexkey("door", "change", DOOR, "--enters", "berlin-lobby")
    explained = nexkey("access", "explain", "--person", nexkey("whoami", "--json")["person"], "--door", DOOR)
    assert [line.split()[:3] for line in explained.partition("stateful rules:")[2].splitlines()[2:]] == [
        ["occupancy", "berlin-lobby", "holds"]
    ]
    nexkey("door", "change", DOOR, "--clear", "enters")
    nexkey("area", "change", "berlin-lobby", "--clear", "occupancy-max")
    assert "berlin-lobby" in nexkey("area", "list", "--site", "berlin")
    for noun in ("floor", "device", "schedule", "calendar"):
        assert nexkey(noun, "list", "--limit", "200", "--json")["items"]
    assert "site_manager" in nexkey("role", "list")
    plan = nexkey("plan", "add", "Outer doors", "--door", DOOR, "--json")["id"]
    assert "Outer doors" in nexkey("plan", "list", "--door", DOOR)
    assert nexkey("plan", "engage", plan, "--json")["engaged"] is True
    assert nexkey("door", "show", DOOR, "--json")["held_by"] == [f"plan:{plan}"]
    assert nexkey("plan", "release", plan, "--json")["engaged"] is False


def changes(nexkey: Terminal) -> None:
    """Of every kind one is made, shown, changed and ended; what isn't given stays, what is cleared is empty."""
    kinds: dict[str, tuple[list[str], list[str], dict[str, Any]]] = {
        "calendar": (["Feasts", "--date", "2027-12-24"], ["--clear", "date"], {"name": "Feasts", "dates": []}),
        "schedule": (
            ["Days", "--windows", '[{"days":["mon"],"start":"08:00","end":"18:00"}]', "--calendar", "feasts"],
            ["--clear", "calendar", "--name", "Mondays"],
            {"name": "Mondays", "calendar": None, "windows": [{"days": ["mon"], "start": "08:00", "end": "18:00"}]},
        ),
        "site": (
            ["Annex", "--time-zone", "Europe/Berlin", "--address", "Road 1"],
            ["--clear", "address"],
            {"name": "Annex", "address": None},
        ),
        "floor": (["Roof", "--site", "annex", "--level", "3"], ["--level", "4"], {"name": "Roof", "level": 4}),
        "area": (
            ["Lab", "--site", "annex", "--floor", "roof"],
            ["--occupancy-max", "3", "--clear", "floor"],
            {"occupancy_max": 3, "floor": None},
        ),
        "door": (["Gate", "--site", "annex", "--area", "lab"], ["--sharing", "--name", "Main gate"], {"sharing": True, "area": "lab"}),
        "device": (["--name", "Lock", "--public-key", device_key(), "--door", "gate"], ["--no-active"], {"active": False, "door": "gate"}),
        "plan": (["All", "--door", "gate", "--site", "annex"], ["--clear", "door"], {"doors": [], "sites": ["annex"]}),
        "group": (["Guild", "--includes", "everyone"], ["--name", "Guilds"], {"name": "Guilds", "includes": ["everyone"]}),
        "person": (
            ["Ida Holm", "--email", "ida@example.test", "--until", "2099-01-01T00:00:00Z", "--group", "guild"],
            ["--name", "Ida Lund", "--clear", "until"],
            {"name": "Ida Lund", "email": "ida@example.test", "valid_until": None, "groups": ["guild"]},
        ),
    }
    identifiers = dict(zip(kinds, ("feasts", "days", "annex", "roof", "lab", "gate", "lock", "all", "guild", "ida"), strict=True))
    for noun, (made, changed, then) in kinds.items():
        one = identifiers[noun]
        seen = nexkey(noun, "add", *made, "--id", one, "--json")["revision"]
        nexkey(noun, "change", one, *changed, "--if-match", str(seen))
        assert "changed_meanwhile" in nexkey(noun, "change", one, *changed, "--if-match", str(seen), status=1)
        assert then.items() <= nexkey(noun, "show", one, "--json").items()
    grant = nexkey("grant", "add", "--person", "ida", "--door", "gate", "--until", "2099-01-01T00:00:00Z", "--json")["id"]
    nexkey("grant", "change", grant, "--schedule", "days")
    nexkey("grant", "change", grant, "--clear", "schedule")
    kept = nexkey("grant", "show", grant, "--json")
    assert (kept["person"], kept["door"], kept["schedule"], kept["valid_until"]) == ("ida", "gate", None, "2099-01-01T00:00:00Z")
    assert "nothing to change" in nexkey_process(nexkey, "grant", "change", grant, status=2)
    nexkey("person", "pin", "ida", typed="4711\n")
    roles = nexkey("role", "set", "ida", "--role", "reception:berlin,annex", "--role", "auditor", "--json")["roles"]
    assert {role["role"]: role["sites"] for role in roles} == {"auditor": None, "reception": ["berlin", "annex"]}
    assert nexkey("role", "set", "ida", "--clear", "role", "--json")["roles"] == []
    nexkey("grant", "remove", grant)
    for noun in reversed(kinds):
        nexkey(noun, "remove", identifiers[noun])


def own(nexkey: Terminal, service: Service) -> None:
    organization = nexkey("organization", "show", "--json")
    assert nexkey("organization", "change", "--name", "Renamed", "--json")["name"] == "Renamed"
    nexkey("organization", "change", "--name", organization["name"])
    key = nexkey("api-key", "add", "Wages", "--scope", "persons.read", "--site", "berlin", "--json")["id"]
    assert nexkey("api-key", "change", key, "--clear", "site", "--no-active", "--json")["active"] is False
    shown = nexkey("api-key", "show", key, "--json")
    assert (shown["sites"], shown["scopes"]) == (None, ["persons.read"])
    given = nexkey("pass", "add", "Ben", "--door", DOOR, "--until", "2027-06-03T18:00:00Z", "--json")
    assert nexkey("pass", "change", given["id"], "--name", "Benno", "--json")["valid_until"] == "2027-06-03T18:00:00Z"
    token = given["link"].partition("#")[2]
    nexkey("pass", "accept", typed=f"{token}\n")
    tried = nexkey("door", "unlock", DOOR, "--wait", "5", "--json")["id"]
    assert nexkey("event", "attempt", tried, "--json")["door"] == DOOR
    owner = service.made.account("owner")
    nexkey("password", "change", typed=f"{owner.password}\nanother-long-password\n")
    assert "password_wrong" in nexkey("password", "change", status=1, typed=f"{owner.password}\nanother-long-password\n")
    nexkey("password", "change", typed=f"another-long-password\n{owner.password}\n")


def asked_of(nexkey: Terminal, path: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    """What no command makes, made with the sign-in of the commands."""
    kept = json.loads((nexkey.home / "nexkey" / "sign-ins.json").read_text())["sign_ins"][nexkey.url]
    made = httpx.post(nexkey.url + path, json=body, headers={"Authorization": f"Bearer {kept['access_token']}"}, trust_env=False)
    assert made.status_code == status, made.text
    answer: dict[str, Any] = made.json()
    return answer


def nexkey_process(nexkey: Terminal, *words: str, status: int, **environment: str) -> str:
    """The command as a process of its own: both outputs."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("NEXKEY_")}
    own |= {"XDG_CONFIG_HOME": str(nexkey.home), "NEXKEY_API_URL": nexkey.url, **environment}
    run = subprocess.run([sys.executable, "-m", "py_service", *words], env=own, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == status, (words, run.stdout, run.stderr)
    return run.stdout + run.stderr


async def test_exit_statuses_and_what_is_said(service: Service, home: Path) -> None:
    nexkey = Terminal(service.url, home)
    token = service.token(service.demo.cast["employee"].id)

    def tried() -> None:
        refused = nexkey("person", "add", "Somebody", status=1, NEXKEY_TOKEN=token)
        assert refused.startswith("nexkey: role_missing: ") and "status 403, request " in refused
        owner = service.token(service.demo.cast["owner"].id)
        told = nexkey("person", "show", "nobody-here", "--json", status=1, NEXKEY_TOKEN=owner)
        assert (told["status"], told["code"]) == (404, "person_unknown")
        assert "Usage" in nexkey("door", "unlock", status=2)
        assert "Missing option '--site'" in nexkey("door", "add", "A door", status=2)
        assert "--limit" in nexkey("door", "list", "--limit", "many", status=2)
        unreachable = nexkey("door", "list", status=3, NEXKEY_API_URL=NOBODY, NEXKEY_TOKEN=token)
        assert unreachable.startswith(f"nexkey: nothing answers at {NOBODY}")
        assert "sign_in_failed" in nexkey("login", "nobody@example.test", status=1, typed="wrong\n")
        assert "NEXKEY_API_URL: http" in nexkey_process(nexkey, "door", "list", status=2, NEXKEY_API_URL="berlin", NEXKEY_TOKEN=token)

    await asyncio.to_thread(tried)


async def test_a_lost_answer_is_asked_for_again_and_done_once(service: Service, home: Path) -> None:
    owner = service.token(service.demo.cast["owner"].id)

    def tried() -> None:
        with losing_the_first_answer(service.url) as (url, requests):
            made = Terminal(url, home)("group", "add", "Only one", "--json", NEXKEY_TOKEN=owner)
        assert made["name"] == "Only one"
        keys = [line for request in requests for line in request.split(b"\r\n") if line.lower().startswith(b"idempotency-key:")]
        assert len(keys) == 2 and keys[0] == keys[1]

    await asyncio.to_thread(tried)
    assert await service.database["groups"].count_documents({"name": "Only one"}) == 1


@contextmanager
def losing_the_first_answer(url: str) -> Iterator[tuple[str, list[bytes]]]:
    """An address that hands each request on, and closes the connection instead of giving the first answer. Requests are kept."""
    target = httpx.URL(url)
    requests: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        while len(requests) < 2:
            connection, _ = listening.accept()
            with connection, socket.create_connection((target.host, target.port or 80), timeout=10) as behind:
                request = connection.recv(65_536)
                while request.partition(b"\r\n\r\n")[2] == b"":
                    request += connection.recv(65_536)
                behind.sendall(request)
                answer = behind.recv(65_536)  # it was carried out
                requests.append(request)
                if len(requests) > 1:
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", requests
        thread.join(20)


async def test_the_table_and_the_command_line_are_the_same_set() -> None:
    assert set(commands(application)) >= DAILY
