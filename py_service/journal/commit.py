"""How a transaction ends: known, unknown, or as if it had never been."""

from __future__ import annotations

import asyncio

import structlog
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from py_service.stores.mongo import is_conflict, now_ms

COMMIT_RETRY_MS_MAX = 2_000
COMMIT_PAUSE_SECONDS = 0.02

logger = structlog.get_logger(__name__)


class NothingWritten(Exception):
    """The transaction left no trace: it may be tried again."""


async def commit_known(session: AsyncClientSession, at_ms: int) -> bool:
    """Commit; only the commit is sent again, until T + 2 s. False when its outcome stays unknown.

    Raises NothingWritten when the server says that nothing was written, and never after an attempt whose outcome was unknown.
    """
    uncertain = False
    while True:
        try:
            await session.commit_transaction()
            return True
        except PyMongoError as error:
            aborted = is_conflict(error) and not error.has_error_label("UnknownTransactionCommitResult")
            if aborted and not uncertain:
                raise NothingWritten from None
            uncertain = True
            if now_ms() >= at_ms + COMMIT_RETRY_MS_MAX:
                return False
            logger.warning("commit_again", error=type(error).__name__)
            await asyncio.sleep(COMMIT_PAUSE_SECONDS)
