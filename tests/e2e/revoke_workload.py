"""The races: in every lane access is given, asked for, taken and asked for again, in one way after the other, and all of it is noted.

What doesn't live here: the ways (revoke_ways.py), the faults (nemesis.py), and what the history proves (history_checker.py).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from py_service._core_rs import DeviceKey
from py_service.errors import Problem
from py_service.organizations import set_organization_state
from tests.e2e.history import History, Kind, Operation, cell_of
from tests.e2e.revoke_ways import TOLD, Call, Way
from tests.e2e.revoke_world import Lane, filled
from tests.e2e.running import Service, random_key
from tests.e2e.wire import Client, Lost

ASKS_BEFORE, ASKS_AFTER = 3, 3  # for each take: those that race with it, and those that are asked when it has returned
CARRIED_OUT_SECONDS_MAX = 90.0  # a store keeps what a process held that was killed in a transaction (an account, say) for as long as 60 s
LANES_AT_ONCE = 8  # more of them wait for each other's changes more than they race
PROMISE_MS = 9_000  # what `effective_by` adds to the moment of the answer (decision 0004); a sign-out answers without a body
DONE = (200, 201, 204)
REFUSED = (401, 403, 404)  # with a code that the way names
NOT_KNOWN = (500, 502, 503, 504)
NOT_YET = "not yet"  # it certainly took nothing so far
TURN = (5**0.5 - 1) / 2  # of a circle: whichever lanes there are, they begin evenly spread over it


class Races:
    """One run. `faults` collects answers that no rule explains. `told_by`: what the owner asks every process after each give, so that it
    knows of it; None where the fences see to that.
    """

    def __init__(self, service: Service, told_by: Call | None = None) -> None:
        self.told_by = told_by
        self.service = service
        self.history = History()
        self.faults: list[str] = []
        self.takes: Counter[str] = Counter()
        self.taken_in: defaultdict[str, set[str]] = defaultdict(set)  # way -> organizations
        self.unlocks = 0  # that were answered
        self.rounds = itertools.count(1)
        self.turns = asyncio.Semaphore(LANES_AT_ONCE)
        self._left = 0
        self._goes_on: Callable[[], bool] = lambda: False
        self._clients: list[Client] = []

    async def run(self, lanes: Sequence[Lane], ways: Sequence[Way], takes: int, goes_on: Callable[[], bool] = lambda: False) -> None:
        """In all lanes at once, until that many takes were ok, and for as long as it goes on."""
        self._left, self._goes_on = takes, goes_on
        runners = [_Runner(self, lane, [self._client() for _ in range(1 + ASKS_BEFORE + ASKS_AFTER)]) for lane in lanes]
        try:
            await asyncio.gather(*(runner.run(ways) for runner in runners))
        finally:
            for client in self._clients:
                client.close()

    def begin_round(self) -> bool:
        self._left -= 1
        return self._left >= 0 or self._goes_on()

    def _client(self) -> Client:
        self._clients.append(Client(self.service.url))
        return self._clients[-1]


@dataclass(slots=True)
class _Round:
    """One give and one take."""

    way: Way
    cell: str
    names: dict[str, str]
    token: str = ""  # the token or key that the give told


class _Runner:
    """One lane. Its changes are made one after the other, by one client; asks are everybody else's."""

    def __init__(self, races: Races, lane: Lane, clients: list[Client]) -> None:
        self._races = races
        self._lane = lane
        self._changer, *self._askers = clients
        self._chance = random.Random(lane.number)
        # way -> what its last answers told
        self._told: defaultdict[str, dict[str, str]] = defaultdict(lambda: dict.fromkeys(("given", "taken", *TOLD), ""))
        self._take_seconds = 0.05  # what a take needs, on average

    async def run(self, ways: Sequence[Way]) -> None:
        """All of them in turn, begun elsewhere by every lane, so that a short run has each of them, too; then by chance."""
        own = [way for way in ways if self._lane.alone or not way.alone]
        first = int(self._lane.number * TURN * len(own)) % len(own)
        own = own[first:] + own[:first]
        while True:
            for way in own:
                if not self._races.begin_round():
                    return
                async with self._races.turns:
                    await self._race(self._begin(way))
            self._chance.shuffle(own)

    def _begin(self, way: Way) -> _Round:
        names = self._lane.names(way.name)
        if way.person is None:
            names["person"] += f"-{next(self._races.rounds)}"  # ids are not given out twice
            names["public_key"] = self._lane.public_key(names["person"])
        return _Round(way, cell_of(self._lane.organization, way.name, names["person"]), names)

    async def _race(self, now: _Round) -> None:
        if not now.way.shared:
            await self._change("give", now)
        first, *others = self._askers[:ASKS_BEFORE]
        before = [asyncio.create_task(self._ask(now, first))]
        if self._chance.random() < 0.3:
            await before[0]
        # The others are asked while the take is under way, most of them when it is about to take effect.
        before += [asyncio.create_task(self._ask(now, asker, self._chance.uniform(0.2, 1.1) * self._take_seconds)) for asker in others]
        began = time.monotonic()
        await self._change("take", now)
        self._take_seconds += ((time.monotonic() - began) - self._take_seconds) / 8
        self._races.takes[now.way.name] += 1
        self._races.taken_in[now.way.name].add(self._lane.organization)
        after = [asyncio.create_task(self._ask(now, asker)) for asker in self._askers[ASKS_BEFORE:]]
        await asyncio.gather(*before, *after)
        if now.way.shared:
            await self._change("give", now)

    async def _change(self, kind: Kind, now: _Round) -> None:
        """Tried until it is ok; each try of what gives or takes is an operation."""
        told = self._told[now.way.name]
        *steps, last = now.way.steps if kind == "give" else (now.way.take,)
        for step in steps:
            learn(kind, await self._carried_out(filled_call(step, now.names | told), kind, now, note=False), told)
        call = filled_call(last, now.names | told)
        if not call.path.endswith("/"):  # else nothing was taken yet
            learn(kind, await self._carried_out(call, kind, now, note=True), told)
        if kind == "give":
            kept = now.way.asker == "kept"
            now.token = self._token(now.names["person"]) if kept else told["access_token"] or told["key"]
            if self._races.told_by is not None:
                call, headers = filled_call(self._races.told_by, now.names), self._headers("owner", now)
                await asyncio.gather(*(asker.ask(call.method, call.path, call.body, headers) for asker in self._askers))

    async def _carried_out(self, call: Call, kind: Kind, now: _Round, *, note: bool) -> dict[str, Any]:
        """What the answer told. With its key, a repeat of one that took effect changes nothing."""
        key, history = random_key() + str(self._lane.number), self._races.history
        deadline = time.monotonic() + CARRIED_OUT_SECONDS_MAX
        told: dict[str, Any] | str = ""
        while time.monotonic() < deadline:
            invoked = history.now()
            told = await self._try(call, key, kind, now)
            completed = history.now()
            if isinstance(told, str):
                if told == NOT_YET:
                    continue
                if note:
                    history.note(Operation(now.cell, "owner", kind, invoked, None, "unknown", reason=told))
                await asyncio.sleep(0.05)
                continue
            if note:
                effective_by = None if kind == "give" else self._effective_by(told, completed)
                if kind == "take" and told and not told.keys() & {"effective_by", "effective_by_ms"}:
                    self._races.faults.append(f"{call.method} {call.path} doesn't say as of when it holds")
                history.note(Operation(now.cell, "owner", kind, invoked, completed, "ok", effective_by_ns=effective_by))
            return told
        raise AssertionError(f"{call.method} {call.path} was not carried out, at last {told}; {self._races.faults[-1:]}")

    async def _try(self, call: Call, key: str, kind: Kind, now: _Round) -> dict[str, Any] | str:
        """What the answer told; a word about why nobody can know what came of it."""
        if not call.method:
            return await self._operate(call.path == "resume")
        headers: dict[str, str] = {}
        if call.by != "anyone":
            headers = self._headers(call.by, now)
            if call.method == "POST":
                headers["Idempotency-Key"] = key
        try:
            status, body = await self._changer.ask(call.method, call.path, call.body, headers)
        except Lost as lost:
            return str(lost)
        code = str(body.get("code"))
        if code in call.until:
            return {}
        if status in DONE:
            return NOT_YET if call.until else body
        if status not in NOT_KNOWN and code != "idempotency_key_in_flight":
            self._races.faults.append(f"{kind} in {now.cell}: {call.method} {call.path}: {status} {body}")
        return code

    def _headers(self, by: str, now: _Round) -> dict[str, str]:
        service = self._races.service
        if by == "operator":
            return service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
        subject = {"owner": self._lane.owner, "person": now.names["person"]}.get(by, by)
        return service.headers(subject, self._lane.organization)

    def _token(self, person: str) -> str:
        return self._races.service.token(person, self._lane.organization)

    async def _operate(self, active: bool) -> dict[str, Any] | str:
        try:
            changed = await set_organization_state(self._races.service.stack.settings, self._lane.organization, active=active)
        except Problem as problem:
            if problem.status < 500:
                raise
            return problem.code
        return {"effective_by_ms": changed.effective_by_ms}

    def _effective_by(self, told: dict[str, Any], completed_ns: int) -> int:
        history = self._races.history
        if "effective_by_ms" in told:
            return history.moment_of(told["effective_by_ms"])
        if "effective_by" in told:
            return history.moment_of(int(datetime.fromisoformat(told["effective_by"]).timestamp() * 1_000))
        return completed_ns + PROMISE_MS * 1_000_000

    async def _ask(self, now: _Round, asker: Client, after_seconds: float = 0.0) -> None:
        await asyncio.sleep(after_seconds)
        call = filled_call(now.way.asked, now.names | self._told[now.way.name])
        headers: dict[str, str] = {}
        if now.way.asker == "device":
            call = Call(call.method, call.path, self._assertion(call.path.split("/")[3]))
        elif now.way.asker in ("told", "kept"):
            headers = {"Authorization": f"Bearer {now.token}"}
        else:
            headers = self._headers("person", now)
        process = f"{self._lane.number}.{self._askers.index(asker)}"
        invoked = self._races.history.now()
        try:
            status, body = await asker.ask(call.method, call.path, call.body, headers)
        except Lost as lost:
            self._races.history.note(Operation(now.cell, process, "ask", invoked, None, "unknown", reason=str(lost)))
            return
        completed, code, command = self._races.history.now(), str(body.get("code")), body.get("id") if now.way.opens else None
        if status in (200, 202):
            operation = Operation(now.cell, process, "ask", invoked, completed, "ok", "granted", command=command)
        elif status in REFUSED and code in now.way.refusals:
            operation = Operation(now.cell, process, "ask", invoked, completed, "ok", "refused", code, command=command)
        else:
            operation = Operation(now.cell, process, "ask", invoked, None, "unknown", reason=f"{status} {code}", answered=True)
            if status not in NOT_KNOWN:
                self._races.faults.append(f"ask in {now.cell}: {status} {body}")
        self._races.history.note(operation)
        self._races.unlocks += now.way.opens and operation.outcome == "ok"

    def _assertion(self, device: str) -> dict[str, str]:
        now_ms = time.time_ns() // 1_000_000
        key, organization = DeviceKey.from_seed(self._lane.key_seed(device)), self._lane.organization
        return {"organization": organization, "assertion": key.sign_assertion(organization, device, now_ms, now_ms + 30_000)}


def learn(kind: Kind, answer: dict[str, Any], told: dict[str, str]) -> None:
    """Note what later calls of the way may name."""
    if "id" in answer:
        told["given" if kind == "give" else "taken"] = str(answer["id"])
    if "link" in answer:
        told["link_token"] = str(answer["link"]).partition("#")[2]
    told |= {name: str(answer[name]) for name in TOLD if name in answer}


def filled_call(call: Call, names: dict[str, str]) -> Call:
    return Call(call.method, filled(call.path, names), filled(call.body, names), filled(call.by, names), call.until)
