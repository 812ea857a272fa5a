"""What the store knows of uses and whereabouts, read and written in the transaction that carries the decisions.

The rules are the core's (`PermissionIndex.settle`, docs/protocols/documents.md, Stateful rules); here are only the queries.
INVARIANT: whatever a decision was settled on is written by a grant in the same transaction, so that of two that use the same
the second meets a conflict and is settled again.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec
import structlog
from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from py_service._core_rs import CoreError, Settlement
from py_service.errors import Problem
from py_service.journal.commit import NothingWritten
from py_service.journal.member import Member
from py_service.permissions.states import STATES, record_of, state_document, state_name
from py_service.stores.mongo import Document, Mongo

ROUNDS_MAX = 6
WRITE_CONFLICT, DUPLICATE_KEY = 112, 11_000
Records = dict[str, Document]

logger = structlog.get_logger(__name__)


@runtime_checkable
class Stateful(Protocol):
    """A member that is settled with the store."""

    @property
    def organization(self) -> str: ...

    def settle(self, records: bytes, at_ms: int) -> Settlement:
        """As of the group's T. Raises CoreError."""
        ...

    def adopt(self, settlement: Settlement) -> None:
        """This is the answer, as far as the transaction holds."""
        ...

    def failed(self, problem: Problem) -> None: ...


class SettleStates:
    """The step of the stateful lane: one read per round (three at most in practice), one write."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def __call__(self, session: AsyncClientSession, group: list[Member], at_ms: int) -> None:
        """Raises NothingWritten when somebody else was first."""
        known: dict[str, Records] = {}
        for _ in range(ROUNDS_MAX):
            changed, missing = self._round(group, known, at_ms)
            if not missing:
                await self._write(session, changed)
                return
            await self._read(session, missing, known)
        raise RuntimeError("records that are never enough")

    def _round(self, group: list[Member], known: dict[str, Records], at_ms: int) -> tuple[dict[str, Records], set[tuple[str, str]]]:
        """Settle one after the other, each on what those before it left."""
        working = {organization: dict(records) for organization, records in known.items()}
        changed: dict[str, Records] = {}
        missing: set[tuple[str, str]] = set()
        for member in [member for member in group if isinstance(member, Stateful)]:
            own = working.setdefault(member.organization, {})
            try:
                settlement = member.settle(msgspec.json.encode(own), at_ms)
            except CoreError as error:
                logger.error("not_settled", organization=member.organization, code=error.code)
                member.failed(Problem(500, "internal", "The decision could not be settled; nothing was commanded."))
                group.remove(member)
                continue
            missing |= {(member.organization, key) for key in settlement.missing}
            if settlement.missing:
                continue
            member.adopt(settlement)
            records: Records = msgspec.json.decode(settlement.records)
            own.update(records)
            changed.setdefault(member.organization, {}).update(records)
        return changed, missing

    async def _read(self, session: AsyncClientSession, missing: set[tuple[str, str]], known: dict[str, Records]) -> None:
        names = [state_name(organization, key) for organization, key in sorted(missing)]
        found = await self._mongo.database[STATES].find({"_id": {"$in": names}}, session=session).to_list()
        by_name = {str(document["_id"]): document for document in found}
        for organization, key in missing:
            known.setdefault(organization, {})[key] = record_of(by_name.get(state_name(organization, key), {}))

    async def _write(self, session: AsyncClientSession, changed: dict[str, Records]) -> None:
        writes = [
            ReplaceOne({"_id": state_name(organization, key)}, state_document(organization, key, record), upsert=True)
            for organization, records in changed.items()
            for key, record in records.items()
        ]
        if not writes:
            return
        try:
            await self._mongo.database[STATES].bulk_write(writes, session=session)
        except BulkWriteError as error:
            codes = {failure.get("code") for failure in (error.details or {}).get("writeErrors", [])}
            if codes & {WRITE_CONFLICT, DUPLICATE_KEY}:
                raise NothingWritten from None
            raise
        except DuplicateKeyError:
            raise NothingWritten from None
