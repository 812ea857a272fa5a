"""The lane of changes: all waiting changes of a process, one revision per organization, one transaction.

`$inc revision` comes first: from then on nobody else can change the organization, so the index at `revision - 1` is exactly the state
that the callers and the objects are validated against. A conflict aborts early and is tried again with jitter.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError

from py_service._core_rs import SnapshotError
from py_service.errors import Problem, StoreUnavailable, stores_unavailable
from py_service.idempotency.keyed import Kept, Step, next_step
from py_service.journal.commit import NothingWritten, commit_known
from py_service.journal.event import COMMAND_LIFE_MS_MAX, LOCK_CLOCK_ERROR_MS_MAX, Cut, cut_of
from py_service.journal.log import Log, LogTaken
from py_service.permissions.ask_hold import asked_to_hold
from py_service.permissions.change import Actor, Change, Changed, Plan, View, Write
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.image import Image, encode_images
from py_service.permissions.listing import object_key, stored_object
from py_service.permissions.store import change_id
from py_service.stores.bus import BUS_ERRORS, Bus, BusAway, BusUnknown
from py_service.stores.kinds import OBJECT_COLLECTIONS, PERMISSION_KINDS
from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Document, Mongo, is_conflict, now_ms

# Who decided, who told the lock the time and who answers here may each be that far off the store's clock.
PROCESS_CLOCKS_MS_MAX = 3 * CLOCK_DIFFERENCE_MS_MAX
CHANGES_LANE = "changes"  # of the logs that changes are written to
CHANGES_AT_ONCE_MAX = 64
QUEUE_CHANGES_MAX = 1_024
# Events of one journal document: their ids have three digits for the place in it.
EVENTS_AT_ONCE_MAX = 1_000
WRITES_AT_ONCE_MAX = 200  # of one call: 40 ms of the embedded server, and the driver gives up after `store_timeout_ms`
TRY_SECONDS_MAX = 3.0
CATCH_UP_SECONDS = 0.05

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    organization: str
    actor: Actor | None
    change: Change
    future: asyncio.Future[Changed]
    step: Step | None  # of a request with an Idempotency-Key
    kept: Kept | None = None  # what that step came to before
    plan: Plan | None = None
    problem: Problem | None = None
    later: bool = False  # the journal document is full, or an object was written already: it comes with the next group
    wrote: frozenset[tuple[str, str]] = frozenset()  # what it would have written then


class ChangeLane:
    """One per process."""

    def __init__(self, mongo: Mongo, log: Log, follower: PermissionFollower, bus: Bus, on_taken: Callable[[], None]) -> None:
        self._mongo = mongo
        self._log = log
        self._follower = follower
        self._bus = bus
        self._on_taken = on_taken
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._after: set[asyncio.Task[None]] = set()

    @property
    def log(self) -> Log:
        return self._log

    async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed:
        """Carry out a change. Raises Problem; a 503 `outcome_unknown` may have happened, and is safe to repeat."""
        if len(self._queue) >= QUEUE_CHANGES_MAX:
            raise Problem(503, "overloaded", "Too many changes wait for the store.", retry_after_seconds=1)
        future: asyncio.Future[Changed] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(organization, actor, change, future, next_step()))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """The committer task: runs until cancelled, or until the log is taken."""
        while True:
            await self._wake.wait()
            group = self._seal()
            if not group:
                self._wake.clear()
                continue
            try:
                await self._carry_out(group)
            except LogTaken:
                self._refuse(group, Problem(503, "outcome_unknown", "This process was replaced.", retry_after_seconds=1))
                self._on_taken()
                return
            except (PyMongoError, StoreUnavailable) as error:
                logger.warning("changes_failed", error=type(error).__name__, changes=len(group))
                self._refuse(group, stores_unavailable("The store did not answer in time; the change may be repeated."))
            except Exception:
                logger.exception("changes_broken", changes=len(group))
                self._refuse(group, Problem(500, "internal", "The change could not be carried out."))

    def _seal(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        sealed: set[str] = set()
        later: list[_Waiting] = []
        while self._queue and len(group) < CHANGES_AT_ONCE_MAX:
            waiting = self._queue.popleft()
            if waiting.organization in sealed:
                later.append(waiting)
                continue
            group.append(waiting)
            if waiting.change.takes_authority:
                sealed.add(waiting.organization)
        self._queue.extendleft(reversed(later))
        return group

    async def _carry_out(self, group: list[_Waiting]) -> None:
        until = time.monotonic() + TRY_SECONDS_MAX
        pause = 0.001
        while time.monotonic() < until:
            if self._log.unsettled:
                await self._log.settle()
            try:
                await self._try(group)
                return
            except NothingWritten:
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, 0.02)
        raise StoreUnavailable("the changes met a conflict every time")

    async def _try(self, group: list[_Waiting]) -> None:
        at_ms = now_ms()
        session = self._log.session
        async with self._mongo.transaction(session):
            try:
                revisions = await self._next_revisions(session, group)
                await self._plan(session, group, revisions, at_ms)
                good = [waiting for waiting in group if waiting.plan is not None]
                if not good:
                    await self._mongo.abort(session)
                    self._answer_others(group)
                    return
                document = await self._write(session, good, revisions, at_ms)
            except DuplicateKeyError:
                # Our journal number, or a record's, is taken: settled or caught up before the next try.
                await self._mongo.abort(session)
                await self._log.settle()
                raise NothingWritten from None
            except PyMongoError as error:
                if is_conflict(error):
                    raise NothingWritten from None
                raise
            known = await commit_known(session, at_ms)
        if not known:
            self._log.unknown(document)
            self._mongo.leave(session)
            self._refuse(
                group, Problem(503, "outcome_unknown", "The store did not say whether the change was kept.", retry_after_seconds=2)
            )
            return
        self._log.committed(document)
        self._answer(group, good, revisions)

    async def _next_revisions(self, session: AsyncClientSession, group: list[_Waiting]) -> dict[str, int]:
        """`$inc` first, read back inside the transaction; memory must stand exactly one before."""
        revisions: dict[str, int] = {}
        collection = self._mongo.database["revisions"]
        for organization in sorted({waiting.organization for waiting in group}):
            await collection.update_one({"_id": organization}, {"$inc": {"revision": 1}}, session=session)
            found = await collection.find_one({"_id": organization}, session=session)
            if found is None:
                raise StoreUnavailable("the organization is not in the store")
            revisions[organization] = int(found["revision"])
        ahead = [name for name, revision in revisions.items() if self._follower.revision(name) >= revision]
        if ahead:
            await self._mongo.abort(session)
            self._follower.doubt(ahead)
            raise NothingWritten
        behind = {name: revision - 1 for name, revision in revisions.items() if self._follower.revision(name) < revision - 1}
        if behind:
            await self._mongo.abort(session)
            await self._follower.catch_up(behind, CATCH_UP_SECONDS)
            raise NothingWritten
        return revisions

    async def _plan(self, session: AsyncClientSession, group: list[_Waiting], revisions: dict[str, int], at_ms: int) -> None:
        events = 0
        written: set[tuple[str, str, str]] = set()
        for waiting in group:
            waiting.plan, waiting.problem, waiting.kept, waiting.later = None, None, None, False
            if self._comes_later(waiting, written):
                continue
            revision = revisions[waiting.organization]
            view = View(self._mongo, session, self._follower.index, waiting.organization, waiting.actor, revision, at_ms)
            try:
                # All changes of an organization take turns by its revision, so a step that took effect is seen here.
                waiting.kept = await waiting.step.recall(session) if waiting.step else None
                if waiting.kept is not None:
                    continue
                plan = await waiting.change.plan(view)
            except Problem as problem:
                waiting.problem = problem
                continue
            if not self._form_holds(waiting.organization, plan):
                waiting.problem = Problem(422, "object_invalid", "The permissions can't take this in the form in which it was sent.")
                continue
            if len(plan.events) > EVENTS_AT_ONCE_MAX:
                waiting.problem = Problem(409, "change_too_large", f"This would change more than {EVENTS_AT_ONCE_MAX} objects at once.")
                continue
            waiting.wrote = frozenset((image["kind"], image["id"]) for image in plan.images)
            if events + len(plan.events) > EVENTS_AT_ONCE_MAX or self._comes_later(waiting, written):
                waiting.later = True
                continue
            events += len(plan.events)
            if not await self._step_kept(session, waiting, revision, plan):
                continue
            written.update((waiting.organization, *named) for named in waiting.wrote)
            # Written at once, so that the next plan in this transaction sees it.
            await self._write_images(session, waiting.organization, plan, at_ms)
            for write in plan.writes:
                await self._write_beside(session, write)
            waiting.plan = plan

    @staticmethod
    def _comes_later(waiting: _Waiting, written: set[tuple[str, str, str]]) -> bool:
        """A revision names one state of an object, as ETags are made of it: who writes one that the group has written takes the next.
        Known before its plan is made again, so that many changes of one object cost no more plans than changes."""
        waiting.later = not written.isdisjoint((waiting.organization, *named) for named in waiting.wrote)
        return waiting.later

    @staticmethod
    async def _step_kept(session: AsyncClientSession, waiting: _Waiting, revision: int, plan: Plan) -> bool:
        try:
            if waiting.step is not None:
                await waiting.step.keep(session, revision, plan.result)
        except Problem as problem:
            waiting.problem = problem
        return waiting.problem is None

    def _form_holds(self, organization: str, plan: Plan) -> bool:
        """A record that no process can read would shut the organization out: it is never written."""
        images = [image for image in plan.images if image["kind"] in PERMISSION_KINDS]
        try:
            self._follower.index.validate(organization, encode_images(images))
        except SnapshotError as error:
            logger.error("plan_refused", organization=organization, code=error.code, kinds=[image["kind"] for image in images])
            return False
        return True

    async def _write_images(self, session: AsyncClientSession, organization: str, plan: Plan, at_ms: int) -> None:
        """In their order for each kind, in few calls: a lockdown of hundreds of places is four round trips, and none takes so long
        that the store is given up."""
        writes: dict[str, list[ReplaceOne[Document] | UpdateOne | DeleteOne]] = {}
        for image in plan.images:
            kind, body = image["kind"], image["document"]
            found = {"_id": object_key(organization, kind, image["id"])}
            write: ReplaceOne[Document] | UpdateOne | DeleteOne
            if (kind, image["id"]) in plan.erased:
                write = DeleteOne(found)
            elif body is None:
                write = UpdateOne(found, {"$set": {"ended_at": at_ms, "listed": []}, "$unset": {"by_name": ""}})
            else:
                write = ReplaceOne(found, stored_object(organization, kind, body), upsert=True)
            writes.setdefault(kind, []).append(write)
        for kind, of_kind in writes.items():
            for start in range(0, len(of_kind), WRITES_AT_ONCE_MAX):
                some = of_kind[start : start + WRITES_AT_ONCE_MAX]
                await self._mongo.database[OBJECT_COLLECTIONS[kind]].bulk_write(some, session=session)

    async def _write_beside(self, session: AsyncClientSession, write: Write) -> None:
        collection, found = self._mongo.database[write.collection], {"_id": write.identifier}
        if write.document is None:
            await collection.delete_one(found, session=session)
        else:
            await collection.replace_one(found, write.document, upsert=True, session=session)

    async def _write(self, session: AsyncClientSession, good: list[_Waiting], revisions: dict[str, int], at_ms: int) -> Document:
        events = []
        for organization, revision in revisions.items():
            plans = [waiting.plan for waiting in good if waiting.organization == organization and waiting.plan is not None]
            images = [image for plan in plans for image in plan.images if image["kind"] in PERMISSION_KINDS]
            record: Document = {
                "_id": change_id(organization, revision), "org": organization, "revision": revision, "at": at_ms, "images": images,
            }  # fmt: skip
            await self._mongo.database["changes"].insert_one(record, session=session)
            events += [event for plan in plans for event in plan.events]
        document = self._log.document(at_ms, [], events)
        await self._mongo.database["journal"].insert_one(document, session=session)
        return document

    def _answer(self, group: list[_Waiting], good: list[_Waiting], revisions: dict[str, int]) -> None:
        self._answer_others(group)
        effective_by_ms = _effective_by_ms()
        for waiting in good:
            if waiting.plan is not None and not waiting.future.done():
                waiting.future.set_result(Changed(revisions[waiting.organization], effective_by_ms, waiting.plan.result))
        events = [event for waiting in good if waiting.plan is not None for event in waiting.plan.events]
        images: dict[str, list[Image]] = {}
        for waiting in good:
            images.setdefault(waiting.organization, []).extend([] if waiting.plan is None else waiting.plan.images)
        task = asyncio.create_task(self._tell(revisions, {cut for event in events if (cut := cut_of(event)) is not None}, images))
        self._after.add(task)
        task.add_done_callback(self._after.discard)

    async def told(self) -> None:
        """Whoever ends after a change waits for this: every other process has heard of it, as far as the bus carries."""
        await asyncio.gather(*self._after)

    async def _tell(self, revisions: dict[str, int], cuts: set[Cut], images: dict[str, list[Image]]) -> None:
        """After the answer is settled: our own memory, the other processes, the gateways, the locks. The fence needs none of it."""
        await self._follower.catch_up(revisions, CATCH_UP_SECONDS)
        try:
            for organization, revision in revisions.items():
                await self._bus.nudge(organization, revision)
            for cut in cuts:
                await self._bus.cut(*cut)
            for organization, changed in images.items():
                await self._bus.ask_hold(organization, asked_to_hold(self._follower.index, organization, changed))
        except (*BUS_ERRORS, BusAway, BusUnknown) as error:
            logger.warning("not_told", error=type(error).__name__)

    def _answer_others(self, group: list[_Waiting]) -> None:
        """Whose change was refused, and whose took effect before; who found no room is first in the next group."""
        self._queue.extendleft(reversed([waiting for waiting in group if waiting.later]))
        for waiting in group:
            if waiting.future.done():
                continue
            if waiting.problem is not None:
                waiting.future.set_exception(waiting.problem)
            elif waiting.kept is not None:
                waiting.future.set_result(Changed(waiting.kept.revision, _effective_by_ms(), waiting.kept.result))

    @staticmethod
    def _refuse(group: list[_Waiting], problem: Problem) -> None:
        for waiting in group:
            if not waiting.future.done():
                waiting.future.set_exception(waiting.problem or problem)


def _effective_by_ms() -> int:
    """Of a change that is in the store by now."""
    return now_ms() + COMMAND_LIFE_MS_MAX + LOCK_CLOCK_ERROR_MS_MAX + PROCESS_CLOCKS_MS_MAX
