"""One attempt to open a door: decided, joined to a commit group, commanded, answered.

INVARIANT: an attempt whose requester has an answer (`answered`) is never committed afterwards, so a 503 never opens a door.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from py_service._core_rs import Claims, Decision, DoorRecord, PermissionIndex, Settlement
from py_service.errors import Problem, not_standing
from py_service.journal.event import Event, command_expires_at_ms, make_event
from py_service.journal.member import Member
from py_service.stores.mongo import Document
from py_service.unlock.give_back import GiveBack, give_back_soon
from py_service.unlock.messages import REFUSED, UNLOCKED, UNLOCKED_FAILED, State


@dataclass(slots=True)
class Outcome:
    """How an attempt stands. `state` as in docs/protocols/http.md."""

    state: State
    reason: str | None = None

    @property
    def final(self) -> bool:
        return self.state in (UNLOCKED, UNLOCKED_FAILED, REFUSED)


@dataclass(slots=True, frozen=True)
class Commit:
    """Where and when the decision was recorded: `at_ms` is the group's T."""

    identifier: str
    at_ms: int
    committed_ns: int


@dataclass(slots=True, frozen=True)
class Ruling:
    """What the decision is: that of memory, or what the store made of it. `taken`: JSON of what the grant took (documents.md)."""

    allowed: bool
    reason: str
    rule: str | None
    revision: int
    taken: bytes | None = None


PinIsRight = Callable[[str, str, str], bool]
"""`(organization, person, PIN)`"""
MarkOfPin = Callable[[str, str, str, str], str]
"""`(organization, person, PIN, Idempotency-Key)`: what a repeat is held against; 43 characters."""
_MARK_CHARACTERS = 43


@dataclass(slots=True, frozen=True)
class Lanes:
    """Where attempts go: `settle` is for those that need more than memory knows."""

    plain: Callable[[Member], None]
    settle: Callable[[Member], None]
    pin_is_right: PinIsRight
    mark_of_pin: MarkOfPin


class Replay(Exception):
    """The idempotency key is in the journal already: this event answers the request.

    `asked_with_pin`: either of the two was asked with a PIN; `same_pin`: and both with the same.
    """

    def __init__(self, event: Event, identifier: str, *, asked_with_pin: bool = False, same_pin: bool = True) -> None:
        super().__init__("replay")
        self.event = event
        self.identifier = identifier
        self.asked_with_pin = asked_with_pin
        self.same_pin = same_pin


class Attempt:
    """A member of the commit group (journal/member.py says what each name means)."""

    fenced = True
    key_is_clients = True

    def __init__(
        self,
        index: PermissionIndex,
        claims: Claims,
        door: str,
        *,
        wait_seconds: int,
        idempotency_key: str | None,
        pin: str | None,
        lanes: Lanes,
        on_committed: Callable[[Attempt], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._index = index
        self._claims = claims
        self._on_committed = on_committed
        self._lanes = lanes
        self._pin = pin
        self._ruling: Ruling | None = None
        self._joined: Callable[[Member], None] | None = None
        self._settled_at_ms = 0
        self.organization = claims.organization
        self.person = claims.subject
        self.door = door
        self.wait_seconds = wait_seconds
        self.idempotency_key = idempotency_key
        self.key = None if idempotency_key is None else f"request:{self.organization}:{self.person}:{idempotency_key}"
        # Beside the key and not in the event: whoever reads events has no use for it.
        self.body_mark = None if pin is None or idempotency_key is None else self._mark_prefix + self._mark(pin, idempotency_key)
        self.waiting_since = time.monotonic()
        self.judged_at_ms = 0
        self.judged_revision = -1
        self.decision: Decision | None = None
        self.lock: str | None = None
        self.sites: list[str] | None = None  # where the door is, by the permissions that decided
        self.commit: Commit | None = None
        self.signed = False  # from here on a command may be out
        self.decided: asyncio.Future[None] = loop.create_future()
        self.commanded: asyncio.Future[Outcome] = loop.create_future()
        self.outcome: asyncio.Future[Outcome] = loop.create_future()

    @property
    def answered(self) -> bool:
        return self.decided.done()

    @property
    def allowed(self) -> bool:
        """Never before what needs the store is settled with it."""
        return self._ruling is not None and self._ruling.allowed

    @property
    def expires_at_ms(self) -> int:
        """Latest moment of the command: T + 5 s, or T + the wait that was asked for."""
        return command_expires_at_ms(self.recorded.at_ms, self.wait_seconds)

    @property
    def recorded(self) -> Commit:
        """Where the decision stands in the journal. Only asked after the commit."""
        if self.commit is None:
            raise RuntimeError("not committed")
        return self.commit

    @property
    def ruling(self) -> Ruling:
        """The latest decision. Only asked once it was judged, and settled if that was needed."""
        if self._ruling is None:
            raise RuntimeError("not judged")
        return self._ruling

    @property
    def door_is_unknown(self) -> bool:
        return self.decision is not None and self.decision.reason == "door_unknown"

    def join(self) -> None:
        """Into the lane that the decision needs. Raises Problem 503."""
        stateful = self.decision is not None and self.decision.stateful
        self._joined = self._lanes.settle if stateful else self._lanes.plain
        self._joined(self)

    def settle(self, records: bytes, at_ms: int) -> Settlement:
        """With what the store knows. Raises CoreError."""
        decision = self.decision
        if decision is None:
            raise RuntimeError("not judged")
        self._settled_at_ms = at_ms
        right = None if self._pin is None else self._lanes.pin_is_right(self.organization, self.person, self._pin)
        issued_at_ms, session = self._claims.issued_at_ms, self._claims.session
        return self._index.settle(self.organization, self.person, self.door, decision, right, at_ms, records, issued_at_ms, session)

    def adopt(self, settlement: Settlement) -> None:
        """What the store made of the decision."""
        revision = self.judged_revision
        self._ruling = Ruling(settlement.allowed, settlement.reason, settlement.rule, revision, settlement.taken)

    def _moves(self) -> bool:
        """The permissions changed under it, and now it needs the other lane: it leaves this one."""
        if self._joined is not self._lanes.plain:
            return False
        try:
            self.join()
        except Problem as problem:
            self.failed(problem)
        return True

    def judge(self, now_ms: int) -> bool:
        """Authenticate and decide as of `now_ms`. False: answered with a 401."""
        claims = self._claims
        if now_ms >= claims.expires_at_ms:
            self.failed(Problem(401, "token_expired", "The access token has expired."))
            return False
        standing, decision, door, lock = self._asked(now_ms)
        # `stores_unavailable` means that the organization isn't loaded here yet: the fence sees to that.
        if standing in ("organization_suspended", "person_suspended", "stores_unavailable"):
            standing = None  # said by the decision itself, which is recorded
        if standing is not None:
            self.failed(not_standing(standing))
            return False
        self.decision = decision
        self.judged_at_ms = now_ms
        self.judged_revision = decision.revision
        self._ruling = None if decision.stateful else Ruling(decision.allowed, decision.reason, decision.rule, decision.revision)
        self.sites = None if door is None else [door.site]
        self.lock = lock
        return not (decision.stateful and self._moves())

    def _asked(self, now_ms: int) -> tuple[str | None, Decision, DoorRecord | None, str | None]:
        """Why the token doesn't stand, the decision, the door, and the device that is to move it.

        INVARIANT: all of one revision, which is the decision's: the fence holds that against the store. A load, and a change that takes
        long, is put in by another thread, also between two of these questions; then all of them are asked again.
        """
        index, organization, claims = self._index, self.organization, self._claims
        while True:
            revision = index.revision(organization)
            standing = index.authenticate(organization, self.person, claims.issued_at_ms, claims.session)
            decision = index.check(organization, self.person, self.door, now_ms)
            door = index.door(organization, self.door)
            lock = door.lock if door is not None and (decision.allowed or decision.stateful) else None
            device = None if lock is None else index.device(organization, lock)
            if index.revision(organization) == revision:
                break
        # Switched off, or another door's by now: there is nothing to command.
        moved_by = device.id if device is not None and device.active and device.door == self.door else None
        return standing, decision, door, moved_by

    def event(self, at_ms: int, identifier: str) -> Event:
        decision = self.ruling
        taken: Document | None = None if decision.taken is None else msgspec.json.decode(decision.taken)
        return make_event(
            "authorized" if decision.allowed else REFUSED,
            self.organization,
            at_ms,
            attempt=identifier,
            door=self.door,
            person=self.person,
            lock=self.lock,
            sites=self.sites,
            reason=None if decision.allowed else decision.reason,
            rule=decision.rule,
            revision=decision.revision,
            taken=taken,
            passed_back=None if taken is None else _passed_back(self.person, taken),
            key=self.idempotency_key,
            wait=self.wait_seconds or None,
        )

    def committed(self, at_ms: int, identifier: str) -> None:
        self.commit = Commit(identifier, at_ms, time.perf_counter_ns())
        if not self.decided.done():
            self.decided.set_result(None)
        self._on_committed(self)

    def late(self, identifier: str) -> Event | None:
        if not self.allowed:
            return None
        self._give_back(identifier)
        return make_event(
            "not_commanded", self.organization, 0, attempt=identifier, door=self.door, person=self.person, sites=self.sites,
            reason="stores_unavailable",
        )  # fmt: skip

    def duplicate(self, journal_document: Document) -> None:
        for index, event in enumerate(journal_document["events"]):
            if event.get("key") == self.idempotency_key and event.get("person") == self.person and event["org"] == self.organization:
                if not self.decided.done():
                    self.decided.set_exception(self._replay(event, f"{journal_document['_id']}:{index:03d}", journal_document["keys"]))
                return
        self.failed(Problem(409, "conflict", "The Idempotency-Key could not be read back."))

    def _replay(self, event: Event, identifier: str, keys: list[str]) -> Replay:
        prefix = self._mark_prefix
        first = next((key for key in keys if key.startswith(prefix) and len(key) == len(prefix) + _MARK_CHARACTERS), None)
        same = hmac.compare_digest(first or "", self.body_mark or "")
        return Replay(event, identifier, asked_with_pin=bool(first or self.body_mark), same_pin=same)

    @property
    def _mark_prefix(self) -> str:
        return f"pin:{self.key}:"

    def _mark(self, pin: str, idempotency_key: str) -> str:
        return self._lanes.mark_of_pin(self.organization, self.person, pin, idempotency_key)

    def failed(self, problem: Problem) -> None:
        if not self.decided.done():
            self.decided.set_exception(problem)

    def command_known(self, outcome: Outcome) -> None:
        """The command went out (`commanded`), couldn't (`unlocked.failed`), or nobody knows (`unconfirmed`)."""
        if not self.commanded.done():
            self.commanded.set_result(outcome)
        if outcome.final:
            self.settled(outcome)

    def settled(self, outcome: Outcome, shut: bool = True) -> None:
        """The lock has spoken, or no command ever went out. `shut`: it is certain that nothing moved, so what was taken goes back."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)
            if outcome.state == UNLOCKED_FAILED and shut:
                self._give_back(self.recorded.identifier)

    def _give_back(self, identifier: str) -> None:
        taken = self.ruling.taken
        if taken is not None:
            of = (self.organization, identifier, self.person, self.door, self.sites, self._settled_at_ms, taken)
            give_back_soon(self._lanes.settle, lambda on_end: GiveBack(*of, on_end))


def _passed_back(person: str, taken: Document) -> Document | None:
    """Who was let into an area though they were inside it already (soft anti-passback), which somebody has to look at; None: nobody."""
    first = taken.get("first_moved", {})
    persons = [name for name, moved in ((person, taken), (taken.get("first_person"), first)) if "passed_back" in moved]
    return {"area": taken.get("passed_back", first.get("passed_back")), "persons": persons} if persons else None
