"""The commit group: while one is in flight the next one fills; each is one MongoDB transaction.

fence (the revisions of its organizations) -> one journal document -> commit. A revoke that was acknowledged before the fence is
seen by it, so what commits was decided on permissions that were current after its last member arrived (docs/decisions/0004).

INVARIANT: T is read before the fence, and every command made of this group expires by T + 5 s.
INVARIANT: only `commitTransaction` is ever sent again; what stays unknown is settled before the next group.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

from py_service.errors import Problem, StoreUnavailable, stores_unavailable
from py_service.journal.commit import NothingWritten, commit_known
from py_service.journal.event import Event, event_id
from py_service.journal.log import Log, LogTaken
from py_service.journal.member import Member, Note
from py_service.stores.mongo import Document, Mongo, is_conflict, now_ms

DECISION_AGE_MS_MAX = 1_000
LATE_SECONDS = 0.5
CATCH_UP_SECONDS = 0.005
DEFER_SECONDS_MAX = 2.0
SETTLE_SECONDS = 0.5
TRIES_MAX = 8
CONFLICT_SECONDS = 0.002
BEHIND_TRIES_MAX = 3
EVENT_BYTES_ESTIMATE = 512

logger = structlog.get_logger(__name__)


class Revisions(Protocol):
    """The permissions in memory, as the fence sees them."""

    def revision(self, organization: str) -> int: ...

    def doubt(self, organizations: list[str]) -> None:
        """Memory is ahead of what a transaction read: find out which is right, in the background."""
        ...

    async def catch_up(self, targets: dict[str, int], seconds: float) -> set[str]:
        """Bring memory to the targets; the organizations that got there in time."""
        ...


class Step(Protocol):
    """What else a lane does in its transaction, behind the fence and before the journal document."""

    async def __call__(self, session: AsyncClientSession, group: list[Member], at_ms: int) -> None:
        """May take members out of the group, which it has answered. Raises NothingWritten on a conflict: then all is tried again."""
        ...


@dataclass(slots=True)
class GroupLimits:
    events_max: int = 256
    bytes_max: int = 1_000_000
    queue_members_max: int = 4_096


@dataclass(slots=True)
class GroupFigures:
    """For /metrics."""

    groups: int = 0
    events: int = 0
    commit_seconds: float = 0.0
    behind: int = 0
    late: int = 0
    unknown: int = 0


class _Behind(Exception):
    def __init__(self, targets: dict[str, int]) -> None:
        super().__init__("memory is behind the fence")
        self.targets = targets


class CommitGroup:
    """One lane of one process: plain unlocks, or, with a `step`, those that the store has to settle."""

    def __init__(
        self,
        mongo: Mongo,
        log: Log,
        revisions: Revisions,
        limits: GroupLimits,
        on_taken: Callable[[], None],
        *,
        fence: bool = True,
        step: Step | None = None,
    ) -> None:
        self._step = step
        self._mongo = mongo
        self._log = log
        self._revisions = revisions
        self._limits = limits
        self._on_taken = on_taken
        self._fence = fence
        self._queue: deque[Member] = deque()
        self._wake = asyncio.Event()
        self._unknown_members: dict[bytes, list[tuple[Member, str]]] = {}  # by the hash of the document that may have been written
        self._owed: list[Note] = []
        self.figures = GroupFigures()

    @property
    def log(self) -> Log:
        return self._log

    def submit(self, member: Member) -> None:
        """Join the next group. Raises Problem 503 `overloaded` when the queue is full."""
        if len(self._queue) >= self._limits.queue_members_max:
            raise Problem(503, "overloaded", "Too many requests wait for the store.", retry_after_seconds=1)
        self._queue.append(member)
        self._wake.set()

    async def run(self) -> None:
        """The committer task: runs until cancelled, or until the log is taken."""
        while True:
            await self._woken()
            group = self._seal()
            if not group:
                self._wake.clear()
                if not self._log.unsettled:
                    continue
            try:
                if self._log.unsettled:
                    await self._settle()
                # What the log owed when the group was sealed may turn out to be written.
                await self._commit(_unanswered(group))
            except LogTaken:
                self._fail(group, Problem(503, "outcome_unknown", "This process was replaced.", retry_after_seconds=1))
                self._on_taken()
                return
            except (PyMongoError, StoreUnavailable) as error:
                logger.warning("group_failed", error=type(error).__name__, members=len(group))
                self._fail(group, stores_unavailable())
            except Exception:
                logger.exception("group_broken", members=len(group))
                self._fail(group, Problem(500, "internal", "The decision could not be recorded; nothing was commanded."))

    async def _woken(self) -> None:
        """By a member; or, after a commit that stayed unknown, by the clock: what was written is owed its end even if nobody asks."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), SETTLE_SECONDS if self._log.unsettled else None)

    def _seal(self) -> list[Member]:
        limit = min(self._limits.events_max, max(1, self._limits.bytes_max // EVENT_BYTES_ESTIMATE))
        self._owed = [note for note in self._owed if not note.written]
        group: list[Member] = [*self._owed[:limit]]
        keys: set[str] = set()
        again: list[Member] = []
        while self._queue and len(group) < limit:
            member = self._queue.popleft()
            if member.answered:
                continue
            if member.key is not None and member.key in keys:
                # The unique index doesn't see a key twice in one document: the second waits for the first to be readable.
                again.append(member)
                continue
            if member.key is not None:
                keys.add(member.key)
            group.append(member)
        self._queue.extend(again)
        return group

    async def _settle(self) -> None:
        """What stands at our next number: nothing, or a commit of ours that was unknown. Raises LogTaken when it is somebody else's."""
        written = await self._log.settle()
        if written is None:
            return
        for member, identifier in self._unknown_members.get(written, []):
            self._owe(member.late(identifier))
        self._unknown_members.clear()

    def _owe(self, event: Event | None) -> None:
        if event is not None:
            self._owed.append(Note(event))
            self._wake.set()

    async def _commit(self, group: list[Member]) -> None:
        group = await self._without_known(group)
        for attempt in range(TRIES_MAX):
            at_ms = now_ms()
            group = [member for member in group if at_ms - member.judged_at_ms <= DECISION_AGE_MS_MAX or member.judge(at_ms)]
            if not group:
                return
            try:
                await self._try(group, at_ms)
                return
            except _Behind as behind:
                self.figures.behind += 1
                group = await self._caught_up(group, behind.targets, may_stay=attempt < BEHIND_TRIES_MAX)
            except DuplicateKeyError as error:
                group = await self._after_duplicate(group, error)
            except NothingWritten:
                await asyncio.sleep(CONFLICT_SECONDS * (attempt + 1) * random.uniform(0.5, 1.5))
        raise StoreUnavailable("the group met a conflict every time")

    async def _try(self, group: list[Member], at_ms: int) -> None:
        started = time.monotonic()
        session = self._log.session
        async with self._mongo.transaction(session):
            try:
                if self._fence:
                    await self._pass_fence(session, group, at_ms)
                if group and self._step is not None:
                    await self._step(session, group, at_ms)
                if not group:
                    return
                document, identifiers = self._document(group, at_ms)
                await self._mongo.database["journal"].insert_one(document, session=session)
            except PyMongoError as error:
                if is_conflict(error):
                    raise NothingWritten from None
                raise
            await self._finish(session, group, document, identifiers, at_ms, started)

    async def _pass_fence(self, session: AsyncClientSession, group: list[Member], at_ms: int) -> None:
        """First command of the transaction. Judges again what was decided on an older revision; raises _Behind."""
        organizations = list({member.organization for member in group if member.fenced})
        if not organizations:
            return
        found = await self._mongo.database["revisions"].find({"_id": {"$in": organizations}}, session=session).to_list()
        store = {document["_id"]: int(document["revision"]) for document in found}
        behind = {name: revision for name, revision in store.items() if self._revisions.revision(name) < revision}
        if behind:
            raise _Behind(behind)
        self._not_ahead(store)
        for member in [member for member in group if member.fenced]:
            revision = store.get(member.organization)
            if revision is None:
                member.failed(stores_unavailable("The organization is not in the store."))
                group.remove(member)
            elif member.judged_revision < revision and not member.judge(at_ms):
                group.remove(member)
        self._not_ahead(store)  # again: another thread may have put a change in while members were judged

    def _not_ahead(self, store: dict[str, int]) -> None:
        """Raises _Behind when memory is ahead of what this transaction read."""
        ahead = {name: revision for name, revision in store.items() if self._revisions.revision(name) > revision}
        if ahead:
            # A change that came after this transaction's snapshot, or a store that was put back: the next try, or a fresh read, tells.
            self._revisions.doubt(list(ahead))
            raise _Behind(ahead)

    def _document(self, group: list[Member], at_ms: int) -> tuple[Document, list[str]]:
        seq = self._log.head.seq + 1
        identifiers = [event_id(self._log.id, seq, index) for index in range(len(group))]
        events = [member.event(at_ms, identifier) for member, identifier in zip(group, identifiers, strict=True)]
        keys = [key for member in group for key in (member.key, member.body_mark) if key is not None]
        return self._log.document(at_ms, keys, events), identifiers

    async def _finish(
        self, session: AsyncClientSession, group: list[Member], document: Document, identifiers: list[str], at_ms: int, started: float
    ) -> None:
        known = await commit_known(session, at_ms)
        elapsed = time.monotonic() - started
        named = list(zip(group, identifiers, strict=True))
        if not known:
            self.figures.unknown += 1
            self._log.unknown(document)
            self._mongo.leave(session)
            self._unknown_members[bytes(document["hash"])] = named
            problem = Problem(
                503, "outcome_unknown", "The store did not say whether the decision was kept; nothing was commanded.", retry_after_seconds=2
            )
            self._fail(group, problem)
            return
        self._log.committed(document)
        self._unknown_members.clear()
        self._count(len(group), elapsed)
        if elapsed > LATE_SECONDS:
            self.figures.late += 1
            self._after_late(named)
            return
        for member, identifier in named:
            if member.answered:
                # Whoever asked has gone with a 503 while this was under way: it must not open anything any more.
                self._owe(member.late(identifier))
            else:
                member.committed(at_ms, identifier)

    def _after_late(self, named: list[tuple[Member, str]]) -> None:
        for member, identifier in named:
            self._owe(member.late(identifier))
            member.failed(stores_unavailable("The store answered too late; nothing was commanded."))

    def _count(self, size: int, seconds: float) -> None:
        self.figures.groups += 1
        self.figures.events += size
        self.figures.commit_seconds += seconds

    async def _caught_up(self, group: list[Member], targets: dict[str, int], *, may_stay: bool) -> list[Member]:
        """Who isn't caught up in time, or changes all the time, moves to the next group, and holds nobody else up."""
        current = await self._revisions.catch_up(targets, CATCH_UP_SECONDS) if may_stay else set()
        staying: list[Member] = []
        for member in group:
            if not member.fenced or member.organization not in targets or member.organization in current:
                staying.append(member)
            elif time.monotonic() - member.waiting_since > DEFER_SECONDS_MAX:
                member.failed(stores_unavailable("The permissions could not be brought up to date in time."))
            else:
                self._queue.append(member)
                self._wake.set()
        return staying

    async def _without_known(self, group: list[Member]) -> list[Member]:
        keys = [member.key for member in group if member.key_is_clients and member.key is not None]
        return await self._drop_known(group, keys) if keys else group

    async def _after_duplicate(self, group: list[Member], error: DuplicateKeyError) -> list[Member]:
        if "_id" in (error.details or {}).get("keyPattern", {"_id": 1}):
            # Our number is taken: by a commit of ours that was unknown, or by whoever declared us dead.
            await self._settle()
            return _unanswered(group)
        return await self._drop_known(group, [member.key for member in group if member.key is not None])

    async def _drop_known(self, group: list[Member], keys: list[str]) -> list[Member]:
        found = await self._mongo.database["journal"].find({"keys": {"$in": keys}}).to_list()
        holders = {key: document for document in found for key in document["keys"]}
        staying: list[Member] = []
        for member in group:
            if member.key is not None and member.key in holders:
                member.duplicate(holders[member.key])
            else:
                staying.append(member)
        return staying

    @staticmethod
    def _fail(group: list[Member], problem: Problem) -> None:
        for member in group:
            member.failed(problem)


def _unanswered(group: list[Member]) -> list[Member]:
    return [member for member in group if not member.answered]
