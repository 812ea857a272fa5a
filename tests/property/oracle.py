"""The slow, plain twin of the permission index, written from docs/protocols/documents.md and from nothing else.

Documents stay dictionaries, every question walks all of them, time zones are those of `zoneinfo`. It is the oracle of property
tests and never part of the service. What it shares with the index is the edition of the tz database: the index carries its own,
so the zones are read from the package `tzdata` and not from the machine, and a test holds the two editions against each other.
"""

import collections
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
KINDS = ("organization", "site", "area", "door", "device", "person", "group", "schedule", "calendar", "grant", "session")
GIVERS_MAX = 4
CHOICES_MAX = 512
STRICT_MODES = ("locked", "card_and_pin")


class Answer(NamedTuple):
    allowed: bool
    reason: str
    rule: str | None


class Judged(NamedTuple):
    """What memory alone says, and what is left to the stateful rules."""

    answer: Answer
    mode: str | None = None  # of the door; null when a step before it refused
    choices: Sequence[tuple[str, Document]] = ()  # the grants that a use is counted on, by id; none while another one opens
    day: datetime.date | None = None  # at the site, where a first person opens the door for everybody


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


def number(document: Document, field: str) -> int:
    value = document.get(field, 0)
    assert isinstance(value, int)
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


def is_valid(document: Document, now_ms: int) -> bool:
    return has_begun(document, now_ms) and not is_over(document, now_ms)


def counts_of(grant: Document) -> list[Document]:
    terms = grant.get("pass")
    return documents(terms, "counts") if isinstance(terms, Mapping) else []


def passes_counted(grant: Document) -> set[str | None]:
    return {text(limit, "pass") for limit in counts_of(grant)}


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
        self.stored: dict[str, dict[str, Document]] = {kind: {} for kind in KINDS}
        self.bag = self.stored  # of what is stored, what shows
        self.met: collections.Counter[str] = collections.Counter()
        self.own_only = False  # whether what came out of a pass doesn't count
        """What was decided by what: tells a test whether its organizations ask everything."""

    def apply(self, images: Iterable[Document]) -> None:
        for image in images:
            kind, identifier, document = text(image, "kind"), text(image, "id"), image["document"]
            assert kind is not None and identifier is not None
            if document is None:
                self.stored[kind].pop(identifier, None)
            else:
                assert isinstance(document, Mapping)
                self.stored[kind][identifier] = document
        self.bag = {kind: {name: found for name, found in of_kind.items() if self.shows(found)} for kind, of_kind in self.stored.items()}

    def shows(self, document: Document) -> bool:
        """What came with a stage doesn't, until the organization says that the stage is live."""
        live = max((number(organization, "stages_live") for organization in self.stored["organization"].values()), default=0)
        shown = number(document, "staged") <= live
        self.met["staged and live" if shown and number(document, "staged") else "staged" if not shown else "not staged"] += 1
        return shown

    def images(self) -> list[Document]:
        """A snapshot that stands for everything applied so far."""
        return [
            {"kind": kind, "id": identifier, "document": document} for kind in KINDS for identifier, document in self.stored[kind].items()
        ]

    def check(self, person_id: str, door_id: str, now_ms: int) -> Answer:
        return self.judge(person_id, door_id, now_ms).answer

    def judge_own(self, person_id: str, door_id: str, now_ms: int) -> Judged:
        """By what a manager gave them, and no pass."""
        self.own_only = True
        try:
            return self.judge(person_id, door_id, now_ms)
        finally:
            self.own_only = False

    def judge(self, person_id: str, door_id: str, now_ms: int) -> Judged:
        if not any(organization["active"] for organization in self.bag["organization"].values()):
            return Judged(Answer(False, "organization_suspended", None))
        person, door = self.bag["person"].get(person_id), self.bag["door"].get(door_id)
        if person is None:
            return Judged(Answer(False, "unknown_credential", None))
        if door is None:
            return Judged(Answer(False, "door_unknown", None))
        for kind, holder, identifier in self.lockdown_places(door_id, door):
            if holder["locked_down"]:
                self.met[f"{kind} locked down" if identifier != self.area_entered(door) else "area that is entered locked down"] += 1
                return Judged(Answer(False, f"{kind}_locked_down", identifier))
        if person["state"] == "suspended":
            return Judged(Answer(False, "person_suspended", None))
        if not has_begun(person, now_ms):
            return Judged(Answer(False, "not_yet_valid", None))
        if is_over(person, now_ms):
            return Judged(Answer(False, "expired", None))
        mode = self.mode(door, now_ms)
        self.met[f"mode {mode}"] += 1
        if mode == "unlocked":
            return Judged(Answer(True, "granted", door_id), mode)
        judged = self.rules_answer(person_id, door_id, now_ms)._replace(mode=mode)
        local = self.local(door, now_ms)
        if mode == "first_person_in" and judged.answer.reason != "denied_by_rule" and local is not None:
            judged = judged._replace(day=local.date())
        return judged

    def mode(self, door: Document, now_ms: int) -> str:
        return self.mode_and_schedule(door, now_ms)[0]

    def open_by(self, door_id: str, now_ms: int) -> str | None:
        """Why the bolt of this door is to be held back: the schedule by which nobody has to ask, or the door when that is its own mode."""
        door = self.bag["door"][door_id]
        if not any(organization["active"] for organization in self.bag["organization"].values()):
            return None
        mode, schedule = self.mode_and_schedule(door, now_ms)
        if mode != "unlocked":
            return None
        for reason, hinders in (
            ("held: locked down", any(holder["locked_down"] for _, holder, _ in self.lockdown_places(door_id, door))),
            ("held: persons are counted", any(self.counted_area(door, field) is not None for field in ("enters", "leaves"))),
        ):
            if hinders:
                self.met[reason] += 1
                return None
        self.met["held by a schedule" if schedule is not None else "held by the door's own mode"] += 1
        return schedule or door_id

    def mode_and_schedule(self, door: Document, now_ms: int) -> tuple[str, str | None]:
        for scheduled in documents(door, "modes"):
            mode = text(scheduled, "mode") or ""
            if self.schedule_is_open(scheduled, door, now_ms):
                self.met[f"{mode} by schedule"] += 1
                return mode, text(scheduled, "schedule")
            if not self.schedule_is_known(scheduled, door, now_ms):
                self.met[f"{mode} by a schedule that isn't whole"] += 1
                if mode in STRICT_MODES:
                    return mode, text(scheduled, "schedule")
        return text(door, "mode") or "", None

    def is_stateful(self, judged: Judged, door_id: str) -> bool:
        """Whether any of the stateful rules has a say."""
        if judged.mode is None:
            return False
        if not judged.answer.allowed:
            return judged.day is not None
        door = self.bag["door"][door_id]
        return (
            judged.day is not None
            or judged.mode == "card_and_pin"
            or bool(judged.choices)
            or (judged.mode != "unlocked" and door.get("two_persons_seconds") is not None)
            or any(self.counted_area(door, field) is not None for field in ("enters", "leaves"))
        )

    def counted_area(self, door: Document, field: str) -> str | None:
        """The area that a door `enters` or `leaves`, when anybody counts there."""
        area = text(door, field)
        document = None if area is None else self.bag["area"].get(area)
        if document is None:
            return None
        counts = document.get("anti_passback", "off") != "off" or document.get("occupancy_max") is not None
        return area if counts else None

    def rules_answer(self, person_id: str, door_id: str, now_ms: int) -> Judged:
        rules, door = self.rules_of(person_id, door_id, now_ms, ()), self.bag["door"][door_id]
        if (denied := self.first_denial(rules, door, now_ms)) is not None:
            return Judged(Answer(False, "denied_by_rule", denied))
        allows = {key: grant for key, grant in rules.items() if grant["effect"] == "allow"}
        if not allows:
            return Judged(Answer(False, "no_grant", None))
        valid = {key: grant for key, grant in allows.items() if is_valid(grant, now_ms)}
        if not valid:
            coming = [key for key, grant in allows.items() if not is_over(grant, now_ms)]
            reason, first = ("not_yet_valid", coming[0]) if coming else ("expired", next(iter(allows)))
            return Judged(Answer(False, reason, first))
        holding = {key: grant for key, grant in valid.items() if self.schedule_is_open(grant, door, now_ms)}
        if holding:
            return self.granted(holding)
        on_holiday = [grant for grant in valid.values() if self.is_holiday(grant, door, now_ms)]
        if on_holiday:
            return Judged(Answer(False, "holiday", text(on_holiday[0], "schedule")))
        return Judged(Answer(False, "outside_schedule", text(next(iter(valid.values())), "schedule")))

    def granted(self, holding: dict[str, Document]) -> Judged:
        free = [key for key, grant in holding.items() if not counts_of(grant)]
        if not free:
            self.met["only limited grants hold"] += 1
            choices = list(holding.items())[:CHOICES_MAX]
            return Judged(Answer(True, "granted", choices[0][0]), choices=choices)
        if free[0] != next(iter(holding)):
            self.met["an unlimited grant before a smaller one"] += 1
        return Judged(Answer(True, "granted", free[0]))

    def rules_of(self, person_id: str, door_id: str, now_ms: int, path: tuple[str, ...]) -> dict[str, Document]:
        """The rules that are heard, by id; `path`: the givers through whom we came to this person."""
        person, door = self.bag["person"][person_id], self.bag["door"][door_id]
        return {
            identifier: grant
            for identifier, grant in sorted(self.bag["grant"].items())
            if self.concerns_person(grant, person_id, person)
            and self.concerns_door(grant, door_id, door)
            and (grant["effect"] == "deny" or not is_valid(grant, now_ms) or self.giver_may(grant, door_id, now_ms, path))
        }

    def rules_told(self, person_id: str, door_id: str, now_ms: int) -> list[tuple[str, str, str | None, str]]:
        """Every rule of this person at this door: grant, effect, schedule, and what it comes to."""
        person, door = self.bag["person"].get(person_id), self.bag["door"].get(door_id)
        if person is None or door is None:
            return []
        told = []
        for identifier, grant in sorted(self.bag["grant"].items()):
            if self.concerns_person(grant, person_id, person) and self.concerns_door(grant, door_id, door):
                told.append((identifier, str(grant["effect"]), text(grant, "schedule"), self.verdict(grant, door, door_id, now_ms)))
                self.met[f"told: {told[-1][1]} {told[-1][3]}"] += 1
        return told

    def verdict(self, grant: Document, door: Document, door_id: str, now_ms: int) -> str:
        if is_over(grant, now_ms):
            return "expired"
        if not has_begun(grant, now_ms):
            return "not_yet_valid"
        if grant["effect"] == "allow" and not self.giver_may(grant, door_id, now_ms, ()):
            return "giver_may_not"
        denies_unknown = grant["effect"] == "deny" and not self.schedule_is_known(grant, door, now_ms)
        if self.schedule_is_open(grant, door, now_ms) or denies_unknown:
            return "holds"
        return "holiday" if self.is_holiday(grant, door, now_ms) else "outside_schedule"

    def first_denial(self, rules: dict[str, Document], door: Document, now_ms: int) -> str | None:
        for key, grant in rules.items():
            holds = self.schedule_is_open(grant, door, now_ms) or not self.schedule_is_known(grant, door, now_ms)
            if grant["effect"] == "deny" and is_valid(grant, now_ms) and holds:
                return key
        return None

    def giver_may(self, grant: Document, door_id: str, now_ms: int, path: tuple[str, ...]) -> bool:
        terms = grant.get("pass")
        if self.own_only and terms is not None:
            return False
        giver = text(terms, "given_by") if isinstance(terms, Mapping) else None
        if giver is None:
            return True
        why = self.why_giver_may_not(giver, grant, door_id, now_ms, path)
        self.met[f"giver {len(path) + 1}: {why or 'may'}"] += 1
        return why is None

    def why_giver_may_not(self, giver_id: str, given: Document, door_id: str, now_ms: int, path: tuple[str, ...]) -> str | None:
        giver, door = self.bag["person"].get(giver_id), self.bag["door"][door_id]
        if len(path) >= GIVERS_MAX:
            return "too deep"
        if giver_id in path:
            return "vouches for himself"
        if giver is None:
            return "unknown"
        if giver["state"] == "suspended":
            return "suspended"
        if not is_valid(giver, now_ms):
            return "not valid"
        rules = self.rules_of(giver_id, door_id, now_ms, (*path, giver_id))
        if self.first_denial(rules, door, now_ms) is not None:
            return "denied"
        allows = [grant for grant in rules.values() if grant["effect"] == "allow" and is_valid(grant, now_ms)]
        opening = [grant for grant in allows if self.schedule_is_open(grant, door, now_ms)]
        if not opening:
            return "nothing open"
        counted = passes_counted(given)
        return None if any(passes_counted(grant) <= counted for grant in opening) else "only uncounted uses"

    def doors_of(self, person_id: str) -> list[str]:
        """Doors on which the person holds any allow rule, also one that isn't heard now because its giver may not pass."""
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

    def area_entered(self, door: Document) -> str | None:
        """The area behind the door, when it exists and isn't the one that the door is in."""
        area = text(door, "enters")
        return area if area in self.bag["area"] and area != text(door, "area") else None

    def lockdown_places(self, door_id: str, door: Document) -> Iterator[tuple[str, Document, str]]:
        """Whose lockdown shuts the door: an area also shuts those who would enter it from outside."""
        behind = self.area_entered(door)
        for kind, holder, identifier in self.places(door_id, door):
            if kind == "site" and behind is not None:
                yield "area", self.bag["area"][behind], behind
                behind = None
            yield kind, holder, identifier
        if behind is not None:
            yield "area", self.bag["area"][behind], behind

    def concerns_door(self, grant: Document, door_id: str, door: Document) -> bool:
        if grant["effect"] == "deny" and text(grant, "area") is not None and text(grant, "area") == self.area_entered(door):
            self.met["a deny of the area that is entered"] += 1
            return True
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
