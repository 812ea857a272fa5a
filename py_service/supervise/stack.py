"""The whole service on one machine: which children there are, with which command, environment, port and readiness, in which order.

embedded stores (where no URL is set) -> [seed] -> api -> gateway -> worker -> [what a demonstration adds]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from py_service.errors import SettingsError
from py_service.settings import Settings
from py_service.stores import embedded
from py_service.supervise.child import ChildSpec
from py_service.supervise.data_folder import DataFolder
from py_service.supervise.environment import API_FIELDS, GATEWAY_FIELDS, LARGE_PAGES, WORKER_FIELDS, settings_environment, surroundings
from py_service.supervise.ports import chosen_port, free_port
from py_service.supervise.ready import http_ready, mongo_ready, redis_ready, workers_ready
from py_service.supervise.supervisor import Supervisor

API_READY_SECONDS = 180.0  # with a million persons in the store a worker takes over 30
API_STOP_SECONDS = 8.0
GATEWAY_STOP_SECONDS = 5.0
STORE_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Stack:
    """Settings with every port, URL and key decided, and the stores that have to be started for them."""

    settings: Settings
    stores: tuple[ChildSpec, ...]

    @property
    def api_url(self) -> str:
        return f"http://{self.settings.api_host}:{self.settings.api_port}"

    @property
    def gateway_url(self) -> str:
        return f"ws://{self.settings.gateway_host}:{self.settings.gateway_port}/v1/realtime"


def plan_stack(settings: Settings, folder: DataFolder) -> Stack:
    """Decides what isn't set: ports, stores, master key. Raises SettingsError (a port that is taken, a key that is missing)."""
    production = settings.environment == "production"
    if production and (settings.mongo_url is None or settings.redis_url is None):
        missing = "NEXKEY_MONGO_URL" if settings.mongo_url is None else "NEXKEY_REDIS_URL"
        raise SettingsError(f"{missing}: is needed here; production doesn't start embedded stores")
    if production and settings.master_key is None:
        raise SettingsError("NEXKEY_MASTER_KEY: is needed here; production doesn't make one")
    taken: set[int] = set()
    api_port = chosen_port("NEXKEY_API_PORT", settings.api_host, settings.api_port, taken)
    gateway_port = chosen_port("NEXKEY_GATEWAY_PORT", settings.gateway_host, settings.gateway_port, taken)
    stores: list[ChildSpec] = []
    mongo_url, redis_url = settings.mongo_url, settings.redis_url
    if mongo_url is None:
        port = free_port(embedded.HOST, taken)
        mongo_url = embedded.mongo_url(port)
        stores.append(_store("mongo", embedded.mongo_command(folder.path, port), mongo_url))
    if redis_url is None:
        port = free_port(embedded.HOST, taken)
        redis_url = embedded.redis_url(port)
        stores.append(_store("redis", embedded.redis_command(folder.path, port), redis_url))
    decided = replace(
        settings,
        data_folder=folder.path,
        api_port=api_port,
        gateway_port=gateway_port,
        mongo_url=mongo_url,
        redis_url=redis_url,
        master_key=settings.master_key or folder.master_key(),
    )
    return Stack(decided, tuple(stores))


async def start_stores(stack: Stack, supervisor: Supervisor) -> None:
    """Raises ChildFailed."""
    for spec in stack.stores:
        await supervisor.start(spec)


async def start_service(stack: Stack, supervisor: Supervisor) -> None:
    """api, gateway, worker, each ready before the next. Raises ChildFailed."""
    for spec in service_specs(stack.settings):
        await supervisor.start(spec)


def service_specs(settings: Settings) -> tuple[ChildSpec, ...]:
    """The three processes that are the service."""
    api = ChildSpec(
        "api",
        own_command("api"),
        settings_environment(settings, API_FIELDS) | LARGE_PAGES,
        workers_ready(settings.api_host, settings.api_port, "/readyz", settings.api_workers),
        ready_seconds_max=API_READY_SECONDS,
        stop_seconds_max=API_STOP_SECONDS,
    )
    gateway = ChildSpec(
        "gateway",
        own_command("gateway"),
        settings_environment(settings, GATEWAY_FIELDS)
        | {"NEXKEY_API_HOST": settings.api_host, "NEXKEY_API_PORT": str(settings.api_port)},  # where the public keys are fetched
        http_ready(settings.gateway_host, settings.gateway_port, "/readyz"),
        stop_seconds_max=GATEWAY_STOP_SECONDS,
    )
    worker = ChildSpec("worker", own_command("worker"), settings_environment(settings, WORKER_FIELDS), settle_seconds=0.5)
    return api, gateway, worker


def simulator_spec(name: str, *arguments: str) -> ChildSpec:
    """A simulator as a child. It gets no setting of the service: it is a client like any other."""
    return ChildSpec(name, own_command("simulate", *arguments), {**surroundings(), "PYTHONUNBUFFERED": "1"}, stop_seconds_max=3.0)


def own_command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "py_service", *arguments)


def _store(name: str, command: tuple[str, ...], url: str) -> ChildSpec:
    ready = mongo_ready(url) if name == "mongo" else redis_ready(url)
    return ChildSpec(name, command, surroundings(), ready, stop_seconds_max=STORE_STOP_SECONDS)
