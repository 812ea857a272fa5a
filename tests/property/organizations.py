"""Strategies of small, nasty organizations: few names, so that everything meets everything, and times that cluster at edges."""

import datetime
import itertools
from collections.abc import Iterator

from hypothesis import strategies as st

from tests.property.oracle import EPOCH, Document, Json, zone

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Africa/Cairo")
UNKNOWN_ZONE = "Mars/Olympus_Mons"
# The first three hold whatever is drawn, the others give and receive passes; of six the fifth giver is one too many.
PERSONS = ("anna", "ben", "a" * 64, "cara", "dora", "emil")
DOORS = ("front", "back", "vault", "d" + "0" * 63)
AREAS = ("lobby", "lab")
SITES = ("east", "west", "south")
GROUPS = ("staff", "guards", "all", "night")
SCHEDULES = ("office", "overnight", "odd")
CALENDARS = ("feasts", "strikes")
GRANTS = ("x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8")
CHAINED = ("c0", "c1", "c2", "c3", "c4", "c5")
PASSES = ("p0", "p1", "p2", "p3")
MODES = ("locked", "unlocked", "first_person_in", "card_and_pin")
# Minutes around 02:00 are where most zones jump; midnight is where Cairo does.
CLOCKS = ("00:00", "00:30", "01:00", "01:30", "01:45", "02:00", "02:15", "02:30", "03:00", "03:30", "08:00", "18:00", "22:00", "23:59")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOUR_MS = 3_600_000


def milliseconds(moment: datetime.datetime) -> int:
    return (moment - EPOCH) // datetime.timedelta(milliseconds=1)


def transitions(name: str, first_year: int, last_year: int) -> Iterator[int]:
    """Instants at which the offset of a zone changes, found by walking hours and then halving."""
    rules = zone(name)
    assert rules is not None

    def offset(at_ms: int) -> datetime.timedelta | None:
        return (EPOCH + datetime.timedelta(milliseconds=at_ms)).astimezone(rules).utcoffset()

    start = milliseconds(datetime.datetime(first_year, 1, 1, tzinfo=datetime.UTC))
    end = milliseconds(datetime.datetime(last_year, 12, 31, tzinfo=datetime.UTC))
    for low, high in itertools.pairwise(range(start, end, 24 * HOUR_MS)):
        before, after = low, high
        while offset(low) != offset(high) and after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if offset(middle) == offset(low) else (before, middle)
        if offset(low) != offset(high):
            yield after


TRANSITIONS = sorted({at_ms for name in ZONES for at_ms in transitions(name, 2026, 2027)})
# Every local day on which some zone jumps, with its neighbours.
DATES = sorted(
    {
        ((EPOCH + datetime.timedelta(milliseconds=at_ms)).astimezone(zone(name)).date() + datetime.timedelta(days=days)).isoformat()
        for at_ms in TRANSITIONS
        for name in ZONES
        for days in (-1, 0, 1)
    }
)


def wall_instants(date: str, clock: str, name: str, fold: int) -> int:
    """The instant at which a wall clock shows `clock`; in a gap the one that `fold` makes of it."""
    moment = datetime.datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=zone(name), fold=fold)
    return milliseconds(moment.astimezone(datetime.UTC))


AROUND_MS = st.sampled_from((-1, 0, 1, -HOUR_MS, HOUR_MS, -HOUR_MS // 2, HOUR_MS // 2, HOUR_MS - 1, 12 * HOUR_MS))
EDGES = st.builds(wall_instants, st.sampled_from(DATES), st.sampled_from(CLOCKS), st.sampled_from(ZONES), st.sampled_from((0, 1)))
FAR = st.integers(-2_000_000_000_000, 6_000_000_000_000)
INSTANTS = st.one_of(st.builds(int.__add__, st.sampled_from(TRANSITIONS), AROUND_MS), st.builds(int.__add__, EDGES, AROUND_MS), EDGES, FAR)

YES_MOSTLY = st.sampled_from((True,) * 15 + (False,))
NO_MOSTLY = st.sampled_from((False,) * 30 + (True,))
STAGED = {"staged": st.sampled_from((0,) * 12 + (1, 2, 3, 4_294_967_295))}  # what came with an import of all or nothing
BOUND = st.sampled_from((None,) * 40 + (*TRANSITIONS[:3], *TRANSITIONS[-3:]))
CLOCK = st.sampled_from(CLOCKS)
PLAIN_WINDOW = st.fixed_dictionaries({"start": CLOCK, "end": st.sampled_from((*CLOCKS, "24:00"))})
WEEKLY_WINDOW = st.fixed_dictionaries(
    {"days": st.lists(st.sampled_from(WEEKDAYS), max_size=7), "start": CLOCK, "end": st.sampled_from((*CLOCKS, "24:00"))}
)
EXCEPTION: st.SearchStrategy[Json] = st.fixed_dictionaries({"date": st.sampled_from(DATES), "windows": st.lists(PLAIN_WINDOW, max_size=2)})


def maybe(names: tuple[str, ...]) -> st.SearchStrategy[str | None]:
    return st.sampled_from((None, *names))


def one_of_fields(fields: dict[str, tuple[str, ...]]) -> st.SearchStrategy[dict[str, str | None]]:
    """Exactly one of the fields is set, the others are there as null or not at all."""
    chosen = st.one_of([st.tuples(st.just(field), st.sampled_from(names)) for field, names in fields.items()])
    return st.builds(
        lambda pair, present: {**(dict.fromkeys(fields) if present else {}), pair[0]: pair[1]},
        chosen,
        st.booleans(),
    )


# One pass may be named twice: the tighter number counts, and a use is one use.
COUNT: st.SearchStrategy[Json] = st.fixed_dictionaries({"pass": st.sampled_from(PASSES), "uses": st.integers(0, 3)})
COUNTS: st.SearchStrategy[Json] = st.lists(COUNT, max_size=2)
PASS = st.fixed_dictionaries({"id": st.sampled_from(PASSES), "given_by": maybe((*PERSONS, "nobody")), "counts": COUNTS})


def with_pass(grant: dict[str, Json], terms: Json) -> dict[str, Json]:
    """Only what one person was given can have come out of a pass."""
    return grant | {"pass": terms} if grant.get("person") is not None else grant


GRANT = st.builds(
    lambda subject, place, rest, terms: with_pass({**subject, **place, **rest}, terms),
    one_of_fields({"person": PERSONS[:3], "group": GROUPS}),
    one_of_fields({"door": DOORS, "area": AREAS, "site": SITES}),
    st.fixed_dictionaries(
        {"effect": st.sampled_from(("allow",) * 5 + ("deny",)), "schedule": maybe(SCHEDULES), "valid_from": BOUND, "valid_until": BOUND},
        optional=STAGED,
    ),
    st.one_of(st.none(), PASS),
)


def chained(level: int) -> st.SearchStrategy[Document]:
    """The grant with which the person of this level got what the one before passed on; the first has it from a manager."""
    giver = None if level == 0 else PERSONS[level - 1]
    terms = st.fixed_dictionaries({"id": st.sampled_from(PASSES), "given_by": st.just(giver), "counts": COUNTS})
    place: dict[str, st.SearchStrategy[Json]] = {"person": st.just(PERSONS[level]), "door": st.just(DOORS[2])}
    rest: dict[str, st.SearchStrategy[Json]] = {"effect": st.just("allow"), "valid_from": BOUND, "valid_until": BOUND}
    often: st.SearchStrategy[Json] = st.sampled_from((None,) * 9 + SCHEDULES)
    return st.fixed_dictionaries({**place, **rest, "schedule": often, "pass": terms})


SCHEDULED_MODES: st.SearchStrategy[Json] = st.lists(
    st.fixed_dictionaries({"schedule": st.sampled_from((*SCHEDULES, "never-made")), "mode": st.sampled_from(MODES)}), max_size=2
)
LIMIT: st.SearchStrategy[Json] = st.sampled_from((None, None, 0, 2))
DOCUMENTS: dict[str, tuple[tuple[str, ...], st.SearchStrategy[Document]]] = {
    "organization": (
        ("acme",),
        st.fixed_dictionaries({"name": st.just("Acme"), "active": YES_MOSTLY}, optional={"stages_live": st.integers(0, 3)}),
    ),
    "site": (SITES, st.fixed_dictionaries({"time_zone": st.sampled_from(ZONES * 3 + (UNKNOWN_ZONE,)), "locked_down": NO_MOSTLY})),
    "area": (
        AREAS,
        st.fixed_dictionaries(
            {"site": st.sampled_from(SITES), "locked_down": NO_MOSTLY},
            optional={
                "anti_passback": st.sampled_from(("off", "off", "soft", "hard", "timed")),
                "anti_passback_minutes": st.sampled_from((None, 30)),
                "occupancy_max": LIMIT,
            },
        ),
    ),
    "door": (
        DOORS,
        st.fixed_dictionaries(
            {
                "name": st.just("A door"),
                "site": st.sampled_from(SITES),
                "area": maybe(AREAS),
                "lock": st.none(),
                "mode": st.sampled_from(("locked",) * 9 + MODES[1:]),
                "locked_down": NO_MOSTLY,
            },
            optional={
                "modes": SCHEDULED_MODES,
                "enters": maybe((*AREAS, "no-area")),
                "leaves": maybe((*AREAS, "no-area")),
                "two_persons_seconds": LIMIT,
            },
        ),
    ),
    "person": (
        PERSONS,
        st.fixed_dictionaries(
            {
                "state": st.sampled_from(("active",) * 15 + ("suspended",)),
                "valid_from": BOUND,
                "valid_until": BOUND,
                "groups": st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3),
                "roles": st.just([]),
                "tokens_valid_after": st.just(0),
            },
            optional=STAGED,
        ),
    ),
    "group": (GROUPS, st.fixed_dictionaries({"name": st.just("A group"), "includes": st.lists(st.sampled_from(GROUPS), max_size=2)})),
    "schedule": (
        SCHEDULES,
        st.fixed_dictionaries(
            {
                "windows": st.lists(WEEKLY_WINDOW, min_size=1, max_size=4),
                "calendar": st.sampled_from((None, *CALENDARS)),
                "holiday_windows": st.lists(PLAIN_WINDOW, max_size=2),
                "exceptions": st.lists(EXCEPTION, max_size=3),
            }
        ),
    ),
    "calendar": (CALENDARS, st.fixed_dictionaries({"dates": st.lists(st.sampled_from(DATES), min_size=10, max_size=30)})),
    "grant": (GRANTS, GRANT),
}
CHAIN = [
    st.fixed_dictionaries({"kind": st.just("grant"), "id": st.just(grant), "document": chained(level)})
    for level, grant in enumerate(CHAINED)
]


def image(kind: str, tombstones: bool) -> st.SearchStrategy[Document]:
    names, document = DOCUMENTS[kind]
    content = st.one_of(document, document, document, document, st.none()) if tombstones else document
    return st.fixed_dictionaries({"kind": st.just(kind), "id": st.sampled_from(names), "document": content})


def whole(kind: str) -> st.SearchStrategy[list[Document]]:
    """One image for each name of a kind."""
    names, document = DOCUMENTS[kind]
    return st.tuples(*(st.fixed_dictionaries({"kind": st.just(kind), "id": st.just(name), "document": document}) for name in names)).map(
        list
    )


# All names, in any order, minus a few: what is missing is named by others all the same.
SNAPSHOT = (
    st.tuples(*(whole(kind) for kind in DOCUMENTS), st.tuples(*CHAIN).map(list))
    .map(lambda kinds: [image for images in kinds for image in images])
    .flatmap(lambda images: st.tuples(st.permutations(images), st.integers(0, 4)))
    .map(lambda drawn: list(drawn[0])[drawn[1] :])
)
ANY_IMAGE = st.sampled_from(
    (*DOCUMENTS, *("site", "area", "door", "person", "group", "schedule", "calendar", "grant", "grant") * 3)
).flatmap(lambda kind: image(kind, tombstones=True))
RECORD = st.lists(ANY_IMAGE, min_size=1, max_size=4)
