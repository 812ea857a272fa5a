"""The connection to MongoDB, its limits, and what its errors mean here.

Transactions carry their own concerns, because a collection's settings don't reach into a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from bson.int64 import Int64
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from py_service.errors import SettingsError, StoreUnavailable, stores_unavailable

Document = dict[str, Any]  # BSON is open; each room's store gives its documents a shape

MAJORITY = ReadConcern("majority")
MAJORITY_JOURNALED = WriteConcern("majority", j=True)
CLOCK_DIFFERENCE_MS_MAX = 1_000
POOL_CONNECTIONS_MAX = 64
ABORT_SECONDS_MAX = 0.2
END_AGAIN_SECONDS = 0.2
CLOSE_SECONDS_MAX = 2.0

logger = structlog.get_logger(__name__)


def now_ms() -> int:
    """Wall clock, milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def plain(value: object) -> int:
    """For JSON: a 64-bit integer as BSON gives it back is an integer. Raises NotImplementedError for anything else."""
    if isinstance(value, Int64):
        return int(value)
    raise NotImplementedError(type(value).__name__)


class Mongo:
    """One client per process."""

    def __init__(self, url: str, database: str, timeout_ms: int) -> None:
        self.client: AsyncMongoClient[Document] = AsyncMongoClient(
            url,
            timeoutMS=timeout_ms,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            maxPoolSize=POOL_CONNECTIONS_MAX,
            retryWrites=False,  # a transaction is retried whole, or not at all
            tz_aware=True,
        )
        self._left: dict[Any, Document] = {}
        self._ending: asyncio.Task[None] | None = None
        self.database: AsyncDatabase[Document] = self.client.get_database(database, read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)

    async def refuse_unfit_server(self) -> None:
        """Raises SettingsError for a router (mongos) or a server without transactions."""
        hello = await self.client.admin.command("hello")
        if hello.get("msg") == "isdbgrid":
            raise SettingsError("NEXKEY_MONGO_URL: a mongos; the fence needs a replica set's own primary")
        if "setName" not in hello:
            raise SettingsError("NEXKEY_MONGO_URL: a standalone server has no transactions; start it as a replica set")

    async def clock_difference_ms(self) -> int:
        """Our clock minus the store's, at best within half the round trip."""
        before = now_ms()
        hello = await self.client.admin.command("hello")
        after = now_ms()
        store_ms = int(hello["localTime"].timestamp() * 1000)
        return (before + after) // 2 - store_ms

    def session(self) -> AsyncClientSession:
        """For the life of a writer: each new transaction in it ends, at the server, whatever an earlier one left open."""
        return self.client.start_session(causal_consistency=False)

    async def begin(self, session: AsyncClientSession) -> None:
        """Start a transaction that reads and writes by majority and journal."""
        await session.start_transaction(read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)

    @contextlib.asynccontextmanager
    async def transaction(self, session: AsyncClientSession) -> AsyncIterator[None]:
        """A transaction that is aborted when the block ends without having committed it."""
        await self.begin(session)
        try:
            yield
        except BaseException as error:
            await self.abort(session, error)
            raise
        await self.abort(session)

    async def abort(self, session: AsyncClientSession, because: BaseException | None = None) -> None:
        """Abort, when there is something to abort. Without the server's own word for it the session is ended later."""
        if not session.in_transaction:
            return
        began = time.monotonic()
        with contextlib.suppress(PyMongoError):
            await session.abort_transaction()  # the driver keeps to itself whether the server heard it
        unheard = time.monotonic() - began > ABORT_SECONDS_MAX
        if unheard or (because is not None and isinstance(because, PyMongoError) and not isinstance(because, OperationFailure)):
            self.leave(session)

    def leave(self, session: AsyncClientSession) -> None:
        """A transaction of this session may still be open at the server, where it holds what it has written: MongoDB waits a minute,
        the embedded server for ever. It is ended as soon as the server answers."""
        self._left[session_name(session)["id"]] = session_name(session)
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._end_left())

    async def _end_left(self) -> None:
        while self._left:
            left, self._left = self._left, {}
            if not await self.end_sessions(list(left.values())):
                self._left = left | self._left
                await asyncio.sleep(END_AGAIN_SECONDS)

    async def end_sessions(self, names: list[Document]) -> bool:
        """Abort what these sessions (of a process that is gone, or our own) have open. False when the server didn't answer.

        Safe even for a session that is in use: whoever runs it is told that nothing was written.
        """
        try:
            await self.client.admin.command("killSessions", names)
        except OperationFailure as error:
            logger.warning("sessions_not_ended", code=error.code)  # not allowed to: the server's own limit ends them
        except PyMongoError:
            return False
        return True

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        with contextlib.suppress(TimeoutError):  # the driver looks long for a store that is gone, to tell it that its sessions are over
            await asyncio.wait_for(self.client.close(), CLOSE_SECONDS_MAX)


def session_name(session: AsyncClientSession) -> Document:
    """By which any process can have it ended."""
    return dict(session.session_id)


def is_conflict(error: PyMongoError) -> bool:
    """Another transaction was first: nothing of ours was written, and it may be tried again."""
    return error.has_error_label("TransientTransactionError") and getattr(error, "code", None) is not None


@contextlib.asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Anything the driver raises becomes 503 `stores_unavailable`; a duplicate key is passed on, it means something to the caller."""
    try:
        yield
    except DuplicateKeyError:
        raise
    except StoreUnavailable as error:
        raise stores_unavailable(str(error)) from None
    except PyMongoError as error:
        raise stores_unavailable() from error


async def find_by_ids(
    database: AsyncDatabase[Document], collection: str, ids: list[str], *, session: AsyncClientSession | None = None
) -> list[Document]:
    """Documents by `_id`, in no order. The one shape of many-read that every server serves from its index."""
    if not ids:
        return []
    return await database[collection].find({"_id": {"$in": ids}}, session=session).to_list()
