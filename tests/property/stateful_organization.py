"""Strategies of an organization whose doors ask what memory can't know: areas of every kind, pairs, first persons, PINs, passes.

Few names, so that persons meet at doors; what is drawn at the beginning is drawn again, piece by piece, while attempts go on.
"""

from hypothesis import strategies as st

from tests.property.oracle import Document, Json

PERSONS = ("anna", "ben", "cara", "dora")
AREAS = ("hall", "lab", "vault")
DOORS = ("entry", "exit", "pair", "early", "keypad", "any")
PASSES = ("p0", "p1", "p2")
GRANTS = tuple(f"g{number}" for number in range(9))
MINUTES = 20

ALWAYS: dict[str, Json] = {"valid_from": None, "valid_until": None}
AREA_OF = st.sampled_from(AREAS)
MAYBE_AREA = st.sampled_from((None, None, *AREAS, "no-area"))
AREA: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {
        "site": st.just("hq"),
        "locked_down": st.just(False),
        "anti_passback": st.sampled_from(("off", "soft", "soft", "hard", "hard", "timed", "timed")),
        "anti_passback_minutes": st.sampled_from((None, MINUTES, MINUTES)),
        "occupancy_max": st.sampled_from((None, None, 0, 1, 2)),
    }
)


def door(
    mode: st.SearchStrategy[str],
    enters: st.SearchStrategy[str | None],
    leaves: st.SearchStrategy[str | None],
    seconds: st.SearchStrategy[int | None],
) -> st.SearchStrategy[Document]:
    terms: dict[str, st.SearchStrategy[Json]] = {"mode": mode, "enters": enters, "leaves": leaves, "two_persons_seconds": seconds}
    fixed: Document = {"site": "hq", "area": None, "lock": None, "locked_down": False, "modes": []}
    return st.fixed_dictionaries(terms).map(lambda drawn: {**fixed, **drawn})


LOCKED, NOWHERE, ALONE = st.just("locked"), st.none(), st.none()
PAIRED = st.sampled_from((60, 60, 60, 0, None))
DOCUMENTS: dict[str, st.SearchStrategy[Document]] = {
    "entry": door(st.sampled_from(("locked", "locked", "unlocked")), AREA_OF, st.sampled_from((None, None, *AREAS)), ALONE),
    "exit": door(LOCKED, NOWHERE, AREA_OF, ALONE),
    "pair": door(LOCKED, MAYBE_AREA, MAYBE_AREA, PAIRED),
    "early": door(st.just("first_person_in"), MAYBE_AREA, NOWHERE, st.sampled_from((None, None, 60))),
    "keypad": door(st.just("card_and_pin"), MAYBE_AREA, NOWHERE, st.sampled_from((None, None, None, 60))),
    "any": door(st.sampled_from(("locked", "unlocked", "first_person_in", "card_and_pin")), MAYBE_AREA, MAYBE_AREA, PAIRED),
}
LIMIT: st.SearchStrategy[Json] = st.fixed_dictionaries({"pass": st.sampled_from(PASSES), "uses": st.sampled_from((0, 1, 2, 2, 3, 5))})
COUNTS: st.SearchStrategy[Json] = st.lists(LIMIT, min_size=1, max_size=2)
TERMS: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.fixed_dictionaries({"id": st.sampled_from(PASSES), "given_by": st.sampled_from((None, None, None, *PERSONS)), "counts": COUNTS}),
)
PLACE: st.SearchStrategy[dict[str, Json]] = st.one_of(
    st.just({"site": "hq"}), st.just({"site": "hq"}), st.sampled_from([{"door": name} for name in DOORS])
)
EFFECT: st.SearchStrategy[Json] = st.sampled_from(("allow",) * 30 + ("deny",))
GRANT: st.SearchStrategy[Document] = st.builds(
    lambda person, place, terms, effect: {"person": person, **place, "effect": effect, "schedule": None, "pass": terms, **ALWAYS},
    st.sampled_from(PERSONS),
    PLACE,
    TERMS,
    EFFECT,
)
PERSON_STATE = st.sampled_from(("active",) * 20 + ("suspended",))
PERSON: st.SearchStrategy[Document] = PERSON_STATE.map(
    lambda state: {"state": state, "groups": [], "roles": [], "tokens_valid_after": 0, **ALWAYS}
)
ZONE = st.sampled_from(("Europe/Berlin",) * 9 + ("Mars/Olympus_Mons",))
SITE: st.SearchStrategy[Document] = ZONE.map(lambda zone: {"time_zone": zone, "locked_down": False})


def image(kind: str, identifier: str, document: st.SearchStrategy[Document]) -> st.SearchStrategy[Document]:
    return document.map(lambda drawn: {"kind": kind, "id": identifier, "document": drawn})


OBJECTS: list[st.SearchStrategy[Document]] = [
    image("organization", "acme", st.just({"name": "Acme", "active": True})),
    image("site", "hq", SITE),
    *(image("area", name, AREA) for name in AREAS),
    *(image("door", name, DOCUMENTS[name]) for name in DOORS),
    *(image("person", name, PERSON) for name in PERSONS),
    *(image("grant", name, GRANT) for name in GRANTS),
]
SNAPSHOT = st.tuples(*OBJECTS).map(list)
NO_GRANT: st.SearchStrategy[Document] = st.sampled_from(GRANTS).map(lambda name: {"kind": "grant", "id": name, "document": None})
CHANGE = st.one_of(NO_GRANT, *OBJECTS[1:])
