"""Many simulated locks in one process, for the demonstration and for load tests; and, if asked, people who walk through their doors.

Each lock is a real one (`lock.py`) with its own connection and keys; they share an HTTP client, a move log and the event loop.
"""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from py_service.simulators.lock import Lock, LockEnvironment, LockIdentity, monotonic_ms
from py_service.simulators.moves import MoveLog

WALK_POLL_SECONDS = 0.25
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """`walking`: a person opens and closes a door soon after it was unlocked, and now and then holds it open or forces it."""

    api_url: str
    gateway_url: str
    organization: str
    moves_file: Path | None = None
    state_folder: Path | None = None
    walking: bool = False


class Fleet:
    """The locks of one organization. Made by `running_fleet`."""

    def __init__(self, locks: Sequence[Lock], moves: MoveLog) -> None:
        self.locks = locks
        self.moves = moves

    @property
    def connected(self) -> int:
        return sum(lock.connected.is_set() for lock in self.locks)

    async def all_ready(self, seconds_max: float) -> None:
        """Until every line is up and every lock is sure of the time, without which they refuse.

        Raises TimeoutError that says how many are missing, and why the first is.
        """
        try:
            async with asyncio.timeout(seconds_max):
                while True:
                    for lock in self.locks:
                        await lock.connected.wait()
                    if all(lock.takes_commands() for lock in self.locks):
                        return
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            missing = [lock for lock in self.locks if not lock.takes_commands()]
            first = f"{missing[0].identity.lock}: {missing[0].last_error or 'not sure of the time'}" if missing else "none"
            raise TimeoutError(f"{len(missing)} of {len(self.locks)} locks aren't ready; {first}") from None


@asynccontextmanager
async def running_fleet(identities: Sequence[LockIdentity], options: FleetOptions) -> AsyncIterator[Fleet]:
    """Runs the locks as long as the block runs. A defect that ended a lock is raised when the block has ended well."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each lock is a socket
    if options.state_folder is not None:
        options.state_folder.mkdir(parents=True, exist_ok=True)
    moves = MoveLog(options.moves_file)
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    try:
        async with httpx.AsyncClient(base_url=options.api_url, timeout=5.0, limits=limits, trust_env=False) as http:
            environment = LockEnvironment(options.organization, options.gateway_url, http, moves, options.state_folder)
            locks = [Lock(identity, environment) for identity in identities]
            running = [asyncio.create_task(lock.run(), name=lock.identity.lock) for lock in locks]
            if options.walking:
                running.append(asyncio.create_task(_walk(locks, random.Random(1)), name="people"))
            try:
                yield Fleet(locks, moves)
            finally:
                for task in running:
                    task.cancel()
                ended = await asyncio.gather(*running, return_exceptions=True)
        # Not in the `finally`: what went wrong in the block goes first. A lock's task ends by itself only through a defect.
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome
    finally:
        moves.close()


async def _walk(locks: Sequence[Lock], chance: random.Random) -> None:
    """The people: soon after a bolt is drawn back somebody opens the door, and most of them close it."""
    closing: dict[str, int] = {}
    while True:
        await asyncio.sleep(WALK_POLL_SECONDS)
        now = monotonic_ms()
        for lock in locks:
            door, name = lock.door, lock.identity.lock
            if door.open and now >= closing.get(name, 0):
                door.closed(now)
            elif not door.open and not door.locked and name not in closing:
                door.opened(now)
                closing[name] = now + (35_000 if chance.random() < 0.02 else chance.randint(800, 2_500))
            elif not door.open and door.locked:
                closing.pop(name, None)
                if chance.random() < 0.000_02:  # about once in five minutes for forty doors
                    door.opened(now)
                    closing[name] = now + 4_000
            else:
                continue
            lock.touch()
