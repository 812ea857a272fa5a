"""The demonstration on a real stack: stores, seed, service, locks; then phones and a live view for as long as one likes, or one round.

What doesn't live here: the organization (`organization.py`), the view (`live.py`), the round (`round.py`), processes (`supervise`).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
from pymongo import AsyncMongoClient
from rich.console import Console
from rich.table import Table

from py_service.demo.live import LiveSources, show_live
from py_service.demo.organization import Document
from py_service.demo.round import Round, Step
from py_service.demo.seed import DemoFile, seed_demo
from py_service.settings import Settings
from py_service.simulators.phone import PhoneError
from py_service.stores.private_file import write_private
from py_service.supervise.stack import simulator_spec, start_service, start_stores
from py_service.supervise.supervisor import ChildFailed
from py_service.supervise.up import FAILED, Terminal, run_stack

LOCKS_SECONDS_MAX = 15.0
SEED_TIMEOUT_MS = 20_000


def run_up_demo(settings: Settings, console: Console) -> int:
    """Until SIGINT or SIGTERM. Raises SettingsError."""
    return run_stack(settings, console, _stay)


def run_demo(settings: Settings, console: Console) -> int:
    """One round on a stack of its own. 0 when every outcome was the right one and the bolt moved exactly when it should."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nexkey-demo-") as name:
        own = replace(settings, data_folder=Path(name), mongo_url=None, redis_url=None, master_key=None, api_port=0, gateway_port=0)
        status = run_stack(own, console, _one_round, when_stopped=FAILED)
    console.print(f"{'all right' if status == 0 else 'NOT all right'} after {time.monotonic() - began:.1f} s", highlight=False)
    return status


async def _stay(terminal: Terminal) -> int:
    terminal.folder.moves_file.unlink(missing_ok=True)  # it grows as long as the demonstration runs
    made = await _set_up(terminal, "--walking", "--moves", str(terminal.folder.moves_file))
    phones = simulator_spec("phones", "phones", "--json", "--demo", str(terminal.folder.demo_file), "--api", terminal.stack.api_url)
    await terminal.supervisor.start(phones)
    for account in made.accounts:
        terminal.say(f"{account.organization:12} {account.part:12} {account.email:36} {account.password}")
    owner = made.account("owner")
    write_private(terminal.folder.owner_file, msgspec.json.encode({"email": owner.email, "password": owner.password}))
    terminal.say(f"accounts     kept in {terminal.folder.demo_file}")
    terminal.say_addresses()
    sources = LiveSources(
        terminal.stack.api_url, terminal.stack.gateway_url, owner.email, owner.password, phones_log=terminal.folder.logs / "phones.log"
    )
    await show_live(sources, _names(made), terminal.console)
    return FAILED  # the view ends by itself only when the owner may not see the feed


async def _one_round(terminal: Terminal) -> int:
    moves_file = terminal.folder.moves_file
    made = await _set_up(terminal, "--moves", str(moves_file))
    await _locks_connected(terminal.folder.logs / "locks.log", made.doors)
    async with httpx.AsyncClient(base_url=terminal.stack.api_url, timeout=10.0, trust_env=False) as http:
        played = Round(made, http, moves_file)
        try:
            steps = await played.play()
        except (PhoneError, httpx.HTTPError) as error:
            terminal.say(f"the round broke off: {type(error).__name__} {error}", "bold red")
            return FAILED
    terminal.console.print(_table(steps))
    if strays := played.stray_moves():
        terminal.say(f"{strays} bolts moved for a command that nobody asked for", "bold red")
        return FAILED
    return 0 if all(step.right for step in steps) else FAILED


async def _set_up(terminal: Terminal, *lock_options: str) -> DemoFile:
    """Stores, seed, service, locks: each ready before the next. Raises ChildFailed."""
    await start_stores(terminal.stack, terminal.supervisor)
    made = await _seed(terminal)
    await start_service(terminal.stack, terminal.supervisor)
    addresses = ("--api", terminal.stack.api_url, "--gateway", terminal.stack.gateway_url)
    await terminal.supervisor.start(simulator_spec("locks", "fleet", "--demo", str(terminal.folder.demo_file), *addresses, *lock_options))
    return made


async def _seed(terminal: Terminal) -> DemoFile:
    began = time.monotonic()
    settings = terminal.stack.settings
    client: AsyncMongoClient[Document] = AsyncMongoClient(settings.mongo_url, timeoutMS=SEED_TIMEOUT_MS)
    try:
        made, written = await seed_demo(client[settings.mongo_database], terminal.folder.demo_file)
    finally:
        await client.close()
    if written:
        terminal.say(f"seed         {made.persons} persons, {made.doors} doors in {(time.monotonic() - began) * 1_000:.0f} ms")
    return made


async def _locks_connected(log: Path, count: int) -> None:
    """The fleet says so in its log. Raises ChildFailed."""
    deadline = time.monotonic() + LOCKS_SECONDS_MAX
    said = f"{count} of {count} locks connected"
    while True:
        text = await asyncio.to_thread(log.read_text, "utf-8", "replace")
        if said in text:
            return
        if time.monotonic() > deadline:
            raise ChildFailed("locks", "not all of them connected", text.splitlines()[-4:])
        await asyncio.sleep(0.1)


def _names(made: DemoFile) -> dict[str, str]:
    demo, _ = made.organizations()
    names = {person.id: person.name for person in demo.persons}
    return names | {str(door["id"]): str(door["name"]) for door in demo.documents["doors"]}


def _table(steps: list[Step]) -> Table:
    table = Table(title="One round of the main job", title_justify="left")
    for column in ("step", "who", "door", "expected", "answer", "bolt", "phases in ms", "whole", ""):
        table.add_column(column)
    for step in steps:
        answer = step.answer
        phases = ", ".join(f"{phase.phase} {'-' if phase.milliseconds is None else f'{phase.milliseconds:.1f}'}" for phase in answer.phases)
        outcome = answer.state if answer.state == "unlocked" else f"{answer.state}: {answer.reason}"
        verdict = "[green]right[/]" if step.right else "[bold red]WRONG[/]"
        bolt = "moved" if step.moved else "still"
        table.add_row(step.title, step.who, answer.door, step.expected, outcome, bolt, phases, f"{answer.milliseconds:.1f}", verdict)
    return table
