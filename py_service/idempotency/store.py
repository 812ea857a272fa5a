"""What is kept of requests with an Idempotency-Key: a claim while one is under way, a record of each change, and the answer.

All of it is sealed by the core, bound to its `_id`: an answer may show a secret, and a body's hash could be guessed from.
A record that is over counts as not there; the worker deletes it a minute later (`delete_expired`).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec
import structlog
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from py_service.errors import Problem
from py_service.exchange import Response
from py_service.idempotency.keyed import Kept, Keyed
from py_service.stores.mongo import Document, Mongo, find_by_ids, is_conflict, now_ms, plain, store_errors
from py_service.stores.place import is_gone, own_place

COLLECTION = "idempotency_keys"
PURPOSE = "idempotency"
KEPT_MS = 86_400_000
CLAIM_MS = 20_000  # longer than any change tries; a process that is silent for so long is taken for dead
EXPIRED_KEPT_MS = 60_000
EXPIRED_AT_ONCE_MAX = 500
ANSWER_BYTES_MAX = 1_000_000  # the core seals 1 MiB

logger = structlog.get_logger(__name__)
Content = TypeVar("Content")


class Sealer(Protocol):
    """The part of the core's KeyRing that seals."""

    def seal(self, purpose: str, organization: str, name: str, content: bytes) -> bytes: ...
    def open(self, purpose: str, organization: str, name: str, sealed: bytes) -> bytes: ...


class _Claimed(msgspec.Struct):
    request: bytes


class _Step(msgspec.Struct):
    request: bytes
    revision: int
    result: Document | None


class _Answer(msgspec.Struct):
    request: bytes
    status: int
    headers: dict[str, str]
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody carries the request out, or died over it. `token` is of that one try."""

    token: str
    request: bytes | None  # None: over for so long that it counts as not there
    over: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the store under a key."""

    claim: Claim | None
    request: bytes | None  # of the answer
    answer: Response | None


class IdempotencyStore:
    """One per api process, which is called `process`."""

    def __init__(self, mongo: Mongo, sealer: Sealer, process: str, clock_ms: Callable[[], int] = now_ms) -> None:
        self._mongo = mongo
        self._sealer = sealer
        self._process = process
        self._clock_ms = clock_ms
        self._place = own_place()
        self._records = mongo.database[COLLECTION]

    async def claim(self, keyed: Keyed) -> str | None:
        """The token of the claim; None when there is one already. Raises Problem 503."""
        document, token = self._claim_document(keyed)
        async with store_errors():
            try:
                await self._records.insert_one(document)
            except DuplicateKeyError:
                return None
        return token

    async def find(self, keyed: Keyed) -> Found:
        """Raises Problem 503."""
        answer_id = _answer_id(keyed)
        async with store_errors():
            documents = await find_by_ids(self._mongo.database, COLLECTION, [keyed.identifier, answer_id])
        found = {document["_id"]: document for document in documents}
        claim = self._read_claim(found.get(keyed.identifier))
        answer = self._read(found.get(answer_id), _Answer)
        if answer is None:
            return Found(claim, None, None)
        return Found(claim, answer.request, Response(answer.status, answer.body, answer.headers, answer.content_type))

    async def take_over(self, keyed: Keyed, claim: Claim) -> str | None:
        """Put our claim in the place of one that is over: the token, or None when somebody else was first. Raises Problem 503."""
        document, token = self._claim_document(keyed)

        async def replace(session: AsyncClientSession) -> None:
            await self._records.replace_one({"_id": keyed.identifier}, document, session=session)

        async with store_errors():
            return token if await self._if_still(keyed, claim.token, replace) else None

    async def release(self, keyed: Keyed, token: str) -> bool:
        """Forget our claim: the request may be sent again. Whether its first change has taken effect, now or at an earlier try."""

        async def delete(session: AsyncClientSession) -> None:
            await self._records.delete_one({"_id": keyed.identifier}, session=session)

        try:
            await self._if_still(keyed, token, delete)
            return bool(await find_by_ids(self._mongo.database, COLLECTION, [_step_id(keyed, 1)]))
        except PyMongoError as error:
            # It isn't under way in this process any more, so here it may be sent again at once; elsewhere when the claim is over.
            logger.warning("claim_not_released", error=type(error).__name__)
            return False

    async def keep_answer(self, keyed: Keyed, answer: Response) -> Response | None:
        """The answer that stands: this one, or the one that was kept before, when two carried out the same steps. None: too long to keep.

        Raises Problem 503.
        """
        if len(answer.body) > ANSWER_BYTES_MAX:
            logger.warning("answer_not_kept", bytes=len(answer.body))
            return None
        content = _Answer(keyed.request, answer.status, answer.headers, answer.content_type, answer.body)
        document = self._sealed(keyed, _answer_id(keyed), content)
        async with store_errors():
            try:
                await self._records.insert_one(document)
            except DuplicateKeyError:
                found = await self.find(keyed)
                if found.answer is not None:
                    return found.answer
                await self._records.replace_one({"_id": document["_id"]}, document)  # one that is over
        return answer

    async def recall_step(self, session: AsyncClientSession, keyed: Keyed, number: int) -> Kept | None:
        """Raises Problem 422 when it is another request's."""
        step = self._read(await self._records.find_one({"_id": _step_id(keyed, number)}, session=session), _Step)
        if step is None:
            return None
        keyed.check_same(step.request)
        return Kept(step.revision, step.result)

    async def keep_step(self, session: AsyncClientSession, keyed: Keyed, number: int, kept: Kept) -> None:
        """Raises Problem 500 for a result that can't be written down."""
        document = self._sealed(keyed, _step_id(keyed, number), _Step(keyed.request, kept.revision, kept.result))
        await self._records.replace_one({"_id": document["_id"]}, document, upsert=True, session=session)

    async def _if_still(self, keyed: Keyed, token: str, change: Callable[[AsyncClientSession], Awaitable[None]]) -> bool:
        """Change the claim in a transaction of its own, if it is still this one. The embedded server has no cheaper condition."""
        async with self._mongo.session() as session, self._mongo.transaction(session):
            try:
                found = await self._records.find_one({"_id": keyed.identifier}, session=session)
                if found is None or found["token"] != token:
                    return False
                await change(session)
                await session.commit_transaction()
            except PyMongoError as error:
                if is_conflict(error):
                    return False
                raise
        return True

    def _claim_document(self, keyed: Keyed) -> tuple[Document, str]:
        token = secrets.token_hex(8)
        held: Document = {"token": token, "process": self._process, "place": self._place, "until": self._clock_ms() + CLAIM_MS}
        return self._sealed(keyed, keyed.identifier, _Claimed(keyed.request)) | held, token

    def _read_claim(self, document: Document | None) -> Claim | None:
        claimed = self._read(document, _Claimed)
        if document is None or claimed is None:
            return None if document is None else Claim(document["token"], None, True)
        # The caller knows that no other request of this process carries it out.
        over = document["process"] == self._process or is_gone(document["place"]) or document["until"] <= self._clock_ms()
        return Claim(document["token"], claimed.request, over)

    def _sealed(self, keyed: Keyed, identifier: str, content: msgspec.Struct) -> Document:
        try:
            encoded = msgspec.msgpack.encode(content, enc_hook=plain)
        except (TypeError, NotImplementedError, ValueError) as error:
            logger.error("result_not_kept", error=str(error))
            raise Problem(500, "internal", "What the change came to can't be written down; nothing was changed.") from error
        sealed = self._sealer.seal(PURPOSE, keyed.organization, identifier, encoded)
        return {"_id": identifier, "org": keyed.organization, "sealed": sealed, "expires_at": self._clock_ms() + KEPT_MS}

    def _read(self, document: Document | None, kind: type[Content]) -> Content | None:
        """None when there is none, or it is over."""
        if document is None or document["expires_at"] <= self._clock_ms():
            return None
        opened = self._sealer.open(PURPOSE, document["org"], document["_id"], bytes(document["sealed"]))
        return msgspec.msgpack.decode(opened, type=kind)


def _step_id(keyed: Keyed, number: int) -> str:
    return f"{keyed.identifier}:{number}"


def _answer_id(keyed: Keyed) -> str:
    return f"{keyed.identifier}:answer"


async def delete_expired(database: AsyncDatabase[Document], now: int) -> int:
    """Delete records that have been over for a minute, 500 at most; how many. `now` in ms. Raises Problem 503."""
    over = {"expires_at": {"$gte": 0, "$lt": now - EXPIRED_KEPT_MS}}
    async with store_errors():
        found = await database[COLLECTION].find(over, {"_id": 1}).limit(EXPIRED_AT_ONCE_MAX).to_list()
        if found:
            await database[COLLECTION].delete_many({"_id": {"$in": [document["_id"] for document in found]}})
    return len(found)
