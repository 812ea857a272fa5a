"""The bus in Redis: one Lua call publishes a whole commit group (docs/protocols/realtime.md).

Losing it loses no decision: whoever publishes is told what was handed over, and the worker publishes from the journal again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import msgspec
import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from py_service.stores.mongo import now_ms

BUS_ERRORS = (RedisError, OSError, TimeoutError)
PUBLISH_CONNECTIONS_MAX = 16
REPORTS_MAX = 100_000
ASKED_AT_ONCE_MAX = 256
CUTS_KEPT_MS = 330_000  # no token for the gateway lives longer, with room for clocks


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for one lock, by whichever gateway holds it."""

    organization: str
    lock: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """An event for its topics. `body` is JSON."""

    id: str
    body: bytes
    topics: tuple[str, ...]


class BusAway(Exception):
    """Redis can't be reached: nothing of this call went out."""


class BusUnknown(Exception):
    """The call was sent and the answer didn't come: it may have gone out."""


class Bus:
    """One client per process. Calls fail fast: a dead Redis costs one timeout, never a retry."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        self.url = url
        self.client = redis_asyncio.Redis.from_url(
            url,
            socket_timeout=timeout_ms / 1000,
            socket_connect_timeout=timeout_ms / 1000,
            retry=Retry(NoBackoff(), 0),
            max_connections=PUBLISH_CONNECTIONS_MAX,
        )
        self._script = resources.files("py_service.stores").joinpath("publish.lua").read_bytes()
        self._script_hash = hashlib.sha1(self._script, usedforsecurity=False).hexdigest()  # the name that EVALSHA asks for

    def listener(self) -> redis_asyncio.Redis:
        """A client for subscriptions and blocking reads: no socket timeout, its owner watches it."""
        return redis_asyncio.Redis.from_url(self.url, socket_connect_timeout=1, health_check_interval=5, retry=Retry(NoBackoff(), 0))

    async def publish(self, deliveries: Sequence[Delivery], events: Sequence[Published]) -> list[bool]:
        """Whether a gateway took each delivery. Raises BusAway (nothing went out) or BusUnknown."""
        arguments: list[str | bytes | int] = [3, "nk:epoch", "nk:offsets", "nk:routes", secrets.token_hex(8), len(deliveries)]
        for delivery in deliveries:
            arguments += (f"{delivery.organization}/{delivery.lock}", delivery.payload)
        for event in events:
            arguments += (event.id, event.body, len(event.topics), *event.topics)
        reply = await self._evaluate(arguments)
        return [taken == 1 for taken in reply[1:]]

    async def _evaluate(self, arguments: list[str | bytes | int]) -> list[object]:
        pool = self.client.connection_pool
        try:
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # connects, and finds out a dead one: nothing is sent before
        except BUS_ERRORS as error:
            raise BusAway(type(error).__name__) from None
        try:
            try:
                await connection.send_command("EVALSHA", self._script_hash, *arguments)
                reply = await connection.read_response()
            except NoScriptError:  # a restarted server has forgotten it, and has run nothing
                await connection.send_command("EVAL", self._script, *arguments)
                reply = await connection.read_response()
        except BUS_ERRORS as error:
            await connection.disconnect()
            raise BusUnknown(type(error).__name__) from None
        finally:
            await pool.release(connection)
        if not isinstance(reply, list):
            raise BusUnknown("reply")
        return reply

    async def nudge(self, organization: str, revision: int) -> None:
        """Tell the processes that there is a change. Only a nudge: the fence proves."""
        await self.client.publish("nk:changes", f"{organization} {revision}")

    async def cut(self, organization: str, subject: str | None, revision: int) -> None:
        """Have the gateways close the subject's connections whose token was decided before that revision; None: all of the organization.

        Said, and kept for the gateways that don't hear it now: whoever subscribes first and then reads misses none.
        """
        whose = {"type": "organization_suspended"} if subject is None else {"type": "revoked", "subject": subject}
        word = msgspec.json.encode({**whose, "org": organization, "revision": revision})
        async with self.client.pipeline(transaction=True) as pipeline:
            pipeline.xadd("nk:cuts", {"word": word}, minid=now_ms() - CUTS_KEPT_MS, approximate=True)
            pipeline.pexpire("nk:cuts", CUTS_KEPT_MS)
            pipeline.publish("nk:control", word)
            await pipeline.execute()

    async def ask_hold(self, organization: str, locks: Sequence[str]) -> None:
        """Have these locks ask whether their doors are held open. Only a hint. Raises BusAway, BusUnknown."""
        words = [(lock, msgspec.json.encode({"type": "ask_hold", "org": organization, "lock": lock})) for lock in locks]
        for first in range(0, len(words), ASKED_AT_ONCE_MAX):
            await self.publish([Delivery(organization, *word) for word in words[first : first + ASKED_AT_ONCE_MAX]], [])

    async def leave_report(self, organization: str, lock: str, report: str) -> None:
        """For the worker: no process here waits for it."""
        await self.client.xadd("nk:reports", {"org": organization, "lock": lock, "report": report}, maxlen=REPORTS_MAX, approximate=True)

    async def left_reports(self, count: int) -> list[tuple[bytes, dict[str, str]]]:
        """The oldest reports that are still there, with the name of each entry."""
        found: Any = await self.client.xrange("nk:reports", count=count)  # the stubs cover every protocol version at once
        return [
            (name, {key.decode(errors="replace"): value.decode(errors="replace") for key, value in fields.items()})
            for name, fields in found or []
        ]

    async def forget_reports(self, names: list[bytes]) -> None:
        """They are in the journal, or are nobody's word."""
        await self.client.xdel("nk:reports", *names)

    async def close(self) -> None:
        await self.client.aclose()
