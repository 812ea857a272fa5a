"""Rules that the store settles, under 16 tries at the same moment over both api workers, several rounds: who gets in, and who is inside.

Each round is held against the answers, the bolts that moved, and who is told to be inside. What doesn't live here: uses of a pass,
`leaves`, and what each rule says to whom (tests/e2e/test_stateful_rules.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service.stores.mongo import Document, now_ms
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, faults_of_outcomes, projected, read_journal, unauthorized_moves
from tests.e2e.manager import Manager, stranger
from tests.e2e.running import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SITE = "berlin"
TRIES, ROUNDS = 16, 8
GUESTS = sorted(stranger(number) for number in range(TRIES))
FIRST = stranger(TRIES)  # who may open a door for everybody
MINUTE_MS = 60_000
NUMBERS, DOORS = itertools.count(), itertools.count()
Terms = dict[str, object]
HARD: Terms = {"anti_passback": "hard"}
TIMED: Terms = {"anti_passback": "timed", "anti_passback_minutes": 1}  # the shortest that there is


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("in-parallel")
    async with running_service(folder, strangers=TRIES + 1, doors=40) as running:
        running.hook = (await conformance_of(running)).hook
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []
        assert await unauthorized_moves(running) == []
        assert faults_of_outcomes(running, await read_journal(running)) == []


@pytest_asyncio.fixture(loop_scope="module")
async def owner(service: Service) -> AsyncIterator[Manager]:
    async with service.client() as http:
        yield Manager(service, http, service.demo.cast["owner"].id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def group(service: Service) -> str:
    """Of all guests: who may enter is said once."""
    async with service.client() as http:
        owner = Manager(service, http, service.demo.cast["owner"].id)
        made = str((await owner("POST", "/v1/groups", 201, {"name": "Guests"}))["id"])
        for guest in GUESTS:
            await owner("PATCH", f"/v1/persons/{guest}", 200, {"groups": [made]})
    return made


@pytest_asyncio.fixture(loop_scope="module")
async def phones(service: Service) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Of one worker and of the other in turn, so many that each of the guests may ask twice at the same moment."""
    async with service.clients_of_each_worker(each=TRIES) as by_worker:
        yield [phone for pair in zip(*by_worker.values(), strict=False) for phone in pair]


@dataclass(frozen=True, slots=True)
class Try:
    """`answer`: `unlocked`, or why not. `first`: who of two asked before, as the journal has it."""

    person: str
    attempt: str
    answer: str
    first: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A door with a lock that is the only way into an area."""

    owner: Manager
    phones: list[httpx.AsyncClient]
    door: str
    area: str

    async def tries(self, persons: list[str], pin: str | None = None) -> list[Try]:
        """All at the same moment. For each who was let in the bolt moved once, and for nobody else; both workers decided."""
        service = self.owner.service
        before = len(service.moves())
        phones = itertools.cycle(self.phones)
        told = await asyncio.gather(*(self._ask(next(phones), person, pin) for person in persons))
        journal = await read_journal(service)
        tries = [Try(person, *one, self._first(journal.events[one[0]])) for person, one in zip(persons, told, strict=True)]
        assert sorted(str(move.command) for move in service.moves()[before:]) == sorted(one.attempt for one in let_in(tries))
        assert len(persons) == 1 or len({journal.process_of(one.attempt) for one in tries}) == 2
        return tries

    async def _ask(self, phone: httpx.AsyncClient, person: str, pin: str | None) -> tuple[str, str]:
        """By a key of its own; the attempt's id, and the answer."""
        sent = self.owner.service.headers(person) | {"Prefer": "wait=10", "Idempotency-Key": f"in-parallel-{next(NUMBERS)}"}
        answer = await phone.post(f"/v1/doors/{self.door}/unlock", headers=sent, json=None if pin is None else {"pin": pin})
        told = answer.json()
        assert (answer.status_code, told["door"]) in ((200, self.door), (403, self.door)), answer.text
        return str(told["id"]), str(told["state"] if answer.status_code == 200 else told["code"])

    @staticmethod
    def _first(event: Document) -> str | None:
        first: str | None = event.get("taken", {}).get("first_person")
        return first

    async def inside(self) -> list[str]:
        """Who is told to be there, by name; so many are counted."""
        told: dict[str, Any] = await self.owner("GET", f"/v1/areas/{self.area}/occupancy?limit=100", 200)
        assert told["count"] == len(told["items"]) and told["next_cursor"] is None
        return sorted(one["person"] for one in told["items"])

    async def begin_anew(self) -> None:
        """Nobody is inside, nobody waits for a second person, and nobody has opened the door for everybody."""
        await self.owner("POST", f"/v1/areas/{self.area}/occupancy/reset", 200)
        for what in ("lockdown", "release"):
            await self.owner("POST", f"/v1/doors/{self.door}/{what}", 200)
        assert await self.inside() == []


MakeEntry = Callable[..., Awaitable[Entry]]


@pytest.fixture
def entry(owner: Manager, phones: list[httpx.AsyncClient], group: str) -> MakeEntry:
    async def make(area: Terms, door: Terms | None = None, **who: str) -> Entry:
        """By the terms of both; the guests may pass, or who else is said."""
        door_documents = owner.service.demo.documents["doors"]
        made = str((await owner("POST", "/v1/areas", 201, {"name": "Inner", "site": SITE, **area}))["id"])
        chosen = [str(one["id"]) for one in door_documents if one["site"] == SITE][next(DOORS)]
        await owner("PATCH", f"/v1/doors/{chosen}", 200, {"mode": "locked", "enters": made, **(door or {})})
        await owner("POST", "/v1/grants", 201, {"door": chosen, **(who or {"group": group})})
        return Entry(owner, phones, chosen, made)

    return make


def let_in(tries: list[Try]) -> list[Try]:
    return [one for one in tries if one.answer == "unlocked"]


def names(tries: list[Try]) -> list[str]:
    return sorted(one.person for one in tries)


def answers(tries: list[Try]) -> dict[str, int]:
    return dict(Counter(one.answer for one in tries))


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_an_area_holds_exactly_so_many(entry: MakeEntry, limit: int) -> None:
    vault = await entry({"occupancy_max": limit})
    for _ in range(ROUNDS):
        tries = await vault.tries(GUESTS)
        assert answers(tries) == {"unlocked": limit, "occupancy_full": TRIES - limit}
        assert await vault.inside() == names(let_in(tries))
        await vault.begin_anew()


@pytest.mark.parametrize("terms", [HARD, TIMED], ids=["hard", "timed"])
async def test_whoever_asks_many_times_at_once_enters_once(entry: MakeEntry, terms: Terms) -> None:
    lab = await entry(terms)
    for number in range(ROUNDS):
        tries = await lab.tries([GUESTS[number]] * TRIES)
        assert answers(tries) == {"unlocked": 1, "anti_passback": TRIES - 1}
        assert await lab.inside() == GUESTS[: number + 1]


@pytest.mark.parametrize("terms", [HARD, TIMED], ids=["hard", "timed"])
async def test_of_many_who_each_ask_twice_each_enters_once(entry: MakeEntry, terms: Terms) -> None:
    lab = await entry(terms)
    for _ in range(ROUNDS):
        tries = await lab.tries([guest for guest in GUESTS for _ in range(2)])  # over both workers, each
        assert answers(tries) == {"unlocked": TRIES, "anti_passback": TRIES}
        assert names(let_in(tries)) == GUESTS == await lab.inside()
        await lab.begin_anew()


async def test_timed_anti_passback_ends_after_its_minutes_and_by_a_reset(service: Service, entry: MakeEntry, owner: Manager) -> None:
    lab = await entry(TIMED)
    area, [one, other, *_] = f"/v1/areas/{lab.area}", GUESTS

    async def entered(person: str, change: Document) -> None:
        key = {"_id": f"{service.demo.id}:inside.{lab.area}.{person}", "entered_at": {"$gt": 0}}
        assert (await service.database["states"].update_one(key, change)).modified_count == 1

    async def entered_earlier(milliseconds: int) -> None:
        """Time passes, for this person: their stored entry is of so much earlier."""
        await entered(one, {"$inc": {"entered_at": -milliseconds}})

    async def asks(person: str = one) -> str:
        [tried] = await lab.tries([person])
        return tried.answer

    assert [await asks(), await asks(), await asks(other)] == ["unlocked", "anti_passback", "unlocked"]
    await entered_earlier(MINUTE_MS - 20_000)
    assert await asks() == "anti_passback"
    for _ in range(ROUNDS):
        await entered_earlier(MINUTE_MS)
        assert answers(await lab.tries([one] * TRIES)) == {"unlocked": 1, "anti_passback": TRIES - 1}, "and a minute begins"
        assert await lab.inside() == [one, other], "who was inside is counted once"

    await owner("PATCH", area, 400, {"anti_passback_minutes": 0}, code="field_invalid")
    await entered_earlier(MINUTE_MS)
    for minutes in (2, None):  # longer, and for good
        await owner("PATCH", area, 200, {"anti_passback_minutes": minutes})
        assert await asks() == "anti_passback"
    await owner("PATCH", area, 200, {"anti_passback_minutes": 1})
    assert [await asks(), await asks()] == ["unlocked", "anti_passback"]

    await owner("POST", f"{area}/occupancy/reset", 200, {"person": one})
    assert await lab.inside() == [other]
    assert answers(await lab.tries([one] * TRIES)) == {"unlocked": 1, "anti_passback": TRIES - 1}
    await entered(other, {"$set": {"entered_at": now_ms()}})  # however long all that took
    assert await asks(other) == "anti_passback", "only the one was let off"
    await owner("POST", f"{area}/occupancy/reset", 200)
    assert await lab.inside() == []
    tries = await lab.tries([one, other] * (TRIES // 2))
    assert answers(tries) == {"unlocked": 2, "anti_passback": TRIES - 2} and names(let_in(tries)) == [one, other] == await lab.inside()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, {"unlocked": 8, "second_person_needed": 8}),
        (5, {"unlocked": 2, "second_person_needed": 3, "occupancy_full": 11}),  # there is no room for two more
    ],
)
async def test_each_opening_takes_two_who_enter_together(entry: MakeEntry, limit: int | None, expected: dict[str, int]) -> None:
    vault = await entry({**HARD, "occupancy_max": limit}, {"two_persons_seconds": 60})
    for _ in range(ROUNDS):
        tries = await vault.tries(GUESTS)
        assert answers(tries) == expected
        both = [person for one in let_in(tries) for person in (one.first, one.person)]
        assert len(set(both)) == 2 * expected["unlocked"] == len(both), "two others each time"
        assert set(both) == set(await vault.inside())
        await vault.begin_anew()


async def test_one_person_is_never_two(entry: MakeEntry) -> None:
    vault = await entry(HARD, {"two_persons_seconds": 60})
    for alone, other in itertools.pairwise(GUESTS[: ROUNDS + 1]):
        assert answers(await vault.tries([alone] * TRIES)) == {"second_person_needed": TRIES}
        assert await vault.inside() == []
        [second] = await vault.tries([other])
        assert (second.answer, second.first) == ("unlocked", alone)
        assert await vault.inside() == [alone, other]
        await vault.begin_anew()


async def test_nobody_enters_before_the_first_person_and_everybody_after(entry: MakeEntry) -> None:
    hall = await entry({"anti_passback": "soft"}, {"mode": "first_person_in"}, person=FIRST)
    for number in range(ROUNDS):
        assert answers(await hall.tries(GUESTS)) == {"no_grant": TRIES}
        assert await hall.inside() == []
        others = GUESTS[: TRIES - 1]
        race = await hall.tries([*others[: 2 * number], FIRST, *others[2 * number :]])
        assert FIRST in names(let_in(race)) and answers(race).keys() <= {"unlocked", "no_grant"}
        assert await hall.inside() == names(let_in(race))
        assert answers(await hall.tries(GUESTS)) == {"unlocked": TRIES}
        assert await hall.inside() == sorted([*GUESTS, FIRST])
        await hall.begin_anew()


async def test_so_many_guesses_of_a_pin_are_heard(entry: MakeEntry, owner: Manager) -> None:
    safe, person = await entry(HARD, {"mode": "card_and_pin"}), GUESTS[0]
    for _ in range(ROUNDS):
        await owner("PUT", f"/v1/persons/{person}/pin", 200, {"pin": "4711"})  # a new one: what was guessed is forgotten
        assert answers(await safe.tries([person] * TRIES, "4711")) == {"unlocked": 1, "anti_passback": TRIES - 1}
        assert answers(await safe.tries([person] * TRIES, "0000")) == {"pin_wrong": 5, "rate_limited": TRIES - 5}
        assert answers(await safe.tries([person] * TRIES, "4711")) == {"rate_limited": TRIES}
        assert await safe.inside() == [person]
        await safe.begin_anew()
