"""The stack in one terminal, from the first start to the last stop, signals included; `nexkey up` is its plainest use.

What doesn't live here: which children there are (`stack.py`), how they are watched (`supervisor.py`), the demonstration
(`py_service.demo.stage`, which brings its own work to `run_stack`).
"""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rich.console import Console

from py_service.settings import Settings
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.stack import Stack, plan_stack, start_service, start_stores
from py_service.supervise.supervisor import ChildFailed, Notice, Supervisor

FAILED = 1


@dataclass(frozen=True, slots=True)
class Terminal:
    """What work on a stack is given: the plan, the folder, who starts children, where to print."""

    stack: Stack
    folder: DataFolder
    supervisor: Supervisor
    console: Console

    def say(self, line: str, style: str = "") -> None:
        """One line as it is: not wrapped, not coloured by guesses, so that scripts can read it."""
        self.console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def say_addresses(self) -> None:
        self.say(f"api          {self.stack.api_url}")
        self.say(f"gateway      {self.stack.gateway_url}")
        if self.stack.stores:
            self.say(f"stores       {' '.join(self._store_settings())}")
        if self.stack.settings.smtp_url is None:
            elsewhere = "" if self.folder.path == Settings().data_folder.absolute() else f" --data {shlex.quote(str(self.folder.path))}"
            self.say(f"mail         kept here; `nexkey mailbox{elsewhere}` shows it")
        self.say("ready; Ctrl-C stops everything")

    def _store_settings(self) -> list[str]:
        """Of stores that were started here, as a shell takes them before `nexkey journal verify` and the like."""
        settings = self.stack.settings
        urls = {"mongo": ("NEXKEY_MONGO_URL", settings.mongo_url), "redis": ("NEXKEY_REDIS_URL", settings.redis_url)}
        return [f"{name}={shlex.quote(url or '')}" for name, url in (urls[store.name] for store in self.stack.stores)]


Work = Callable[[Terminal], Awaitable[int]]


def run_up(settings: Settings, console: Console) -> int:
    """Everything, without a demonstration, until SIGINT or SIGTERM. Raises SettingsError."""
    return run_stack(settings, console, _serve)


def run_stack(settings: Settings, console: Console, work: Work, *, when_stopped: int = 0) -> int:
    """Runs `work` on a planned stack; whatever ends it, every child is stopped. The exit status: `when_stopped` after a signal,
    1 when a child did not get ready. Raises SettingsError."""
    folder = DataFolder.open(settings.data_folder)
    try:
        stack = plan_stack(settings, folder)
        console.print(f"data folder  {folder.path}", markup=False, highlight=False, soft_wrap=True)
        return asyncio.run(_under_signals(stack, folder, console, work, when_stopped))
    finally:
        folder.close()


async def _serve(terminal: Terminal) -> int:
    await start_stores(terminal.stack, terminal.supervisor)
    await start_service(terminal.stack, terminal.supervisor)
    terminal.say_addresses()
    await asyncio.Event().wait()
    return 0


async def _under_signals(stack: Stack, folder: DataFolder, console: Console, work: Work, when_stopped: int) -> int:
    """The first signal ends the work and stops the children in order; a second one kills them."""
    async with Supervisor(folder.logs, lambda notice: _say_notice(terminal, notice)) as supervisor:
        terminal = Terminal(stack, folder, supervisor, console)
        task = asyncio.ensure_future(work(terminal))
        stopping = False

        def on_signal() -> None:
            nonlocal stopping
            if stopping:
                supervisor.kill()
            stopping = True
            task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_signal)
        try:
            return await task
        except asyncio.CancelledError:
            terminal.say("stopping")
            return when_stopped
        except ChildFailed as failure:
            terminal.say(f"{failure.name:12} failed  {failure.detail}", "bold red")
            _say_lines(terminal, failure.last_lines)
            return FAILED


def _say_notice(terminal: Terminal, notice: Notice) -> None:
    style = "bold red" if notice.kind in ("died", "not_ready") else ""
    terminal.say(f"{notice.name:12} {notice.kind}  {notice.detail}", style)
    _say_lines(terminal, notice.last_lines)


def _say_lines(terminal: Terminal, lines: list[str]) -> None:
    for line in lines:
        terminal.say(f"             | {line}")
