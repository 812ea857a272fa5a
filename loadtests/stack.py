"""A whole stack for a load test or a benchmark: embedded stores, api workers, gateway, worker, real processes on free ports of 127.0.0.1.

Started, watched and stopped by `py_service.supervise`; seeded by `py_service.demo.seed`. It lives in a folder of its own and dies with it.
What doesn't live here: the load.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree

from loadtests.organization import build_organization
from loadtests.plan import Cast, PlannedLock, SigningKeys
from py_service.demo.seed import seed_organization
from py_service.settings import Settings
from py_service.stores.mongo import Mongo
from py_service.supervise.child import ChildSpec
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.environment import surroundings
from py_service.supervise.stack import Stack, plan_stack, start_service, start_stores
from py_service.supervise.supervisor import Notice, Supervisor

API_WORKERS = 2
QUOTA = 10_000_000  # a few persons at one address stand for thousands at theirs: metered as always, and never refused
STORE_TIMEOUT_MS = 20_000  # for seeding and for reading back, not for the service
SEED_BYTES = 32
LOCKS_SECONDS_MAX = 60.0
LOGS = Path(__file__).resolve().parent.parent / ".build" / "loadtest" / "logs"

More = Callable[[Mongo, str], Awaitable[object]]


@dataclass(slots=True)
class RunningStack:
    """`deaths` names children that died: in a load test nothing may."""

    stack: Stack
    folder: Path
    supervisor: Supervisor
    mongo: Mongo
    cast: Cast
    locks: list[PlannedLock]
    keys: SigningKeys
    deaths: list[str] = field(default_factory=list)


@asynccontextmanager
async def running_stores(notices: list[Notice]) -> AsyncIterator[tuple[Stack, DataFolder, Supervisor]]:
    """The stores alone, empty. Raises ChildFailed, SettingsError."""
    with tempfile.TemporaryDirectory(prefix="nexkey-load-") as name:
        folder = DataFolder.open(Path(name))
        try:
            # Not from the environment: a load test never meets a store that it didn't start itself.
            settings = Settings(
                data_folder=folder.path,
                api_port=0,
                gateway_port=0,
                api_workers=API_WORKERS,
                log_level="warning",
                unlocks_per_minute_max=QUOTA,
                requests_per_minute_max=QUOTA,
                open_requests_per_minute_max=QUOTA,
            )
            stack = plan_stack(settings, folder)
            async with Supervisor(folder.logs, notices.append) as supervisor:
                await start_stores(stack, supervisor)
                yield stack, folder, supervisor
        finally:
            copytree(folder.logs, LOGS, dirs_exist_ok=True)  # what the children said outlives the folder, until the next run
            folder.close()


@asynccontextmanager
async def running_stack(more: More | None = None) -> AsyncIterator[RunningStack]:
    """Everything but locks and load. `more` is seeded beside the organization's own objects. Raises ChildFailed, SettingsError."""
    notices: list[Notice] = []
    async with running_stores(notices) as (stack, folder, supervisor):
        mongo = store_of(stack)
        try:
            demo, cast = build_organization(secrets.token_bytes(SEED_BYTES), now_ms=time.time_ns() // 1_000_000)
            await seed_organization(mongo.database, demo, {})
            if more is not None:
                await more(mongo, demo.id)
            await start_service(stack, supervisor)
            locks = [PlannedLock(lock.lock, lock.door, lock.seed.hex()) for lock in demo.locks]
            running = RunningStack(stack, folder.path, supervisor, mongo, cast, locks, await _signing_keys(mongo, folder))
            yield running
            running.deaths += [f"{notice.name} died: {notice.detail}" for notice in notices if notice.kind == "died"]
        finally:
            await mongo.close()


def store_of(stack: Stack) -> Mongo:
    """A client of the stack's store. The caller closes it."""
    assert stack.settings.mongo_url is not None
    return Mongo(stack.settings.mongo_url, stack.settings.mongo_database, STORE_TIMEOUT_MS)


def fleet_spec(plan_file: Path) -> ChildSpec:
    """The process that runs the plan's fleet of locks; it is ready when all of them are connected."""
    ready_file = plan_file.with_suffix(".fleet")

    async def ready() -> bool:
        return ready_file.exists()

    command = (sys.executable, "-m", "loadtests.locks", str(plan_file), str(ready_file))
    environment = {**surroundings(), "PYTHONUNBUFFERED": "1"}
    return ChildSpec("locks", command, environment, ready, ready_seconds_max=LOCKS_SECONDS_MAX, stop_seconds_max=3.0)


async def _signing_keys(mongo: Mongo, folder: DataFolder) -> SigningKeys:
    document = await mongo.database["signing_keys"].find_one({"purpose": "access", "state": "active"})
    if document is None:
        raise LookupError("the api made no access key")
    return SigningKeys(str(document["kid"]), bytes(document["sealed"]), folder.master_key().reveal())
