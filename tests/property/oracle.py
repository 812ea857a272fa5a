"""The slow, plain twin of the permission index, written from docs/protocols/documents.md and from nothing else.

Documents stay dictionaries, every question walks all of them, time zones are those of `zoneinfo`. It is the oracle of property
tests and never part of the service. What it shares with the index is the edition of the tz database: the index carries its own,
so the zones are read from the package `tzdata` and not from the machine, and a test holds the two editions against each other.
"""

import datetime
import functools
import importlib.resources
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
Document: TypeAlias = Mapping[str, Json]

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
DAY_MINUTES = 1_440
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
KINDS = ("organization", "site", "area", "door", "device", "person", "group", "schedule", "calendar", "grant")


class Answer(NamedTuple):
    allowed: bool
    reason: str
    rule: str | None


def tz_database_version() -> str:
    """Edition of the tz database that the oracle reads, e.g. "2026f"."""
    first_line = (importlib.resources.files("tzdata") / "zoneinfo" / "tzdata.zi").read_text(encoding="utf-8").splitlines()[0]
    return first_line.removeprefix("# version ")


@functools.cache
def zone(name: str) -> zoneinfo.ZoneInfo | None:
    known = (importlib.resources.files("tzdata") / "zones").read_text(encoding="utf-8").splitlines()
    if name not in known:
        return None
    with importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return zoneinfo.ZoneInfo.from_file(file, key=name)


def text(document: Document, field: str) -> str | None:
    value = document.get(field)
    assert value is None or isinstance(value, str)
    return value


def texts(document: Document, field: str) -> list[str]:
    value = document.get(field, [])
    assert isinstance(value, Sequence)
    return [item for item in value if isinstance(item, str)]


def documents(document: Document, field: str) -> list[Document]:
    value = document.get(field, [])
    assert isinstance(value, Sequence)
    return [item for item in value if isinstance(item, Mapping)]


def has_begun(document: Document, now_ms: int) -> bool:
    start = document["valid_from"]
    return not isinstance(start, int) or now_ms >= start


def is_over(document: Document, now_ms: int) -> bool:
    end = document["valid_until"]
    return isinstance(end, int) and now_ms >= end


def minutes(clock: str) -> int:
    hours, rest = clock.split(":")
    return int(hours) * 60 + int(rest)


def window_holds(window: Document, minute: int) -> bool:
    """`minute` counts from the midnight at which the window's own day began, so it passes 1440 on the day after."""
    start, end = minutes(text(window, "start") or ""), minutes(text(window, "end") or "")
    return start <= minute < (end if end > start else end + DAY_MINUTES)


class Organization:
    """One organization as a bag of documents."""

    def __init__(self) -> None:
        self.bag: dict[str, dict[str, Document]] = {kind: {} for kind in KINDS}

    def apply(self, images: Iterable[Document]) -> None:
        for image in images:
            kind, identifier, document = text(image, "kind"), text(image, "id"), image["document"]
            assert kind is not None and identifier is not None
            if document is None:
                self.bag[kind].pop(identifier, None)
            else:
                assert isinstance(document, Mapping)
                self.bag[kind][identifier] = document

    def images(self) -> list[Document]:
        """A snapshot that stands for everything applied so far."""
        return [{"kind": kind, "id": identifier, "document": document} for kind in KINDS for identifier, document in self.bag[kind].items()]

    def check(self, person_id: str, door_id: str, now_ms: int) -> Answer:
        if not any(organization["active"] for organization in self.bag["organization"].values()):
            return Answer(False, "organization_suspended", None)
        person, door = self.bag["person"].get(person_id), self.bag["door"].get(door_id)
        if person is None:
            return Answer(False, "unknown_credential", None)
        if door is None:
            return Answer(False, "door_unknown", None)
        for kind, holder, identifier in self.places(door_id, door):
            if holder["locked_down"]:
                return Answer(False, f"{kind}_locked_down", identifier)
        if person["state"] == "suspended":
            return Answer(False, "person_suspended", None)
        if not has_begun(person, now_ms):
            return Answer(False, "not_yet_valid", None)
        if is_over(person, now_ms):
            return Answer(False, "expired", None)
        if door["mode"] == "unlocked":
            return Answer(True, "granted", door_id)
        return self.rules_answer(person_id, person, door_id, door, now_ms)

    def rules_answer(self, person_id: str, person: Document, door_id: str, door: Document, now_ms: int) -> Answer:
        rules = {
            identifier: grant
            for identifier, grant in sorted(self.bag["grant"].items())
            if self.concerns_person(grant, person_id, person) and self.concerns_door(grant, door_id, door)
        }
        valid = {key: grant for key, grant in rules.items() if has_begun(grant, now_ms) and not is_over(grant, now_ms)}
        open_now = {key: grant for key, grant in valid.items() if self.schedule_is_open(grant, door, now_ms)}
        for key, grant in valid.items():
            if grant["effect"] == "deny" and (key in open_now or not self.schedule_is_known(grant, door, now_ms)):
                return Answer(False, "denied_by_rule", key)
        allows = {key: grant for key, grant in rules.items() if grant["effect"] == "allow"}
        if not allows:
            return Answer(False, "no_grant", None)
        if not allows.keys() & valid.keys():
            coming = [key for key, grant in allows.items() if not is_over(grant, now_ms)]
            return Answer(False, "not_yet_valid", coming[0]) if coming else Answer(False, "expired", next(iter(allows)))
        for key in allows:
            if key in open_now:
                return Answer(True, "granted", key)
        closed = [grant for key, grant in allows.items() if key in valid]
        on_holiday = [grant for grant in closed if self.is_holiday(grant, door, now_ms)]
        if on_holiday:
            return Answer(False, "holiday", text(on_holiday[0], "schedule"))
        return Answer(False, "outside_schedule", text(closed[0], "schedule"))

    def doors_of(self, person_id: str) -> list[str]:
        """Doors on which the person holds any allow rule."""
        person = self.bag["person"].get(person_id)
        if person is None:
            return []
        allows = [g for g in self.bag["grant"].values() if g["effect"] == "allow" and self.concerns_person(g, person_id, person)]
        return sorted(door_id for door_id, door in self.bag["door"].items() if any(self.concerns_door(g, door_id, door) for g in allows))

    def places(self, door_id: str, door: Document) -> Iterator[tuple[str, Document, str]]:
        """The door, its area and its site, as far as they exist, in the order in which lockdowns count."""
        yield "door", door, door_id
        for kind in ("area", "site"):
            identifier = text(door, kind)
            if identifier is not None and identifier in self.bag[kind]:
                yield kind, self.bag[kind][identifier], identifier

    def concerns_door(self, grant: Document, door_id: str, door: Document) -> bool:
        return any(text(grant, kind) == identifier for kind, _, identifier in self.places(door_id, door))

    def concerns_person(self, grant: Document, person_id: str, person: Document) -> bool:
        group = text(grant, "group")
        if group is None:
            return text(grant, "person") == person_id
        return not self.members_of(group, frozenset()).isdisjoint(texts(person, "groups"))

    def members_of(self, group: str, seen: frozenset[str]) -> frozenset[str]:
        """Groups whose members are members of `group`: itself and what it includes, as far as they exist."""
        if group in seen or group not in self.bag["group"]:
            return seen
        seen |= {group}
        for included in texts(self.bag["group"][group], "includes"):
            seen = self.members_of(included, seen)
        return seen

    def local(self, door: Document, now_ms: int) -> datetime.datetime | None:
        site = self.bag["site"].get(text(door, "site") or "")
        site_zone = None if site is None else zone(text(site, "time_zone") or "")
        return None if site_zone is None else (EPOCH + datetime.timedelta(milliseconds=now_ms)).astimezone(site_zone)

    def schedule_is_known(self, grant: Document, door: Document, now_ms: int) -> bool:
        """Whether anybody can say if it is open: all that it takes is there."""
        identifier = text(grant, "schedule")
        if identifier is None:
            return True
        schedule = self.bag["schedule"].get(identifier)
        calendar = None if schedule is None else text(schedule, "calendar")
        there = schedule is not None and (calendar is None or calendar in self.bag["calendar"])
        return there and self.local(door, now_ms) is not None

    def schedule_is_open(self, grant: Document, door: Document, now_ms: int) -> bool:
        identifier = text(grant, "schedule")
        if identifier is None:
            return True
        schedule, local = self.bag["schedule"].get(identifier), self.local(door, now_ms)
        if schedule is None or local is None:
            return False
        calendar = text(schedule, "calendar")
        if calendar is not None and calendar not in self.bag["calendar"]:
            return False
        minute, today = local.hour * 60 + local.minute, local.date()
        yesterday = today - datetime.timedelta(days=1)
        return any(window_holds(window, minute) for window in self.windows_of(schedule, today)) or any(
            window_holds(window, minute + DAY_MINUTES) for window in self.windows_of(schedule, yesterday)
        )

    def windows_of(self, schedule: Document, day: datetime.date) -> list[Document]:
        """The windows that start on a day: an exception's, else a holiday's, else the weekday's."""
        exceptions = [e for e in documents(schedule, "exceptions") if e["date"] == day.isoformat()]
        if exceptions:
            return [window for exception in exceptions for window in documents(exception, "windows")]
        if self.in_calendar(schedule, day):
            return documents(schedule, "holiday_windows")
        return [window for window in documents(schedule, "windows") if WEEKDAYS[day.weekday()] in texts(window, "days")]

    def in_calendar(self, schedule: Document, day: datetime.date) -> bool:
        calendar = self.bag["calendar"].get(text(schedule, "calendar") or "")
        return calendar is not None and day.isoformat() in texts(calendar, "dates")

    def is_holiday(self, grant: Document, door: Document, now_ms: int) -> bool:
        schedule, local = self.bag["schedule"].get(text(grant, "schedule") or ""), self.local(door, now_ms)
        return schedule is not None and local is not None and self.in_calendar(schedule, local.date())
