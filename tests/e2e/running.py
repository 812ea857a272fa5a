"""The whole service for a test: embedded stores, two api workers, gateway, worker, and simulated locks, all real, all on free ports.

Everything is stopped by id when the block ends. Faults are made by the tests, on the pids that this gives out.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import httpx
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from py_service._core_rs import DeviceKey, KeyRing
from py_service.demo.organization import DemoOrganization
from py_service.demo.seed import DemoFile, seed_demo
from py_service.permissions.listing import stored_object
from py_service.settings import Settings
from py_service.simulators.device_api import encode_base64url
from py_service.simulators.fleet import Fleet, FleetOptions, running_fleet
from py_service.simulators.moves import MoveLine, read_moves
from py_service.stores.mongo import Document
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.stack import Stack, plan_stack, service_specs, start_stores
from py_service.supervise.supervisor import Supervisor
from py_service.tasks import end_tasks
from py_service.worker import Worker

TOKEN_MS = 300_000
QUOTA = 10_000_000  # a test asks more often than a person: metered as always, and never refused


class Proxy(Protocol):
    """Stands between the service and a store."""

    def aim(self, url: str) -> str:
        """The URL to use instead of `url`."""
        ...


Hook = Callable[[httpx.Response], Awaitable[None]]


@dataclass(slots=True)
class Service:
    """What a test needs of a running service. `hook` sees every answer of every client that is made once it is set."""

    stack: Stack
    supervisor: Supervisor
    made: DemoFile
    demo: DemoOrganization
    neighbour: DemoOrganization
    database: AsyncDatabase[Document]
    ring: KeyRing
    moves_file: Path
    fleet: Fleet | None = None
    hook: Hook | None = None

    @property
    def url(self) -> str:
        return self.stack.api_url

    def token(self, person: str, organization: str | None = None, *, issued_at_ms: int | None = None, audience: str = "api") -> str:
        """An access token as a sign-in gives it, without the cost of argon2: signed with the service's own key."""
        issued = time.time_ns() // 1_000_000 if issued_at_ms is None else issued_at_ms
        return self.ring.sign_access_token(audience, organization or self.demo.id, person, "person", "test", [], issued, issued + TOKEN_MS)

    def headers(self, person: str, organization: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(person, organization)}"}

    def owner(self) -> dict[str, str]:
        return self.headers(self.demo.cast["owner"].id)

    def moves(self) -> list[MoveLine]:
        """Every time that a bolt was drawn back, and for which command."""
        return [move for move in read_moves(self.moves_file) if move.command is not None]

    def worker_pids(self) -> list[int]:
        """The processes that Granian started to serve requests."""
        return children_of(self.supervisor.pid("api"))

    def client(self, connections: int = 64, hook: Hook | None = None) -> httpx.AsyncClient:
        """A client of the api. Its connections stay open for as long as the service lets them. `hook` takes the place of the service's."""
        hooks = [found for found in (hook or self.hook,) if found is not None]
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=50.0)
        return httpx.AsyncClient(
            base_url=self.url, timeout=15.0, limits=limits, trust_env=False, verify=False, event_hooks={"response": hooks}
        )  # http: no certificates to load

    @contextlib.asynccontextmanager
    async def clients_of_each_worker(self, each: int = 1) -> AsyncIterator[dict[int, list[httpx.AsyncClient]]]:
        """By worker pid, clients whose one connection is that worker's: the kernel spreads connections, `/metrics` says who took one."""
        workers = self.stack.settings.api_workers
        async with contextlib.AsyncExitStack() as stack:
            found: dict[int, list[httpx.AsyncClient]] = {}
            deadline = time.monotonic() + 15  # one that was just started needs a while
            while time.monotonic() < deadline:
                client = await stack.enter_async_context(self.client(connections=1))
                found.setdefault(await answering_worker(client), []).append(client)
                if len(found) == workers and all(len(clients) >= each for clients in found.values()):
                    break
                await asyncio.sleep(0.02)
            assert len(found) == workers, f"only {sorted(found)} answered"
            yield found


async def answering_worker(client: httpx.AsyncClient) -> int:
    """The pid of the api worker that answers on this client's connection."""
    text = (await client.get("/metrics")).text
    match = re.search(r'nexkey_http_requests_in_flight\{process="api-(\d+)-', text)
    assert match is not None, text[:300]
    return int(match[1])


async def metric(client: httpx.AsyncClient, name: str) -> float:
    """A figure of the api worker that answers on this client's connection."""
    text = (await client.get("/metrics")).text
    match = re.search(rf"^{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
    assert match is not None, text[:300]
    return float(match[1])


def children_of(pid: int) -> list[int]:
    """Child processes by id, from /proc."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(text) for text in (task / "children").read_text().split()]
    return sorted(set(found))


@contextlib.asynccontextmanager
async def running_service(
    folder: Path,
    *,
    locks: bool = True,
    persons: int = 40,
    doors: int = 16,
    mongo_through: Proxy | None = None,
    redis_through: Proxy | None = None,
    strangers: int = 0,
    absent: int = 0,
    prepare: Callable[[AsyncDatabase[Document]], Awaitable[None]] | None = None,
    **changed: object,
) -> AsyncIterator[Service]:
    """`changed` are settings. `strangers` are persons `stranger-<n>` without any group or grant. The locks of the last `absent` doors
    are not there. `prepare` writes what else has to stand in the store when the service starts. `mongo_through` and `redis_through` are
    proxies that the service (not the test) uses."""
    quotas = {"unlocks_per_minute_max": QUOTA, "requests_per_minute_max": QUOTA, "open_requests_per_minute_max": QUOTA}
    settings = replace(Settings(), api_port=0, gateway_port=0, data_folder=folder / "data", **(quotas | changed))  # type: ignore[arg-type]
    data = DataFolder.open(settings.data_folder)
    try:
        stack = plan_stack(settings, data)
        async with Supervisor(data.logs, lambda notice: None) as supervisor:
            await start_stores(stack, supervisor)
            client: AsyncMongoClient[Document] = AsyncMongoClient(stack.settings.mongo_url, timeoutMS=20_000)
            try:
                database = client[stack.settings.mongo_database]
                made, _ = await seed_demo(database, data.demo_file, persons=persons, doors=doors)
                await add_strangers(database, made.organizations()[0].id, strangers)
                if prepare is not None:
                    await prepare(database)
                served = replace(
                    stack.settings,
                    mongo_url=through(mongo_through, stack.settings.mongo_url),
                    redis_url=through(redis_through, stack.settings.redis_url),
                )
                for spec in service_specs(served):
                    await supervisor.start(spec)
                demo, neighbour = made.organizations()
                service = Service(stack, supervisor, made, demo, neighbour, database, KeyRing(bytes(32)), folder / "moves.jsonl")
                service.ring = await loaded_ring(database, stack.settings)
                if not locks:
                    yield service
                    return
                options = FleetOptions(stack.api_url, stack.gateway_url, demo.id, service.moves_file)
                async with running_fleet(demo.locks[: len(demo.locks) - absent], options) as fleet:
                    await fleet.all_ready(30)
                    service.fleet = fleet
                    yield service
            finally:
                await client.close()
    finally:
        data.close()


@contextlib.asynccontextmanager
async def second_worker(settings: Settings) -> AsyncIterator[Worker]:
    """In this process, and only for what it is asked to do: then it does it as if it led."""
    worker = Worker(settings)
    await worker.start()
    worker._leading = True
    changes = asyncio.create_task(worker.changes.run())
    try:
        yield worker
    finally:
        await end_tasks([changes])
        await worker.close()


async def add_strangers(database: AsyncDatabase[Document], organization: str, count: int) -> None:
    """Persons whom nothing lets in, written before the service starts."""
    persons: list[Document] = [
        stored_object(organization, "person", {
            "id": f"stranger-{number}", "name": f"Stranger {number}", "email": f"stranger-{number}@example.test", "kind": "visitor",
            "state": "active", "valid_from": None, "valid_until": None, "groups": [], "roles": [], "tokens_valid_after": 0,
        })
        for number in range(count)
    ]  # fmt: skip
    if persons:
        await database["persons"].insert_many(persons)


def through(proxy: Proxy | None, url: str | None) -> str | None:
    return url if proxy is None or url is None else proxy.aim(url)


async def loaded_ring(database: AsyncDatabase[Document], settings: Settings) -> KeyRing:
    """The service's own signing keys, opened with its master key."""
    assert settings.master_key is not None
    ring = KeyRing(settings.master_key.reveal())
    for key in await database["signing_keys"].find({"state": "active"}).to_list():
        ring.load(key["purpose"], key["org"], key["kid"], bytes(key["sealed"]))
        ring.activate(key["purpose"], key["org"], key["kid"])
    return ring


async def until(condition: object, seconds: float = 10.0) -> None:
    """Wait for a condition (a callable that returns a bool or an awaitable of one). Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()  # type: ignore[operator]
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.05)


def device_key() -> str:
    """The public key of a device that there isn't yet, base64url."""
    return encode_base64url(DeviceKey.generate().public_key)


def random_key() -> str:
    """An Idempotency-Key."""
    return base64.urlsafe_b64encode(time.time_ns().to_bytes(8, "big")).decode().rstrip("=")
