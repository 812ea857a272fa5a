"""Kinds of revokes for `revoke_http.py`: what each takes, from whom, and what they hear at the door then.

`seed` puts places, persons and their access beside the load test's own organization, before the service starts; only passes are given over
HTTP. What doesn't live here: any measurement.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from benchmarks.scale_organization import STAMPS, ScaleOrganization, named
from loadtests.stack import RunningStack
from loadtests.tokens import TokenMint
from py_service.permissions.listing import object_key, stored_object
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo

CASES_MAX = 210  # a site for each, with fifty doors
WIDE_DOORS = WIDE_PERSONS = 10_000
MADE = ScaleOrganization(WIDE_PERSONS, doors=50 * CASES_MAX, sites=CASES_MAX)
INSERTED_AT_ONCE, ASKED_AT_ONCE = 1_000, 8
ALWAYS = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
MEMBERS, WIDE, INCLUDED = "members", "wide", "included"


@dataclass(frozen=True, slots=True)
class Kind:
    """`call`: method, path and body; the path names the case's `{subject}`, which is taken or changed. `codes`: what somebody hears who has
    no access because of it. `writes`: kinds of the objects that it writes; `ends`: it ends them. `again` gives the access back before the
    next one; without it every case has access of its own.
    """

    name: str
    told: str
    call: tuple[str, str, Document | None]
    codes: frozenset[str]
    writes: tuple[str, ...]
    ends: bool = False
    again: Document | None = None


# A locked down site stays so: it comes last, as the others' doors are there too.
KINDS = (
    Kind("membership", "a membership of a group", ("PATCH", "/v1/persons/{subject}", {"groups": []}),
         frozenset({"no_grant"}), ("person",)),
    Kind("suspended", "a person suspended", ("POST", "/v1/persons/{subject}/suspend", None),
         frozenset({"person_suspended", "token_revoked"}), ("person",)),
    Kind("pass", "a pass taken back", ("DELETE", "/v1/passes/{subject}", None), frozenset({"no_grant"}), ("pass", "grant"), ends=True),
    Kind("schedule", "a schedule without hours", ("PATCH", "/v1/schedules/{subject}", {"windows": []}),
         frozenset({"outside_schedule"}), ("schedule",)),
    Kind("includes", f"{WIDE_PERSONS:,} persons' group included no more by one at {WIDE_DOORS:,} doors",
         ("PATCH", "/v1/groups/{subject}", {"includes": []}), frozenset({"no_grant"}), ("group",), again={"includes": [INCLUDED]}),
    Kind("lockdown", "a site locked down", ("POST", "/v1/sites/{subject}/lockdown", None), frozenset({"site_locked_down"}), ("site",)),
)  # fmt: skip


async def seed(mongo: Mongo, organization: str) -> None:
    """Everything that the kinds take, into a store whose service hasn't started."""
    for kind, bodies in itertools.groupby(_bodies(), key=lambda told: told[0]):
        found = (stored_object(organization, kind, body) for _, body in bodies)
        while some := list(itertools.islice(found, INSERTED_AT_ONCE)):
            await mongo.database[OBJECT_COLLECTIONS[kind]].insert_many(some, ordered=False)


def _bodies() -> Iterator[tuple[str, Document]]:
    for kind in ("site", "area", "door"):
        rest: Document = {} if kind == "door" else {"held_by": []}
        yield from ((kind, {**body, **rest}) for body in MADE.documents(kind))
    for group, includes in ((MEMBERS, []), (INCLUDED, []), (WIDE, [INCLUDED])):
        yield "group", {"id": group, "name": group, "includes": includes, **STAMPS}
    for number in range(CASES_MAX):
        hours: Document = {"windows": ALWAYS, "calendar": None, "holiday_windows": [], "exceptions": []}
        yield "schedule", {"id": f"schedule-{number}", "name": f"Hours {number}", **hours, **STAMPS}
    for number in range(WIDE_PERSONS):
        yield "person", MADE.person(number) | {"groups": [INCLUDED]}
    for kind, number in itertools.product(("membership", "suspended", "pass", "schedule", "lockdown"), range(CASES_MAX)):
        own = {"id": f"{kind}-{number}", "name": f"{kind} {number}", "email": f"{kind}-{number}@example.test"}
        yield "person", MADE.person(number) | own | {"groups": [MEMBERS] if kind == "membership" else []}
    for number in range(WIDE_DOORS):
        yield _grant(f"wide-{number}", number, group=WIDE)
    for number in range(CASES_MAX):
        yield _grant(f"members-{number}", number, group=MEMBERS)
        yield _grant(f"suspended-{number}", number, person=f"suspended-{number}")
        yield _grant(f"schedule-{number}", number, person=f"schedule-{number}", schedule=f"schedule-{number}")
        yield _grant(f"lockdown-{number}", number, person=f"lockdown-{number}")


def _grant(identifier: str, door: int, **fields: str) -> tuple[str, Document]:
    nobody: Document = {
        "person": None,
        "group": None,
        "area": None,
        "site": None,
        "schedule": None,
        "valid_from": None,
        "valid_until": None,
    }
    return "grant", {**nobody, "id": identifier, "effect": "allow", "door": named("door", door), **fields, **STAMPS}


class Cases:
    """One kind's revokes, each of a person at a door, and what was wrong with them."""

    def __init__(self, kind: Kind, running: RunningStack, http: httpx.AsyncClient, mint: TokenMint) -> None:
        self.kind, self.faults = kind, list[str]()
        self._running, self._http, self._mint = running, http, mint
        self._passes: dict[int, str] = {}

    async def prepare(self, count: int) -> None:
        """Raises HTTPStatusError."""
        if self.kind.name == "pass":
            for first in range(0, count, ASKED_AT_ONCE):
                numbers = range(first, min(first + ASKED_AT_ONCE, count))
                self._passes |= dict(zip(numbers, await asyncio.gather(*map(self._give_pass, numbers)), strict=True))

    async def samples(self) -> list[tuple[str, Document]]:
        """The documents, as they stand, that the first revoke will write."""
        database, organization = self._running.mongo.database, self._running.cast.organization
        found: list[tuple[str, Document]] = []
        for kind in self.kind.writes:
            wanted: Document = {"_id": object_key(organization, kind, self._subject(0))}
            if (self.kind.name, kind) == ("pass", "grant"):
                wanted = {"org": organization, "person": "pass-0"}
            document = await database[OBJECT_COLLECTIONS[kind]].find_one(wanted)
            assert document is not None, f"{self.kind.name}: no {kind}"
            found.append((kind, document))
        return found

    async def stands(self, number: int) -> None:
        """Access is given again, if it was taken, and the person gets in."""
        if self.kind.again is not None:
            _, path, _ = self.kind.call
            await self._manage("PATCH", path.format(subject=self._subject(number)), self.kind.again)
        await self._meets(number, 200, frozenset({"unlocked.failed"}))  # granted, commanded; and no lock was there to hear it

    async def revoke(self, number: int) -> None:
        """Raises HTTPStatusError."""
        method, path, body = self.kind.call
        await self._manage(method, path.format(subject=self._subject(number)), body)

    async def is_out(self, number: int) -> None:
        """Nobody is let in on what was taken, and for this reason."""
        await self._meets(number, None, self.kind.codes)

    def _subject(self, number: int) -> str:
        match self.kind.name:
            case "pass":
                return self._passes[number]
            case "lockdown":
                return named("site", number)
            case "includes":
                return WIDE
            case name:
                return f"{name}-{number}"

    def _person(self, number: int) -> str:
        return named("person", number) if self.kind.name == "includes" else f"{self.kind.name}-{number}"

    async def _meets(self, number: int, status: int | None, told: frozenset[str]) -> None:
        person, door = self._person(number), named("door", number)
        answer = await self._http.post(f"/v1/doors/{door}/unlock", headers=self._headers(person))
        body = answer.json()
        found = str(body.get("code") or body.get("state"))
        if found not in told or (answer.status_code != status if status else answer.status_code not in (401, 403)):
            self.faults.append(f"{self.kind.name}, {person} at {door}: {answer.status_code} {found} instead of {', '.join(sorted(told))}")

    async def _manage(self, method: str, path: str, body: Document | None) -> Document:
        answer = await self._http.request(method, path, json=body, headers=self._headers(self._running.cast.manager))
        answer.raise_for_status()
        told: Document = answer.json()
        return told

    async def _give_pass(self, number: int) -> str:
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        given = await self._manage(
            "POST", "/v1/passes", {"name": "A visit", "doors": [named("door", number)], "valid_until": ends.isoformat()}
        )
        token = {"token": str(given["link"]).rpartition("#")[2]}
        accepted = await self._http.post("/v1/me/passes", json=token, headers=self._headers(f"pass-{number}"))
        accepted.raise_for_status()
        return str(given["id"])

    def _headers(self, person: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._mint.token(person)}"}
