"""The composition root of an api process: everything is made here, and passed to whoever needs it.

Granian imports `application` in each worker; nothing connects before the worker's loop runs `compose`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Coroutine
from functools import partial

import structlog
from pymongo.errors import PyMongoError

from py_service._core_rs import KeyRing, PermissionIndex
from py_service.access.handlers import AccessHandlers
from py_service.access.occupancy import AreaOccupancy
from py_service.access.plan_handlers import LockdownPlanHandlers
from py_service.access.preview import AccessPreview
from py_service.access.questions import AccessQuestions
from py_service.access.read import ListGrants, ReadGrant
from py_service.devices.assertion import DeviceProof
from py_service.devices.configuration import Configurations
from py_service.devices.handlers import DeviceHandlers
from py_service.devices.hold import HoldLeases
from py_service.devices.time import LockTime
from py_service.devices.token import DeviceTokens
from py_service.directory.create import plan_new_person
from py_service.directory.handlers import DirectoryHandlers
from py_service.directory.operator_handlers import OperatorHandlers
from py_service.directory.organization_handlers import OrganizationHandlers
from py_service.directory.roles import with_roles
from py_service.edge.documentation import Documentation
from py_service.edge.health import HealthHandlers
from py_service.edge.identity import Authenticator
from py_service.edge.limits import Limits
from py_service.edge.server import Composition, EdgeApplication
from py_service.errors import Problem, SettingsError
from py_service.events.handlers import EventHandlers
from py_service.events.list import ListEvents
from py_service.exchange import Route
from py_service.idempotency.once import CarryOutOnce
from py_service.idempotency.store import IdempotencyStore
from py_service.identity.accounts import move_account
from py_service.identity.api_key_handlers import ApiKeyHandlers
from py_service.identity.api_key_uses import KeyUses
from py_service.identity.end_sessions import EndShownSession
from py_service.identity.handlers import IdentityHandlers
from py_service.identity.invitation_handlers import InvitationHandlers
from py_service.identity.invitations import invite_person
from py_service.identity.keys import KeyStore
from py_service.identity.mailed_tokens import MailedTokens
from py_service.identity.me import Myself
from py_service.identity.password_handlers import PasswordHandlers
from py_service.identity.password_page import page_routes
from py_service.identity.passwords import Passwords
from py_service.identity.realtime_token import RealtimeTokens
from py_service.identity.refresh import Refresh
from py_service.identity.session_handlers import SessionHandlers
from py_service.identity.sessions import SessionStore
from py_service.identity.sign_in import SignIn
from py_service.identity.sign_in_known import SignInKnown
from py_service.identity.sign_out import SignOut
from py_service.identity.store import IdentityStore
from py_service.identity.tokens import TokenIssuer
from py_service.imports.handlers import ImportHandlers
from py_service.journal.event import Event
from py_service.journal.group import CommitGroup, GroupLimits
from py_service.journal.log import SETTLED_LANE, Log
from py_service.journal.member import Note
from py_service.mail.outbox import Outbox
from py_service.passes.handlers import PassHandlers
from py_service.passes.read import ReadPasses
from py_service.permissions.change import Actor, Submitter
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import CHANGES_LANE, ChangeLane
from py_service.permissions.pin import Pins
from py_service.permissions.standing import door_of_lock
from py_service.permissions.trial import CapturingLane, TryChanges
from py_service.readiness import Readiness
from py_service.settings import Settings, need, read_settings
from py_service.stores.bus import Bus
from py_service.stores.indexes import make_indexes
from py_service.stores.mongo import Mongo, now_ms
from py_service.tasks import end_tasks
from py_service.telemetry import RequestMetrics, configure_logging
from py_service.unlock.announcer import Announcer
from py_service.unlock.attempt import Lanes
from py_service.unlock.desk import Desk
from py_service.unlock.handlers import UnlockHandlers
from py_service.unlock.hold import Holds
from py_service.unlock.listener import ReplyListener
from py_service.unlock.metrics import UnlockMetrics
from py_service.unlock.recall import RecallAttempt
from py_service.unlock.request import RequestUnlock
from py_service.unlock.states import SettleStates

BEAT_SECONDS = 5.0
SWEEP_SECONDS = 1.0
AWAY_SECONDS = 0.5

logger = structlog.get_logger(__name__)


def make_application(settings: Settings | None = None) -> EdgeApplication:
    """What Granian serves. Settings are read from the environment unless given. Raises SettingsError."""

    async def compose() -> Composition:
        chosen = settings or read_settings()
        configure_logging(chosen.log_level, chosen.environment)
        while True:
            process = Process(chosen)
            try:
                return await process.start()
            except PyMongoError as error:
                # To end here would end the other workers too, once it has happened twice in a row.
                logger.warning("api_waits", process=process.name, error=type(error).__name__)
                await process.close()
                await asyncio.sleep(AWAY_SECONDS)

    return EdgeApplication(compose)


class Process:
    """One api process: its connections, its three lanes, its background tasks."""

    def __init__(self, settings: Settings) -> None:
        if settings.master_key is None:
            raise SettingsError("NEXKEY_MASTER_KEY: is needed by the api; 32 bytes in base64")
        self._settings = settings
        self._master_key = settings.master_key
        self.name = f"api-{os.getpid()}-{secrets.token_hex(4)}"
        self.mongo = Mongo(need(settings.mongo_url, "NEXKEY_MONGO_URL"), settings.mongo_database, settings.store_timeout_ms)
        self.bus = Bus(need(settings.redis_url, "NEXKEY_REDIS_URL"), settings.bus_timeout_ms)
        self.ring = self._make_ring()
        self.keys = KeyStore(self.mongo.database, self.ring, self._make_ring, now_ms)
        self.follower = PermissionFollower(self.mongo, self.bus, self.keys.command_key)
        self.metrics = RequestMetrics(self.name)
        self.key_uses = KeyUses(self.mongo.database, now_ms)
        self._passwords = Passwords()
        self.pins = Pins(settings.master_key.reveal())
        self._tasks: list[asyncio.Task[None]] = []

    def _make_ring(self) -> KeyRing:
        return KeyRing(self._master_key.reveal())

    async def start(self) -> Composition:
        """Connect, load, begin the logs, and name the routes."""
        await self.mongo.refuse_unfit_server()
        await make_indexes(self.mongo.database)
        await self.keys.start()
        await self.follower.start()
        for organization in self.follower.organizations():
            await self.keys.command_key(organization)
        routes = await self.routes()
        self._spawn(self.follower.listen)
        self._spawn(self.keys.keep_current)
        logger.info("api_started", process=self.name)
        self._spawn(self.key_uses.run)
        fence = self._settings.edge_fence
        authenticator = Authenticator(self.ring, self.follower, self.keys.reload_for_unknown_key, self.key_uses, fence=fence)
        once = CarryOutOnce(IdempotencyStore(self.mongo, self.ring, self.name))
        return Composition(routes, authenticator, self.metrics, self.close, once, self._limits())

    async def routes(self) -> list[Route]:
        """Everything that is served, with the document of it."""
        return Documentation([*await self._rooms(), *self._health()]).routes

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            requests_concurrent_max=settings.requests_concurrent_max,
            unlocks_per_minute_max=settings.unlocks_per_minute_max,
            requests_per_minute_max=settings.requests_per_minute_max,
            open_requests_per_minute_max=settings.open_requests_per_minute_max,
            sign_ins_per_minute_max=settings.sign_ins_per_minute_max,
            trusted_proxies=settings.trusted_proxies,
            forwarded_header=settings.forwarded_header,
        )

    async def _rooms(self) -> list[Route]:
        changes = ChangeLane(self.mongo, await Log.birth(self.mongo, CHANGES_LANE, self.name), self.follower, self.bus, self.give_up)
        self._spawn(changes.run)
        unlock, logs, holds = await self._unlock()
        self._spawn(lambda: self._beat([changes.log, *logs]))
        events = EventHandlers(self.follower.index, ListEvents(self.mongo))

        def index() -> PermissionIndex:
            return self.follower.index

        access = AccessHandlers(changes, ReadGrant(self.mongo, index), ListGrants(self.mongo, index))
        lockdown_plans = LockdownPlanHandlers(changes, self.follower.index, self.mongo)
        questions = AccessQuestions(self.follower.index, self.mongo)
        directory = DirectoryHandlers(changes, self.follower.index, self.mongo, self.pins, move_account)
        organization = OrganizationHandlers(changes, self.follower.index, self.mongo)
        imports = ImportHandlers(changes, self.follower.index, self.mongo)
        identity = self._identity(changes)
        return [
            *unlock.routes(),
            *access.routes(),
            *lockdown_plans.routes(),
            *questions.routes(),
            *self._preview().routes(),
            *AreaOccupancy(changes, self.follower.index, self.mongo).routes(),
            *directory.routes(),
            *organization.routes(),
            *self._operator(changes).routes(),
            *imports.routes(),
            *events.routes(),
            *identity,
            *self._passes(changes).routes(),
            *self._devices(holds).routes(),
        ]

    def _operator(self, changes: ChangeLane) -> OperatorHandlers:
        operator = self._settings.operator_organization
        return OperatorHandlers(operator, changes, self.follower, self.mongo, self.keys.command_key, invite_person)

    def _passes(self, changes: Submitter) -> PassHandlers:
        guests = SignInKnown(IdentityStore(self.mongo), TokenIssuer(self.ring, self.follower, now_ms))
        return PassHandlers(changes, ReadPasses(self.mongo, lambda: self.follower.index), guests, self._settings.public_url)

    def _preview(self) -> AccessPreview:
        """With the handlers of the changes themselves, on a lane that carries nothing out."""
        index, lane = self.follower.index, CapturingLane()
        access = AccessHandlers(lane, ReadGrant(self.mongo, lambda: index), ListGrants(self.mongo, lambda: index))
        directory = DirectoryHandlers(lane, index, self.mongo, self.pins, move_account).routes()
        proposed = [
            *access.routes(),
            *LockdownPlanHandlers(lane, index, self.mongo).routes(),
            *(route for route in directory if not route.pattern.endswith("/pin")),  # no decision hangs on which PIN it is
            # One that is given lets nobody in before it is accepted, and that is its receiver's to do.
            *(route for route in self._passes(lane).routes() if route.method in ("PATCH", "DELETE")),
        ]
        return AccessPreview(index, TryChanges(self.mongo, index), proposed)

    async def _unlock(self) -> tuple[UnlockHandlers, list[Log], Holds]:
        settings = self._settings
        log, settled_log = await Log.birth(self.mongo, "unlocks", self.name), await Log.birth(self.mongo, SETTLED_LANE, self.name)
        limits = GroupLimits(settings.group_events_max, settings.group_bytes_max, settings.queue_members_max)
        group = CommitGroup(self.mongo, log, self.follower, limits, self.give_up, fence=settings.fence)
        settled = CommitGroup(
            self.mongo, settled_log, self.follower, limits, self.give_up, fence=settings.fence, step=SettleStates(self.mongo)
        )

        def owe(event: Event) -> None:
            with contextlib.suppress(Problem):  # the queue is full: the worker closes the attempt
                group.submit(Note(event))

        announcer = Announcer(self.bus, self.ring, self.name, owe)
        desk = Desk()
        listener = ReplyListener(self.bus, self.name, self.follower.index, desk, announcer, group.submit)
        for task in (group.run, settled.run, announcer.run, listener.run, lambda: self._sweep(desk)):
            self._spawn(task)
        self.metrics.registry.register(UnlockMetrics(self.name, {"unlocks": group.figures, "settled": settled.figures}, desk))
        lanes = Lanes(group.submit, settled.submit, partial(self.pins.is_right, self.follower.index), self.pins.mark)
        request = RequestUnlock(self.follower.index, lanes, self.follower.current, announcer, desk)
        recall = RecallAttempt(self.mongo, self.follower.index, desk)
        return UnlockHandlers(request, recall), [log, settled_log], Holds(self.mongo, self.follower.index, group.submit)

    def _identity(self, changes: ChangeLane) -> list[Route]:
        async def end_session(organization: str, person: str, session: str, because: str) -> None:
            await changes.submit(organization, Actor(organization, person, now_ms(), session), EndShownSession(session, because))

        store, sessions = IdentityStore(self.mongo), SessionStore(self.mongo.database)
        issuer, tokens = TokenIssuer(self.ring, self.follower, now_ms), MailedTokens(self.mongo.database)
        sign_in = SignIn(store, self._passwords, issuer)
        identity = IdentityHandlers(
            sign_in=sign_in,
            refresh=Refresh(store, sessions, issuer, end_session, now_ms),
            sign_out=SignOut(store, sessions, end_session),
            realtime_tokens=RealtimeTokens(self.ring, self.follower, now_ms),
            myself=Myself(store, self.follower, now_ms),
            jwks=self.ring.jwks,
        )
        return [
            *identity.routes(),
            *SessionHandlers(changes, self.follower.index, self.mongo, sessions).routes(),
            *ApiKeyHandlers(changes, self.follower.index, self.mongo, self.key_uses).routes(),
            *PasswordHandlers(changes, store, self._passwords, tokens, Outbox(self.mongo.database), now_ms).routes(),
            *page_routes(),
            *InvitationHandlers(
                changes, self.follower.index, self.mongo, tokens, self._passwords, sign_in, plan_new_person, with_roles
            ).routes(),
        ]

    def _devices(self, holds: Holds) -> DeviceHandlers:
        return DeviceHandlers(
            proof=DeviceProof(self.follower, now_ms, fence=self._settings.edge_fence),
            tokens=DeviceTokens(self.ring, now_ms),
            time=LockTime(self.ring, self.keys.command_key, now_ms),
            configurations=Configurations(self.ring, self.keys.command_key),
            holds=HoldLeases(holds, partial(door_of_lock, self.follower.index), self.ring, self.keys.command_key, now_ms),
        )

    def _health(self) -> list[Route]:
        return HealthHandlers(Readiness(self.mongo).missing, self.metrics).routes()

    def _spawn(self, job: Callable[[], Coroutine[object, object, None]]) -> None:
        self._tasks.append(asyncio.create_task(self._guarded(job)))

    async def _guarded(self, job: Callable[[], Coroutine[object, object, None]]) -> None:
        """A background task that breaks would leave a process that looks alive: it stops, and is started again."""
        try:
            await job()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("task_broken", task=getattr(job, "__qualname__", "task"))
            self.give_up()

    async def _beat(self, logs: list[Log]) -> None:
        while True:
            for log in logs:
                try:
                    await log.beat()
                except Exception as error:  # noqa: BLE001 - a store that is away is no reason to stop
                    logger.warning("beat_failed", error=type(error).__name__)
            await asyncio.sleep(BEAT_SECONDS)

    async def _sweep(self, desk: Desk) -> None:
        while True:
            desk.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    def give_up(self) -> None:
        """This process was declared dead, or is broken: leave, and let the parent start another."""
        logger.error("api_gives_up", process=self.name)
        os.kill(os.getpid(), signal.SIGKILL)

    async def close(self) -> None:
        """Undo `start`."""
        await end_tasks(self._tasks)
        self._passwords.close()
        await self.bus.close()
        await self.mongo.close()


application = make_application()
