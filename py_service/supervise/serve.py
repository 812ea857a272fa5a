"""What one server process runs: `nexkey api`, `nexkey gateway`, `nexkey worker`. Each refuses to start on what it lacks.

What doesn't live here: starting several of them (`stack.py`), and what they do once they run (`py_service.app`, the core).
"""

from __future__ import annotations

import resource
import secrets
import sys
from collections.abc import Callable, Coroutine

import msgspec

from py_service.errors import SettingsError
from py_service.settings import Settings, need

BACKLOG = 2_048
# Granian counts idle connections too, so this is no limit on work: the app limits what it does at once.
CONNECTIONS_PER_WORKER_MAX = 16_384
WORKERS_KILL_SECONDS = 3
HEADER_TIMEOUT_MS = 60_000  # of a request's head, and of an idle kept-alive connection
GATEWAY_CONNECTIONS_MAX = 50_000
GATEWAY_DRAIN_SECONDS = 2


def refuse_debug_core(settings: Settings) -> None:
    """A debug build of the core is many times slower. Raises SettingsError in production, else warns."""
    from py_service import _core_rs

    if _core_rs.__build_profile__ == "release":
        return
    if settings.environment == "production":
        raise SettingsError("NEXKEY_ENVIRONMENT: production refuses a debug build of the core (build it with --release)")
    sys.stderr.write("warning: the core is a debug build; figures measured with it mean nothing\n")


def need_stores(settings: Settings) -> None:
    """Raises SettingsError that names the missing one."""
    need(settings.mongo_url, "NEXKEY_MONGO_URL")
    need(settings.redis_url, "NEXKEY_REDIS_URL")


def run_api(settings: Settings) -> None:
    """Serve HTTP until SIGTERM or SIGINT. The workers are forked, so no thread may run before."""
    need_stores(settings)
    if settings.master_key is None:
        raise SettingsError("NEXKEY_MASTER_KEY: is needed here")
    refuse_debug_core(settings)
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings

    Granian(
        target="py_service.app:application",
        address=settings.api_host,
        port=settings.api_port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        workers=settings.api_workers,
        loop=Loops.uvloop,
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONNECTIONS_PER_WORKER_MAX,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        log_access=False,
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=WORKERS_KILL_SECONDS,
    ).serve()


def gateway_configuration(settings: Settings, gateway_id: str) -> bytes:
    """JSON for `run_gateway` (docs/protocols/realtime.md)."""
    api = f"http://{settings.api_host}:{settings.api_port}"
    return msgspec.json.encode(
        {
            "host": settings.gateway_host,
            "port": settings.gateway_port,
            "redis_url": need(settings.redis_url, "NEXKEY_REDIS_URL"),
            "jwks_url": settings.jwks_url or f"{api}/.well-known/jwks.json",
            "gateway_id": gateway_id,
            "threads": settings.gateway_threads,
            "connections_max": GATEWAY_CONNECTIONS_MAX,
            "drain_seconds": GATEWAY_DRAIN_SECONDS,
            "ready_fd": None,
        }
    )


def run_gateway(settings: Settings) -> None:
    """Serve WebSockets until SIGTERM or SIGINT, in Rust. Raises SettingsError, GatewayError."""
    configuration = gateway_configuration(settings, f"gateway-{secrets.token_hex(6)}")
    refuse_debug_core(settings)
    from py_service import _core_rs

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is one
    _core_rs.run_gateway(configuration)


def run_worker(settings: Settings, work: Callable[[Settings], Coroutine[object, object, None]]) -> None:
    """Do `work` (`py_service.worker.run`) on a loop of its own, until SIGTERM or SIGINT. Raises SettingsError."""
    need_stores(settings)
    refuse_debug_core(settings)
    import uvloop

    uvloop.run(work(settings))
