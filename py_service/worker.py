"""The composition root of the worker: whoever holds the lease projects the journal, takes late reports, closes attempts, runs imports."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal

import structlog
from pymongo.errors import PyMongoError

from py_service.access.rows import GrantRow, give_grant
from py_service.directory.rows import GroupRow, PersonRow, create_group, create_person
from py_service.errors import Problem, StoreUnavailable
from py_service.events.projection import Projection
from py_service.idempotency.store import EXPIRED_AT_ONCE_MAX, delete_expired
from py_service.identity import invitations, reset_password
from py_service.identity.end_sessions import check_goes_on
from py_service.identity.invitation_letters import WriteInvitationMail
from py_service.identity.mailed_tokens import SWEPT_AT_ONCE_MAX as TOKENS_SWEPT_AT_ONCE_MAX
from py_service.identity.mailed_tokens import MailedTokens
from py_service.identity.reset_password import WriteResetMail
from py_service.identity.sessions import SWEPT_AT_ONCE_MAX, SessionStore
from py_service.identity.store import TOKENS_AT_ONCE_MAX, IdentityStore
from py_service.imports.rows import RowKind
from py_service.imports.run import ImportRunner
from py_service.imports.store import EXPIRED_AT_ONCE_MAX as IMPORTS_AT_ONCE_MAX
from py_service.imports.store import delete_expired as delete_expired_imports
from py_service.journal.commit import NothingWritten
from py_service.journal.event import cut_of
from py_service.journal.group import CommitGroup, GroupLimits
from py_service.journal.keeper import close_dead_logs, live_logs
from py_service.journal.log import SETTLED_LANE, Log
from py_service.mail.mailer import make_mailer
from py_service.mail.outbox import FORGOTTEN_AT_ONCE_MAX, Outbox
from py_service.mail.postman import Postman, WriteMail
from py_service.mail.quiet import FORGOTTEN_AT_ONCE_MAX as COUNTS_AT_ONCE_MAX
from py_service.mail.quiet import delete_forgotten_counts
from py_service.passes import letters
from py_service.passes.letters import WritePassMail
from py_service.passes.link import LINKS_AT_ONCE_MAX, delete_forgotten
from py_service.passes.over import ENDED_AT_ONCE_MAX as PASSES_AT_ONCE_MAX
from py_service.passes.over import end_over_passes
from py_service.permissions.departure import end_departed
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import CHANGES_LANE, ChangeLane
from py_service.permissions.whereabouts import STALE_AT_ONCE_MAX, delete_stale
from py_service.settings import Settings, need
from py_service.stores.bus import BUS_ERRORS, Bus
from py_service.stores.cuts import KEPT_SECONDS, Cuts
from py_service.stores.indexes import make_indexes
from py_service.stores.lease import Lease
from py_service.stores.mongo import Document, Mongo, now_ms
from py_service.tasks import end_tasks
from py_service.telemetry import configure_logging
from py_service.unlock.closing import Closing
from py_service.unlock.late import LateReports
from py_service.unlock.owed import OwedGiveBacks
from py_service.unlock.states import SettleStates

IDLE_SECONDS = 0.05
BUSY_SECONDS = 0.005  # lets the unlocks' commits in between two batches
GATHER_SECONDS = 0.03  # while it keeps up: few large batches cost the store, and so the unlocks, less than many small ones
BEHIND_MS = 150
REGISTER_SECONDS = 1.0
AWAY_SECONDS = 0.5
IMPORTS_SECONDS = 0.25
SWEEP_SECONDS = 60.0
IMPORTED = {
    "persons": RowKind("person", PersonRow, create_person, {"groups": "group"}, by_name={"group_names": "groups"}),
    "groups": RowKind("group", GroupRow, create_group, {"includes": "group"}),
    "grants": RowKind(
        "grant", GrantRow, give_grant, {name: name for name in ("person", "group", "door", "area", "site", "schedule")},
        by_email={"person_email": "person"}, by_name={"group_name": "group"},
    ),
}  # fmt: skip

logger = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises SettingsError."""
    configure_logging(settings.log_level, settings.environment)
    worker = Worker(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await worker.start()
    work = (
        worker.project(), worker.take_reports(), worker.keep(), worker.sweep(), worker.end_what_is_over(), worker.group.run(),
        worker.settled.run(), worker.follower.listen(), worker.changes.run(), worker.run_imports(), worker.cuts.run(), worker.postman.run(),
    )  # fmt: skip
    jobs = [asyncio.create_task(job) for job in work]
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *jobs], return_when=asyncio.FIRST_COMPLETED)
    await end_tasks(jobs)
    await worker.close()
    for task in done - {stopped}:
        task.result()  # a job never ends by itself: say why it did


class Worker:
    """One at a time does the work; another waits for its lease."""

    group: CommitGroup
    settled: CommitGroup
    changes: ChangeLane

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.name = f"worker-{os.getpid()}-{secrets.token_hex(4)}"
        self.mongo = Mongo(need(settings.mongo_url, "NEXKEY_MONGO_URL"), settings.mongo_database, settings.store_timeout_ms)
        self.bus = Bus(need(settings.redis_url, "NEXKEY_REDIS_URL"), settings.bus_timeout_ms)
        self.follower = PermissionFollower(self.mongo, self.bus)
        self.cuts = Cuts(self.bus)
        self.lease = Lease(self.mongo, "worker", self.name)
        self.projection = Projection(self.mongo, self.bus, self.lease)
        self.identity = IdentityStore(self.mongo)
        self.sessions = SessionStore(self.mongo.database)
        self.tokens, self.outbox = MailedTokens(self.mongo.database), Outbox(self.mongo.database)
        writers: dict[str, WriteMail] = {
            invitations.LETTER: WriteInvitationMail(self.mongo, self.tokens, settings.public_url),
            reset_password.LETTER: WriteResetMail(self.identity, self.tokens, settings.public_url, now_ms),
        }
        writers[letters.LETTER] = WritePassMail(self.mongo, settings.public_url)
        self.postman = Postman(self.outbox, make_mailer(settings), writers, lambda: self._leading, now_ms)
        self._logs: list[Document] = []
        self._leading = False
        self._recalled = False

    async def start(self) -> None:
        """Connect, load, begin a log for what the worker itself concludes."""
        await self.mongo.refuse_unfit_server()
        await make_indexes(self.mongo.database)
        await self.follower.start()
        self._log = await Log.birth(self.mongo, "worker", self.name)
        limits = GroupLimits(self._settings.group_events_max, self._settings.group_bytes_max, self._settings.queue_members_max)
        self.group = CommitGroup(self.mongo, self._log, self.follower, limits, self._give_up)
        self._settled_log = await Log.birth(self.mongo, SETTLED_LANE, self.name)
        self.settled = CommitGroup(self.mongo, self._settled_log, self.follower, limits, self._give_up, step=SettleStates(self.mongo))
        self.reports = LateReports(self.mongo, self.bus, self.follower.index, self.group.submit, self.settled.submit, self.follower.current)
        self.closing = Closing(self.mongo, self.group.submit)
        self.owed = OwedGiveBacks(self.mongo, self.settled.submit)
        self.changes = ChangeLane(self.mongo, await Log.birth(self.mongo, CHANGES_LANE, self.name), self.follower, self.bus, self._give_up)
        self.imports = ImportRunner(self.mongo, self.changes, IMPORTED, lambda: self._leading, check_goes_on)
        logger.info("worker_started", process=self.name)

    async def project(self) -> None:
        """The journal into `events`; when it is read to its end, attempts without an outcome are closed, and what is owed is given back."""
        while True:
            try:
                began_ms = now_ms()
                if self._leading and not self._recalled:
                    await self._recall()
                events = await self.projection.step(self._logs) if self._leading else None
                for event in events or []:
                    self._cut_connections(event)
                if events == []:
                    await self.closing.step(began_ms)
                    await self.owed.step(began_ms)
                await asyncio.sleep(self._pause_seconds(bool(events)))
            except (PyMongoError, StoreUnavailable, NothingWritten) as error:
                logger.warning("projection_waits", error=type(error).__name__)
                self.projection.forget()
                await asyncio.sleep(AWAY_SECONDS)

    def _pause_seconds(self, projected: bool) -> float:
        if not projected:
            return IDLE_SECONDS
        return BUSY_SECONDS if self.projection.lag_ms > BEHIND_MS else GATHER_SECONDS

    async def take_reports(self) -> None:
        """What locks say again, or of themselves."""
        while True:
            try:
                taken = await self.reports.step() if self._leading else 0
                await asyncio.sleep(BUSY_SECONDS if taken else IDLE_SECONDS)
            except (*BUS_ERRORS, PyMongoError) as error:
                logger.warning("reports_wait", error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)

    async def run_imports(self) -> None:
        """Batch after batch of what was started; what it can't go on with now it takes up again."""
        while True:
            try:
                await asyncio.sleep(0 if await self.imports.step() else IMPORTS_SECONDS)
            except (Problem, PyMongoError) as error:
                logger.warning("imports_wait", error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)

    async def keep(self) -> None:
        """The lease, the register of logs, and our own log's heartbeat."""
        while True:
            try:
                was_leading, self._leading = self._leading, self.lease.fresh or await self.lease.take()
                if self._leading and not was_leading:
                    self.projection.forget()
                    self._recalled = False
                    logger.info("worker_leads", process=self.name)
                await self._log.beat()
                await self._settled_log.beat()
                await self.changes.log.beat()
                if self._leading:
                    self._logs = await live_logs(self.mongo)
                    await close_dead_logs(self.mongo, self._logs)
                await asyncio.sleep(REGISTER_SECONDS)
            except PyMongoError as error:
                logger.warning("keeper_waits", error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)

    async def sweep(self) -> None:
        """Sessions, refresh tokens, records of idempotency keys and whereabouts that are over, every minute."""
        while True:
            pause_seconds = await self.sweep_once()
            await asyncio.sleep(pause_seconds)

    async def sweep_once(self) -> float:
        """One small batch of each kind, so that no unlock waits for it; seconds until the next, which is soon when there is more."""
        if not self._leading:
            return SWEEP_SECONDS
        at_ms = now_ms()
        try:
            swept = {
                "refresh_tokens": (await self.identity.delete_expired(at_ms), TOKENS_AT_ONCE_MAX),
                "sessions": (await self.sessions.delete_expired(at_ms), SWEPT_AT_ONCE_MAX),
                "ended_sessions": (await self.sessions.delete_forgotten(at_ms), SWEPT_AT_ONCE_MAX),
                "mailed_tokens": (await self.tokens.delete_expired(at_ms), TOKENS_SWEPT_AT_ONCE_MAX),
                "letters": (await self.outbox.delete_forgotten(at_ms), FORGOTTEN_AT_ONCE_MAX),
                "letter_counts": (await delete_forgotten_counts(self.mongo.database, at_ms), COUNTS_AT_ONCE_MAX),
                "idempotency_keys": (await delete_expired(self.mongo.database, at_ms), EXPIRED_AT_ONCE_MAX),
                "pass_links": (await delete_forgotten(self.mongo.database, at_ms), LINKS_AT_ONCE_MAX),
                "stale_states": (await delete_stale(self.mongo, at_ms), STALE_AT_ONCE_MAX),
                "imports": (await delete_expired_imports(self.mongo, at_ms), IMPORTS_AT_ONCE_MAX),
            }
        except Problem as problem:
            logger.warning("sweep_waits", error=problem.code)
            return SWEEP_SECONDS
        if any(count for count, _ in swept.values()):
            logger.info("swept", **{what: count for what, (count, _) in swept.items()})
        return AWAY_SECONDS if any(count == at_once_max for count, at_once_max in swept.values()) else SWEEP_SECONDS

    async def end_what_is_over(self) -> None:
        """Passes that were over a day ago, and what people left behind who were deleted, every minute: changes, where a sweep deletes."""
        while True:
            pause_seconds = await self.end_once()
            await asyncio.sleep(pause_seconds)

    async def end_once(self) -> float:
        """Some of both, in small changes; seconds until the next, which is soon when there is more."""
        if not self._leading:
            return SWEEP_SECONDS
        at_ms = now_ms()
        try:
            departed = await end_departed(self.mongo, self.changes, at_ms)
            passes = await end_over_passes(self.mongo, self.changes, at_ms)
        except Problem as problem:
            logger.warning("endings_wait", error=problem.code)
            return SWEEP_SECONDS
        if departed or passes:
            logger.info("ended", departed=departed, passes=passes)
        return AWAY_SECONDS if departed or passes == PASSES_AT_ONCE_MAX else SWEEP_SECONDS

    async def _recall(self) -> None:
        """A worker before this one may have died with words that it owed: what is projected is never read again for them."""
        for event in await self.projection.recall(CHANGES_LANE, now_ms() - int(KEPT_SECONDS * 1_000)):
            self._cut_connections(event)
        self._recalled = True

    def _cut_connections(self, event: Document) -> None:
        """Again, for a process that died after a suspension and before it told the gateways, or that Redis didn't hear."""
        if (cut := cut_of(event)) is not None:
            self.cuts.owe(*cut)

    def _give_up(self) -> None:
        logger.error("worker_gives_up", process=self.name)
        os.kill(os.getpid(), signal.SIGKILL)

    async def close(self) -> None:
        await self.bus.close()
        await self.mongo.close()
