"""Keeps the permission index up with the store: loads organizations, applies change records, answers fence reads.

Nudges over Redis make it quick; the fence makes it right. A hole in the records drops the organization (every check is refused)
until it is loaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from pymongo.errors import PyMongoError

from py_service._core_rs import PermissionIndex, SnapshotError, SnapshotLoad
from py_service.errors import Problem, stores_unavailable
from py_service.permissions import store
from py_service.permissions.image import encode_images
from py_service.settings import IDENTIFIER
from py_service.stores.bus import BUS_ERRORS, Bus
from py_service.stores.kinds import PERMISSION_KINDS
from py_service.stores.mongo import Document, Mongo

CURRENT_SECONDS_MAX = 1.0
LISTEN_AGAIN_SECONDS = 0.5
NUDGE_BYTES_MAX = 128
ADDED_AT_ONCE_BYTES_MAX = 65_536  # decoded in less time than a thread takes to be asked
# A change is applied in some 20 us, and in the loop. What may take a millisecond has a thread (docs/performance.md has the figures): many
# images, and kinds of which one says something of any number of doors or schedules.
APPLIED_AT_ONCE_IMAGES_MAX = 50
APPLIED_AT_ONCE_BYTES_MAX = 65_536
REACHING_KINDS = frozenset({"group", "calendar"})
APPLYING_THREADS = 2

logger = structlog.get_logger(__name__)


class PermissionFollower:
    """One per process. `found` hears of each organization that is made while the process runs."""

    def __init__(self, mongo: Mongo, bus: Bus, found: Callable[[str], Awaitable[object]] | None = None) -> None:
        self.index = PermissionIndex()
        self._mongo = mongo
        self._bus = bus
        self._found = found
        self._known: dict[str, None] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, list[asyncio.Future[int]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[bool]] = set()
        # Its own: whoever waits behind the fence doesn't wait for somebody's long list, too.
        self._applying = ThreadPoolExecutor(APPLYING_THREADS, thread_name_prefix="permissions")

    async def start(self) -> None:
        """Load every organization."""
        self._known = dict.fromkeys(await store.read_organizations(self._mongo))
        for organization in self.organizations():
            await self._load(organization)

    async def load(self, organization: str) -> None:
        """Load one, however long it takes: for a process that is there for this one only. Raises pymongo errors."""
        self._known[organization] = None
        await self._load(organization)

    def organizations(self) -> list[str]:
        """Those that this process has met."""
        return list(self._known)

    def revision(self, organization: str) -> int:
        """In memory; -1 when not loaded."""
        return self.index.revision(organization)

    async def catch_up(self, targets: dict[str, int], seconds: float) -> set[str]:
        """Bring organizations to at least these revisions; those that got there in time. The others go on in the background."""
        tasks = {name: asyncio.create_task(self._reach(name, revision)) for name, revision in targets.items()}
        self._background.update(tasks.values())
        for task in tasks.values():
            task.add_done_callback(self._background.discard)
        await asyncio.wait(tasks.values(), timeout=seconds)
        return {name for name, task in tasks.items() if task.done() and task.result()}

    def doubt(self, organizations: list[str]) -> None:
        """Memory was ahead of what a transaction read: a read that begins now tells whether the store was put back."""
        for organization in organizations:
            task = asyncio.create_task(self._reassured(organization))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _reassured(self, organization: str) -> bool:
        with contextlib.suppress(Problem):
            await self.current(organization)
            return True
        return False

    async def current(self, organization: str) -> int:
        """The store's revision as read after this call began, and memory brought up to it: one read serves all who wait.

        -1 when the store has no such organization. Raises Problem 503.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(organization, []).append(future)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_for_all())
        return await future

    async def listen(self) -> None:
        """Follow the nudges until cancelled; a lost bus is tried again."""
        while True:
            with contextlib.suppress(*BUS_ERRORS):
                await self._listen_once()
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    async def _listen_once(self) -> None:
        client = self._bus.listener()
        try:
            async with client.pubsub() as subscription:
                await subscription.subscribe("nk:changes")
                async for message in subscription.listen():
                    if message["type"] == "subscribe":
                        await self._meet_new()
                    else:
                        await self._nudged(message["data"])
        finally:
            await client.aclose()

    async def _meet_new(self) -> None:
        """Organizations that were made while nobody here listened."""
        try:
            made = [name for name in await store.read_organizations(self._mongo) if name not in self._known]
        except PyMongoError as error:
            logger.warning("organizations_not_read", error=type(error).__name__)
            return
        for organization in made:
            with contextlib.suppress(Problem):
                await self.current(organization)

    async def _nudged(self, data: bytes) -> None:
        """Whoever owns Redis can say anything here, so the number is only a reason to ask the store."""
        organization, _, revision = data[:NUDGE_BYTES_MAX].decode(errors="replace").partition(" ")
        known = revision.isascii() and revision.isdigit() and int(revision) <= self.revision(organization)
        if IDENTIFIER.match(organization) and not known:
            with contextlib.suppress(Problem):
                await self.current(organization)

    async def _read_for_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                before = {name: self.revision(name) for name in waiting}
                revisions = await store.read_revisions(self._mongo, list(waiting))
                for name, revision in revisions.items():
                    if before[name] > revision:
                        # The store was put back to an earlier day under us: what is in memory never happened.
                        logger.error("permissions_ahead", organization=name, memory=before[name], store=revision)
                        self.index.drop(name)
                behind = {name: revision for name, revision in revisions.items() if self.revision(name) < revision}
                current = await self.catch_up(behind, CURRENT_SECONDS_MAX) if behind else set()
                # An organization that the store doesn't know is served too: with -1, and everything in it refused.
                served = {name for name in waiting if name not in behind or name in current}
            except PyMongoError:
                served = set()
            except Exception:
                # Whoever waits gets an answer, whatever happened: a refusal.
                logger.exception("fence_read_broken")
                served = set()
            for name, futures in waiting.items():
                for future in futures:
                    if future.done():
                        continue
                    if name in served:
                        future.set_result(self.revision(name))
                    else:
                        future.set_exception(stores_unavailable("The permissions could not be brought up to date."))

    async def _reach(self, organization: str, target: int) -> bool:
        """Apply the records up to `target`. False when the store doesn't answer or has a hole."""
        if self.revision(organization) >= target:
            return True
        lock = self._locks.setdefault(organization, asyncio.Lock())
        async with lock:
            have = self.revision(organization)
            if have >= target:
                return True
            try:
                if have < 0:
                    await self._load(organization)
                else:
                    await self._apply_until(organization, have, target)
            except PyMongoError as error:
                logger.warning("permissions_behind", organization=organization, error=type(error).__name__)
                return False
            return self.revision(organization) >= target

    async def _apply_until(self, organization: str, have: int, target: int) -> None:
        """Window by window, so that what was read counts, whatever becomes of the next read. Raises pymongo errors."""
        try:
            for first in range(have + 1, target + 1, store.RECORDS_AT_ONCE_MAX):
                last = min(first + store.RECORDS_AT_ONCE_MAX - 1, target)
                for record in await store.read_records(self._mongo, organization, first, last):
                    await self._apply(organization, record)
        except SnapshotError as error:
            logger.error("permissions_dropped", organization=organization, code=error.code)
            self.index.drop(organization)
        if self.revision(organization) < target:
            # A hole: what is in memory can't be trusted until it is loaded again.
            self.index.drop(organization)
            await self._load(organization)

    async def _apply(self, organization: str, record: Document) -> None:
        """The whole record, or nothing of it: whoever asks meanwhile is answered by the revision before. Raises SnapshotError.

        INVARIANT: one after the other. A record that is applied in a thread is awaited before the next is begun.
        """
        revision, images = int(record["revision"]), record["images"]
        encoded = encode_images(images)
        few = len(images) <= APPLIED_AT_ONCE_IMAGES_MAX and len(encoded) <= APPLIED_AT_ONCE_BYTES_MAX
        if few and REACHING_KINDS.isdisjoint(image["kind"] for image in images):
            self.index.apply(organization, revision, encoded)
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._applying, self.index.apply, organization, revision, encoded)

    async def _load(self, organization: str) -> None:
        """Scan after reading R0, then apply every record since. Nothing is visible before all of it is in."""
        first = (await store.read_revisions(self._mongo, [organization])).get(organization)
        if first is None:
            return
        try:
            load = self.index.begin_load(organization, first)
            for kind in PERMISSION_KINDS:
                await self._add(load, organization, kind)
            last = (await store.read_revisions(self._mongo, [organization])).get(organization, first)
            records = await store.read_records(self._mongo, organization, first + 1, last)
            await asyncio.to_thread(load.finish)
            for record in records:
                await self._apply(organization, record)
        except SnapshotError as error:
            logger.error("permissions_not_loaded", organization=organization, code=error.code)
            self.index.drop(organization)
            return
        if self.revision(organization) < last:
            self.index.drop(organization)
        elif organization not in self._known:
            self._known[organization] = None
            logger.info("organization_met", organization=organization)
            if self._found is not None:
                task = asyncio.create_task(self._tell_found(organization, self._found))
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    @staticmethod
    async def _tell_found(organization: str, found: Callable[[str], Awaitable[object]]) -> bool:
        with contextlib.suppress(Problem):  # whoever needs it asks again
            await found(organization)
            return True
        return False

    async def _add(self, load: SnapshotLoad, organization: str, kind: str) -> None:
        """All objects of a kind: while the core decodes one batch, the store hands over the next. Raises SnapshotError, PyMongoError."""
        adding: asyncio.Task[int] | None = None
        try:
            async for batch in store.read_batches(self._mongo, organization, kind):
                if adding is not None:
                    await adding
                    adding = None
                if len(batch) <= ADDED_AT_ONCE_BYTES_MAX:
                    load.add(kind, batch)
                else:
                    adding = asyncio.create_task(asyncio.to_thread(load.add, kind, batch))
        finally:
            if adding is not None:
                await adding
