"""`nexkey simulate ...`: runs simulators until they are stopped, and prints what they do, a line each.

What lives here: printing and signals. What doesn't: the simulators themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

import httpx

from py_service.simulators.answer_line import encode_answer
from py_service.simulators.fleet import Fleet, FleetOptions, running_fleet
from py_service.simulators.lock import LockIdentity
from py_service.simulators.phone import Phone, PhoneError, UnlockAnswer

STATUS_SECONDS = 1.0
# Most unlocks are asked at doors that are open to the person; some aren't, so that a live view shows refusals too.
REFUSED_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signs in."""

    email: str
    password: str
    name: str = ""


def until_stopped(work: Coroutine[object, object, None]) -> None:
    """Run until it ends, or until SIGTERM or SIGINT cancels it."""

    async def body() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(body())


async def run_fleet(identities: Sequence[LockIdentity], options: FleetOptions) -> None:
    """Forever. Prints how many are connected whenever that changes."""
    async with running_fleet(identities, options) as fleet:
        shown = -1
        while True:
            if fleet.connected != shown:
                shown = fleet.connected
                _say(_status(fleet))
            await asyncio.sleep(STATUS_SECONDS)


def _status(fleet: Fleet) -> str:
    line = f"{fleet.connected} of {len(fleet.locks)} locks connected"
    waiting = next((lock for lock in fleet.locks if not lock.connected.is_set() and lock.last_error), None)
    return line if waiting is None else f"{line}; {waiting.identity.lock}: {waiting.last_error}"


async def run_phone(api_url: str, caller: Caller, doors: Sequence[str], wait_seconds: int) -> bool:
    """List the doors, unlock those that were named. True when all of them opened."""
    async with httpx.AsyncClient(base_url=api_url, timeout=wait_seconds + 5.0, trust_env=False) as http:
        phone = Phone(http, caller.email, caller.password)
        await phone.sign_in()
        _say(f"signed in as {phone.person} of {phone.organization}")
        if not doors:
            for door in await phone.doors():
                _say(f"{'open' if door.allowed else 'shut':5} {door.id:40} {door.name}  {door.reason or ''}")
        opened = True
        for name in doors:
            answer = await phone.unlock(name, wait_seconds)
            _say(told(answer))
            opened = opened and answer.state == "unlocked"
        return opened


async def run_phones(api_url: str, callers: Sequence[Caller], pause_seconds: float, *, as_json: bool = False) -> None:
    """Forever: each phone asks at some door, again and again. `as_json`: what it was told, for programs to read."""
    async with httpx.AsyncClient(base_url=api_url, timeout=10.0, trust_env=False) as http, asyncio.TaskGroup() as tasks:
        for number, caller in enumerate(callers):
            phone = Phone(http, caller.email, caller.password)
            tasks.create_task(_stroll(phone, caller, random.Random(number), pause_seconds, encode_answer if as_json else _named))


async def _stroll(
    phone: Phone, caller: Caller, chance: random.Random, pause_seconds: float, line: Callable[[str, UnlockAnswer], str]
) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.5, 1.5) * pause_seconds)
        try:
            doors = await phone.doors()
            wished = [door for door in doors if door.allowed == (chance.random() >= REFUSED_SHARE)] or doors
            if wished:
                _say(line(caller.name, await phone.unlock(chance.choice(wished).id)))
        except (PhoneError, httpx.HTTPError) as error:
            _say(f"{caller.name}: {type(error).__name__} {error}")


def told(answer: UnlockAnswer) -> str:
    """One line: state, reason, and how long each phase took."""
    phases = "  ".join(f"{phase.phase} {'-' if phase.milliseconds is None else f'{phase.milliseconds:.1f} ms'}" for phase in answer.phases)
    reason = f" ({answer.reason})" if answer.reason and answer.reason != "granted" else ""
    return f"{answer.door}: {answer.state}{reason} in {answer.milliseconds:.1f} ms  [{phases}]"


def _named(who: str, answer: UnlockAnswer) -> str:
    return f"{who}: {told(answer)}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
