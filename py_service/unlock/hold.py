"""A hold begins: that a door stands open by its mode is recorded behind the fence before the first lease of it is signed.

The leases that follow are signed by permissions that are current, and carry the id of this event; they aren't events of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, stores_unavailable
from py_service.journal.event import Event, make_event, parse_event_id
from py_service.journal.member import Member
from py_service.permissions.standing import DoorOfLock, door_of_lock
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors
from py_service.unlock.messages import HOLD_AUTHORIZED
from py_service.unlock.store import read_event

KNOWN_MAX = 20_000
DECIDE_SECONDS_MAX = 3.0


class Begun(NamedTuple):
    """A hold that is in the journal: its id, the T of its group, and the door that it is of."""

    hold: str
    at_ms: int
    door: str


class HoldMember:
    """A member of the commit group (journal/member.py says what each name means)."""

    fenced = True
    key_is_clients = False
    key: str | None = None
    body_mark: str | None = None

    def __init__(self, index: PermissionIndex, organization: str, lock: str) -> None:
        self._index = index
        self._held: DoorOfLock | None = None
        self.organization = organization
        self.lock = lock
        self.waiting_since = time.monotonic()
        self.judged_at_ms = 0
        self.judged_revision = -1
        self.begun: asyncio.Future[Begun | None] = asyncio.get_running_loop().create_future()

    @property
    def answered(self) -> bool:
        return self.begun.done()

    def judge(self, now_ms: int) -> bool:
        """False: the door doesn't stand open, and nothing is recorded of that."""
        held = door_of_lock(self._index, self.organization, self.lock, now_ms)
        if held is None or held.open_by is None:
            self._answer(None)
            return False
        self._held = held
        self.judged_at_ms = now_ms
        self.judged_revision = held.revision
        return True

    def event(self, at_ms: int, identifier: str) -> Event:
        held = self._held
        if held is None:
            raise RuntimeError("not judged")
        return make_event(
            HOLD_AUTHORIZED, self.organization, at_ms, attempt=identifier, door=held.door, lock=self.lock, sites=[held.site],
            rule=held.open_by, revision=held.revision,
        )  # fmt: skip

    def committed(self, at_ms: int, identifier: str) -> None:
        self._answer(None if self._held is None else Begun(identifier, at_ms, self._held.door))

    def late(self, identifier: str) -> Event | None:
        """No lease is signed on it: the lock asks again."""
        self.failed(stores_unavailable())
        return None

    def duplicate(self, journal_document: Document) -> None:
        self.failed(stores_unavailable())

    def failed(self, problem: Problem) -> None:
        if not self.begun.done():
            self.begun.set_exception(problem)

    def _answer(self, begun: Begun | None) -> None:
        if not self.begun.done():
            self.begun.set_result(begun)


class Holds:
    """Holds that began, one per process: of which door and lock a hold is, is read once from the journal and then remembered."""

    def __init__(self, mongo: Mongo, index: PermissionIndex, submit: Callable[[Member], None]) -> None:
        self._mongo = mongo
        self._index = index
        self._submit = submit
        self._known: OrderedDict[str, tuple[str, str, str]] = OrderedDict()
        self._beginning: dict[tuple[str, str], asyncio.Task[Begun | None]] = {}

    async def begin(self, organization: str, lock: str) -> Begun | None:
        """None when the door doesn't stand open after all. Whoever asks while one begins gets that one. Raises Problem 503."""
        whose = (organization, lock)
        task = self._beginning.get(whose)
        if task is None:
            task = self._beginning[whose] = asyncio.create_task(self._begin(organization, lock))
            task.add_done_callback(lambda _: self._beginning.pop(whose))
        return await asyncio.shield(task)

    async def _begin(self, organization: str, lock: str) -> Begun | None:
        member = HoldMember(self._index, organization, lock)
        if member.judge(now_ms()):
            self._submit(member)
        try:
            begun = await asyncio.wait_for(member.begun, DECIDE_SECONDS_MAX)
        except TimeoutError:
            # wait_for has cancelled the future: the member counts as answered and never joins a group again.
            raise stores_unavailable() from None
        if begun is not None:
            self._remember(begun.hold, (organization, lock, begun.door))
        return begun

    async def is_of(self, organization: str, lock: str, door: str, hold: str) -> bool:
        """Whether this hold began, and is this lock's at this door. Raises Problem 503."""
        known = self._known.get(hold)
        if known is None:
            name = parse_event_id(hold)
            async with store_errors():
                event = None if name is None else await read_event(self._mongo, name)
            if event is None or event["kind"] != HOLD_AUTHORIZED:
                return False
            known = (str(event["org"]), str(event["lock"]), str(event["door"]))
            self._remember(hold, known)
        return known == (organization, lock, door)

    def _remember(self, hold: str, whose: tuple[str, str, str]) -> None:
        self._known[hold] = whose
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
