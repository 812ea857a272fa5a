"""One generated organization for the benchmarks of scale, of any size, as stored documents and as plain arithmetic.

Nothing of it is kept in tables: which groups a person is in and which rules a door has follow from their numbers, so that the right answer
for any pair is computed by a second way that knows no index. Identifiers are as long as the service makes them.
What doesn't live here: any measurement.
"""

from __future__ import annotations

import datetime
import random
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import bson

from py_service.permissions.listing import stored_object

ORGANIZATION = "acme"
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu")
WORKDAYS = ("mon", "tue", "wed", "thu", "fri")
NOW_MS = 1_795_608_000_000  # Wednesday 2026-11-25, 12:00 UTC
GROUPS_PER_PERSON = 10
GRANTS_PER_DOOR = 2
GRANTS_PER_AREA = 2
DOORS_PER_AREA = 50
PERSONS_PER_OWN_GRANT = 100  # every hundredth person has a grant of their own
PERSONS_PER_DOOR = 10
STRIDES = 199
HOURS = tuple((start, start + 9) for start in range(5, 12))
BATCH_DOCUMENTS = 5_000
MASK = (1 << 64) - 1

Document = dict[str, Any]


def mixed(number: int) -> int:
    """A number without a pattern for each number (splitmix64's finalizer, Steele, Lea and Flood 2014); no two share one."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


@cache
def _local_times(now_ms: int) -> list[datetime.datetime]:
    """In the order of `ZONES`."""
    return [datetime.datetime.fromtimestamp(now_ms / 1_000, zoneinfo.ZoneInfo(zone)) for zone in ZONES]


def named(kind: str, number: int) -> str:
    """As the service names what nobody named."""
    return f"{kind}_{mixed(number):016x}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A grant: for a group or a person, by their numbers; `hours` of working days, local, or always."""

    group: int | None
    person: int | None
    hours: tuple[int, int] | None

    def is_open(self, local: datetime.datetime | None) -> bool:
        """At a local time; without one, at any."""
        return self.hours is None or (local is not None and local.weekday() < 5 and self.hours[0] <= local.hour < self.hours[1])


@dataclass(frozen=True, slots=True)
class ScaleOrganization:
    """`persons` in `groups` by ten, `doors` in areas by fifty, on `sites` in three time zones."""

    persons: int
    doors: int
    groups: int = 2_000
    sites: int = 100

    @property
    def areas(self) -> int:
        return max(1, self.doors // DOORS_PER_AREA)

    @property
    def grants(self) -> int:
        return self.doors * GRANTS_PER_DOOR + self.areas * GRANTS_PER_AREA + self.sites + self.persons // PERSONS_PER_OWN_GRANT

    def groups_of(self, person: int) -> list[int]:
        chance = mixed(person)
        start, stride = chance % self.groups, 1 + (chance >> 32) % STRIDES
        return [(start + turn * stride) % self.groups for turn in range(GROUPS_PER_PERSON)]

    def rules_of(self, place: str, number: int) -> Iterator[tuple[int, Rule]]:
        """(number of the grant, rule) of a door, an area or a site: for groups."""
        first, each = {"door": (0, GRANTS_PER_DOOR), "area": (1 << 40, GRANTS_PER_AREA), "site": (2 << 40, 1)}[place]
        for turn in range(each):
            grant = first + number * each + turn
            chance = mixed(grant ^ 0x5EED)
            hours = None if chance & 3 == 0 else HOURS[(chance >> 8) % len(HOURS)]
            yield grant, Rule((chance >> 16) % self.groups, None, hours)

    def own_rule(self, person: int) -> tuple[int, int] | None:
        """(number of the grant, door) of a person who has a grant of their own."""
        return None if person % PERSONS_PER_OWN_GRANT else ((3 << 40) + person, mixed(person ^ 0xD008) % self.doors)

    def may_pass(self, person: int, door: int, now_ms: int = NOW_MS) -> bool:
        """The right answer, by arithmetic."""
        groups, own = self.groups_of(person), self.own_rule(person)
        if own is not None and own[1] == door:
            return True
        area, site = door % self.areas, door % self.sites
        local = _local_times(now_ms)[site % len(ZONES)]
        for place, number in (("door", door), ("area", area), ("site", site)):
            for _, rule in self.rules_of(place, number):
                if rule.is_open(local) and rule.group in groups:
                    return True
        return False

    def openings(self, now_ms: int | None = NOW_MS) -> dict[int, list[int]]:
        """The doors that each group's rules open at a moment, or at any (None); by as many rules, as often."""
        local = [None] * len(ZONES) if now_ms is None else _local_times(now_ms)
        found: dict[int, list[int]] = {}
        for place, count in (("door", self.doors), ("area", self.areas), ("site", self.sites)):
            for number in range(count):
                doors = (number,) if place == "door" else range(number, self.doors, count)
                for _, rule in self.rules_of(place, number):
                    found.setdefault(rule.group or 0, []).extend(
                        door for door in doors if rule.is_open(local[door % self.sites % len(ZONES)])
                    )
        return found

    def allowed_pairs(self, persons: Iterable[int], seed: int, now_ms: int | None = NOW_MS) -> Iterator[tuple[int, int]]:
        """Each of these persons and, at random, one of the doors that they may open then. Who may open none is passed over."""
        chance, openings = random.Random(seed), self.openings(now_ms)
        for person in persons:
            own = self.own_rule(person)
            parts = [openings.get(group, []) for group in self.groups_of(person)] + ([] if own is None else [[own[1]]])
            turn = chance.randrange(max(1, sum(map(len, parts))))
            for part in parts:
                if turn < len(part):
                    yield person, part[turn]
                    break
                turn -= len(part)

    def pairs(self, count: int, seed: int) -> list[tuple[int, int]]:
        """Uniformly random pairs of a person and a door."""
        chance = random.Random(seed)
        return [(chance.randrange(self.persons), chance.randrange(self.doors)) for _ in range(count)]

    def person(self, number: int) -> Document:
        groups = [named("group", group) for group in self.groups_of(number)]
        identifier = named("person", number)
        return {
            "id": identifier, "name": f"Person {number}", "email": f"{identifier}@example.test", "kind": "resident", "state": "active",
            "valid_from": None, "valid_until": None, "groups": groups, "roles": [], "tokens_valid_after": 0, **STAMPS,
        }  # fmt: skip

    def door(self, number: int) -> Document:
        site, area = named("site", number % self.sites), named("area", number % self.areas)
        return {
            "id": named("door", number), "name": f"Door {number}", "site": site, "area": area, "lock": named("device", number),
            "mode": "locked", "locked_down": False, **STAMPS,
        }  # fmt: skip

    def site(self, number: int) -> Document:
        zone = ZONES[number % len(ZONES)]
        return {"id": named("site", number), "name": f"Site {number}", "time_zone": zone, "locked_down": False, **STAMPS}

    def group(self, number: int) -> Document:
        return {"id": named("group", number), "name": f"Group {number}", "includes": [], **STAMPS}

    def documents(self, kind: str) -> Iterator[Document]:
        """Bodies of all objects of a kind."""
        match kind:
            case "organization":
                yield {"id": ORGANIZATION, "name": "Acme", "active": True}
            case "site":
                yield from map(self.site, range(self.sites))
            case "area":
                for number in range(self.areas):
                    site = named("site", number % self.sites)
                    yield {"id": named("area", number), "site": site, "name": f"Area {number}", "locked_down": False, **STAMPS}
            case "door":
                yield from map(self.door, range(self.doors))
            case "group":
                yield from map(self.group, range(self.groups))
            case "schedule":
                for number, (start, end) in enumerate(HOURS):
                    windows = [{"days": list(WORKDAYS), "start": f"{start:02}:00", "end": f"{end:02}:00"}]
                    rest = {"calendar": None, "holiday_windows": [], "exceptions": [], **STAMPS}
                    yield {"id": named("schedule", number), "name": f"Hours {number}", "windows": windows, **rest}
            case "person":
                yield from map(self.person, range(self.persons))
            case "grant":
                yield from self._grants()

    def _grants(self) -> Iterator[Document]:
        for place, count in (("door", self.doors), ("area", self.areas), ("site", self.sites)):
            for number in range(count):
                for grant, rule in self.rules_of(place, number):
                    schedule = None if rule.hours is None else named("schedule", HOURS.index(rule.hours))
                    yield _grant(grant, {"group": named("group", rule.group or 0), place: named(place, number), "schedule": schedule})
        for person in range(0, self.persons, PERSONS_PER_OWN_GRANT):
            own = self.own_rule(person)
            assert own is not None
            yield _grant(own[0], {"person": named("person", person), "door": named("door", own[1]), "schedule": None})

    def batches(self, kind: str) -> Iterator[bytes]:
        """Stored documents of a kind, concatenated as the driver hands them over."""
        waiting: list[bytes] = []
        for body in self.documents(kind):
            waiting.append(bson.encode(stored_object(ORGANIZATION, kind, body)))
            if len(waiting) == BATCH_DOCUMENTS:
                yield b"".join(waiting)
                waiting.clear()
        if waiting:
            yield b"".join(waiting)


STAMPS: Document = {"revision": 1, "created_at": 1_795_600_000_000, "changed_at": 1_795_600_000_000}
KINDS = ("site", "area", "door", "group", "schedule", "person", "grant", "organization")


def _grant(number: int, fields: Document) -> Document:
    return {"id": named("grant", number), "effect": "allow", **fields, "valid_from": None, "valid_until": None, **STAMPS}
