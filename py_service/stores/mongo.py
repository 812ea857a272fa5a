"""The connection to MongoDB, its limits, and what its errors mean here.

Transactions carry their own concerns, because a collection's settings don't reach into a transaction.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from bson.int64 import Int64
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from py_service.errors import SettingsError, StoreUnavailable, stores_unavailable

Document = dict[str, Any]  # BSON is open; each room's store gives its documents a shape

MAJORITY = ReadConcern("majority")
MAJORITY_JOURNALED = WriteConcern("majority", j=True)
CLOCK_DIFFERENCE_MS_MAX = 1_000
POOL_CONNECTIONS_MAX = 64


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

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncClientSession]:
        """A session whose transaction is aborted when it wasn't committed."""
        async with self.client.start_session() as session:
            yield session

    async def begin(self, session: AsyncClientSession) -> None:
        """Start a transaction that reads and writes by majority and journal."""
        await session.start_transaction(read_concern=MAJORITY, write_concern=MAJORITY_JOURNALED)

    async def abort(self, session: AsyncClientSession) -> None:
        """Abort, when there is something to abort; a dead server has aborted it already."""
        if session.in_transaction:
            with contextlib.suppress(PyMongoError):
                await session.abort_transaction()

    async def close(self) -> None:
        await self.client.close()


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
