"""Lists, page by page: whatever is asked, the pages one after the other are what a plain sort of all objects gives, and come to an end.

The store is the embedded server. What it can't show: that a server that stops at the limit reads no more than a page.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_service.errors import Problem
from py_service.paging import write_cursor
from py_service.permissions import pages as pages_module
from py_service.permissions.listing import PLACE_BYTES_MAX, folded, name_key, stored_object
from py_service.permissions.pages import (
    CURSOR_CHARACTERS_MAX,
    LIST_CHARACTERS_MAX,
    READS_MAX,
    Asked,
    ListObjects,
    Sort,
    TimeSort,
    read_query,
)
from py_service.permissions.text import clean_name
from py_service.stores.indexes import make_indexes
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo
from tests.integration.store_server import store_server

SITES = ("a", "b", "c")
NAMES = ("", "ada", "Ada", "ADA b", "ada:b", "ada;", "adé", "ß", "SS", "ﬁn", "\U0001f600", "b")
ORGANIZATIONS = count(1)
LIST = "l" * LIST_CHARACTERS_MAX  # its name in a cursor, as long as one may be
KNOWN: dict[str, Any] = {"limit": int, "cursor": str, "sort": Sort, "name": str, "group": str}


@dataclass(frozen=True, slots=True)
class Store:
    """The server, and the loop that its client belongs to."""

    mongo: Mongo
    runner: asyncio.Runner

    def put(self, organization: str, kind: str, bodies: list[Document], old: bool = False) -> list[Document]:
        documents = [stored_object(organization, kind, body) for body in bodies]
        for document in documents if old else ():
            document["by_name"] = name_key(organization, "", document["id"])
        collection = self.mongo.database[OBJECT_COLLECTIONS[kind]]
        if documents:
            self.runner.run(_insert(collection, documents))
        return documents

    def pages(self, organization: str, kind: str, asked: Asked) -> list[list[str]]:
        """All of them, by following the cursors as a client does."""
        made: list[list[str]] = []
        while True:
            page, cursor = self.runner.run(_page(ListObjects(self.mongo), organization, kind, asked))
            made.append([str(document["id"]) for document in page])
            if cursor is None:
                return made
            following = read_query(LIST, KNOWN, {"cursor": cursor}, None).after
            assert following is not None and following != asked.after
            asked = replace(asked, after=following)


async def _insert(collection: Any, documents: list[Document]) -> None:
    await collection.insert_many(documents)


async def _page(lists: ListObjects, organization: str, kind: str, asked: Asked) -> tuple[list[Document], str | None]:
    return await lists(organization, kind, asked)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store_server(tmp_path_factory.mktemp("pages-store")) as url, asyncio.Runner() as runner:
        mongo = Mongo(url, "pages", 5_000)
        runner.run(make_indexes(mongo.database))
        yield Store(mongo, runner)
        runner.run(mongo.close())


def expected(documents: list[Document], asked: Asked, *keys: str) -> list[str]:
    """The slow twin: every object is looked at."""
    wanted = []
    for document in documents:
        begins = folded(str(document.get("name") or "")).startswith(folded(asked.begins))
        sites = {listed.partition(":at=")[2] for listed in document["listed"] if ":at=" in listed}
        reached = asked.sites is None or (bool(sites & set(asked.sites)) and sites <= set(asked.sites))
        if "by_name" in document and begins and reached and set(keys) <= set(document["listed"]):
            wanted.append(document)
    return [str(one["id"]) for one in sorted(wanted, key=lambda one: str(one["by_name"]), reverse=asked.descending)]


Made = tuple[str, str, str | None, str, int | None, bool]


@dataclass(frozen=True, slots=True)
class Row:
    """A grant or a pass. `old`: placed by a version that knew no order of time."""

    id: str
    site: str
    person: str
    schedule: str | None
    name: str
    created_at: int | None
    old: bool

    def is_old(self, kind: str) -> bool:
        return kind == "grant" and self.old

    def body(self, kind: str) -> Document:
        body: Document = {"id": self.id, "schedule": self.schedule, "at_site": self.site, "created_at": self.created_at}
        if kind == "pass":
            return {**body, "name": self.name, "doors": [f"d-{self.site}"], "concerns": [self.person]}
        return {**body, "effect": "allow", "door": f"d-{self.site}", "person": self.person}

    def is_wanted(self, asked: Asked) -> bool:
        """Said in plain Python."""
        own = {"person": self.person, "schedule": self.schedule, "site": self.site, "door": f"d-{self.site}", "effect": "allow"}
        named = all(own[name] == value for name, value in asked.filters)
        return named and folded(self.name).startswith(folded(asked.begins)) and (asked.sites is None or self.site in asked.sites)

    def order(self, kind: str) -> tuple[Any, ...]:
        if kind == "pass":
            return (f"{folded(self.name)}:{self.id}",)
        return (0, self.id) if self.old or self.created_at is None else (1, self.created_at, self.id)


bodies = st.lists(
    st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(SITES), unique=True, min_size=1), st.booleans(), st.booleans()),
    min_size=10, max_size=40,
)  # fmt: skip
questions = st.builds(
    Asked, st.integers(1, 4), st.none(), st.booleans(), st.sampled_from(("", "a", "A", "ada", "ada:", "S", "x")), st.just(()),
    st.none() | st.lists(st.sampled_from(SITES), unique=True), st.just(LIST),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, questions)
def test_pages_are_what_a_sort_gives(store: Store, made: list[tuple[str, list[str], bool, bool]], asked: Asked) -> None:
    """Plans: of all, of several sites at once, by the beginning of their names; many with the same name."""
    organization = f"o{next(ORGANIZATIONS)}"
    rows = [
        {"id": f"p{number}", "name": name, "at_sites": at_sites, **({"ended_at": 5} if ended and named else {})}
        for number, (name, at_sites, ended, named) in enumerate(made)
    ]
    documents = store.put(organization, "lockdown_plan", rows)
    pages = store.pages(organization, "lockdown_plan", asked)
    assert [one for page in pages for one in page] == expected(documents, asked)
    assert all(len(page) == asked.limit for page in pages[:-1])
    # By a filter: those that name something, among others.
    rows = [{"id": f"q{number}", "name": name, "groups": ["g"] if named else []} for number, (name, _, _, named) in enumerate(made)]
    documents = store.put(organization, "person", [{"id": "other", "name": "ada", "groups": ["other"]}, *rows])
    asked = replace(asked, filters=(("state", "active"),), sites=None, begins="")
    documents += store.put(
        organization, "person", [{"id": f"s{number}", "name": row["name"], "state": "active"} for number, row in enumerate(rows)]
    )
    pages = store.pages(organization, "person", asked)
    assert [one for page in pages for one in page] == expected(documents, asked, f"{organization}:state=active")
    assert all(len(page) == asked.limit for page in pages[:-1])


rows_at_a_site = st.lists(
    st.tuples(
        st.sampled_from(SITES), st.sampled_from(("p", "q")), st.sampled_from(("s", "t", None)), st.sampled_from(NAMES),
        st.none() | st.sampled_from((1, 2, 10, 1_795_600_000_000)), st.booleans(),
    ),
    min_size=36, max_size=40,
)  # fmt: skip
FILTERS = {
    "person": ("p", "q", "r"),
    "schedule": ("s", "t"),
    "effect": ("allow", "deny"),
    "door": ("d-a", "d-b"),
    "site": ("a", "b"),
}
drawn_filters = st.lists(
    st.sampled_from([(name, value) for name, values in FILTERS.items() for value in values]), unique_by=lambda one: one[0], max_size=3
)
in_a_row = st.booleans()  # whether all of a site lie together: as much as there can be between two that show
NO_EFFECT, NO_SITE = {"pass": "effect"}, {"grant": "site"}  # a pass has no effect, and these grants are at the sites of their doors
REACHES: tuple[list[str] | None, ...] = (None, ["a"], ["b"], ["a", "b"], ["b", "a"], ["c", "a"])
BEGINNINGS = ("", "", "a", "ADA", "ada:", "s", "x")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows_at_a_site,
    st.sampled_from(("grant", "pass")),
    drawn_filters,
    st.sampled_from(BEGINNINGS),
    st.sampled_from(REACHES),
    in_a_row,
    questions,
)
def test_several_filters_are_what_plain_python_keeps_and_tell_nothing_of_other_sites(
    store: Store,
    made: list[Made],
    kind: str,
    chosen: list[tuple[str, str]],
    begins: str,
    sites: list[str] | None,
    together: bool,
    asked: Asked,
) -> None:
    """Pages by filters, and by a name's beginning, are what a sort gives of what is within reach, each of them full: their lengths are
    those of a store that has nothing else. Grants are in the order of time; some stand where a version before placed them."""
    filters = tuple(one for one in chosen if one[0] not in (NO_EFFECT.get(kind), NO_SITE.get(kind)))
    asked = replace(asked, limit=1 + asked.limit // 4, filters=filters, begins=begins if kind == "pass" else "", sites=sites)
    rows = [Row(f"g{number:02}", *fields) for number, fields in enumerate(sorted(made, key=lambda one: one[0]) if together else made)]
    # More than may be read for a page, in one place among what is drawn.
    far = 0 if sites is None or "c" in sites else 60
    elsewhere = [Row(f"h{number:02}", "c", "p", "s", "ada c", 5, False) for number in range(far)]
    hidden = {("door", "d-a"): "a", ("door", "d-b"): "b", ("site", "a"): "a", ("site", "b"): "b"}
    beyond = sites is not None and not {hidden[one] for one in filters if one in hidden} <= set(sites)
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages_module, "LOOKED_THROUGH_AT_ONCE", 5)
        patch.setattr(pages_module, "READS_MAX", 9)
        for held in (rows + elsewhere, [row for row in rows if row.site in (sites or SITES)]):
            organization = f"o{next(ORGANIZATIONS)}"
            store.put(organization, "site", [{"id": site, "name": site} for site in "ab"])
            store.put(organization, "door", [{"id": f"d-{site}", "name": "d", "site": site} for site in "ab"])
            store.put(organization, "person", [{"id": name, "name": name} for name in FILTERS["person"]])
            store.put(organization, "schedule", [{"id": name, "name": name} for name in FILTERS["schedule"]])
            store.put(organization, kind, [row.body(kind) for row in held if not row.is_old(kind)])
            store.put(organization, kind, [row.body(kind) for row in held if row.is_old(kind)], old=True)
            if beyond:
                with pytest.raises(Problem, match=r"no such (door|site)"):
                    store.pages(organization, kind, asked)
                continue
            pages = store.pages(organization, kind, asked)
            wanted = sorted((row for row in held if row.is_wanted(asked)), key=lambda row: row.order(kind), reverse=asked.descending)
            assert [one for page in pages for one in page] == [row.id for row in wanted]
            assert all(len(page) == asked.limit for page in pages[:-1])
            shown.append(pages)
    assert beyond or shown[0] == shown[1]


LIGATURE = "\ufdfa"  # 18 characters when it is folded, 33 bytes: no other is longer


def test_no_character_grows_more_when_it_is_folded() -> None:
    """Of those that a name may have: what the tests of long names are made of is the worst there is."""
    grown = dict[str, int]()
    for code in (*range(0xD800), *range(0xE000, 0x110000)):
        try:
            grown[chr(code)] = len(folded(clean_name(chr(code))).encode())
        except Problem:
            continue
    assert (max(grown, key=grown.__getitem__), grown[LIGATURE]) == (LIGATURE, 33)
    assert 200 * 4 < PLACE_BYTES_MAX < 200 * 33


@pytest.mark.parametrize("descending", [False, True])
def test_a_list_goes_on_behind_the_longest_names(store: Store, descending: bool) -> None:
    """Names that differ before the place ends, after it, and not at all; the longest cursor there can be is among them."""
    organization = f"long-{descending}"
    names = [
        "a" + LIGATURE * 199,
        "a" + LIGATURE * 198 + "x",
        LIGATURE * 200,
        LIGATURE * 200,
        LIGATURE * 199 + "y",
        "a",
        "\U0001f600" * 200,
    ]
    rows = [{"id": f"{number}".rjust(64, "i"), "name": clean_name(name)} for number, name in enumerate(names)]
    documents = store.put(organization, "lockdown_plan", rows)
    for begins, found in (("", 7), ("a", 3), ("a" + LIGATURE * 40, 2), ("a" + LIGATURE * 199, 1), (LIGATURE * 200, 2), (LIGATURE, 3)):
        asked = Asked(1, None, descending, begins, (), None, LIST)
        pages = store.pages(organization, "lockdown_plan", asked)
        assert [one for page in pages for one in page] == expected(documents, asked)
        assert sum(map(len, pages)) == found
    places = [str(document["by_name"]).removeprefix(f"{organization}:") for document in documents]
    assert max(len(write_cursor(LIST, place)) for place in places) == CURSOR_CHARACTERS_MAX


def test_what_is_not_for_the_caller_is_passed_over_and_the_list_goes_on(store: Store) -> None:
    """Where so much of it lies in between that a page is not filled, it is short, and its cursor goes on behind."""
    rows = [{"id": f"p{number:03}", "name": "plan", "at_sites": ["a", "b"] if number % 50 else ["a"]} for number in range(200)]
    store.put("far", "lockdown_plan", rows)
    asked = Asked(2, None, False, "", (), ["a"], LIST)
    pages = store.pages("far", "lockdown_plan", asked)
    assert [one for page in pages for one in page] == ["p000", "p050", "p100", "p150"]
    assert any(len(page) < asked.limit for page in pages[:-1])
    assert len(pages) <= 4 + 200 // (READS_MAX * (asked.limit + 1))


def test_a_stage_that_is_not_live_is_in_no_list(store: Store) -> None:
    """However much of it lies between what shows: pages are as full as without it."""
    store.put("stages", "organization", [{"id": "stages", "name": "Stages", "stages_live": 2}])
    rows = [{"id": f"p{number:03}", "name": "ada", "state": "active", "staged": 3 if number % 50 else number % 4} for number in range(200)]
    documents = store.put("stages", "person", rows)
    shown = [one for one in documents if one["staged"] < 3]
    rows_of: dict[tuple[tuple[str, str], ...], list[str]] = {(): [], (("state", "active"),): ["stages:state=active"]}
    for chosen, keys in rows_of.items():
        asked = Asked(2, None, False, "", chosen, None, LIST)
        pages = store.pages("stages", "person", asked)
        assert [one for page in pages for one in page] == expected(shown, asked, *keys)
        assert [len(page) for page in pages] == [2, 2]


@pytest.mark.parametrize("descending", [False, True])
def test_no_site_is_read_ahead_of_another(store: Store, descending: bool) -> None:
    """What one site has further on waits until the other site has come so far, past what is not for the caller."""
    organization = f"ahead-{descending}"
    hidden = [{"id": f"h{number:02}", "name": f"m{number:02}", "at_sites": ["a", "c"]} for number in range(30)]
    seen = [
        {"id": name, "name": name, "at_sites": [site]} for name, site in (("m15", "a"), ("b1", "b"), ("b2", "b"), ("z1", "b"), ("z2", "b"))
    ]
    documents = store.put(organization, "lockdown_plan", [*hidden, *seen])
    asked = Asked(1, None, descending, "", (), ["a", "b"], LIST)
    pages = store.pages(organization, "lockdown_plan", asked)
    assert [one for page in pages for one in page] == expected(documents, asked)
    assert expected(documents, asked)[2] == "m15"


def test_a_foreign_or_broken_cursor_shows_nothing_of_others(store: Store) -> None:
    """A cursor's place is only ever compared within the organization's own range."""
    for organization in ("acme", "acme-2"):
        store.put(organization, "door", [{"id": f"{organization}-{name}", "name": name, "site": "a"} for name in ("x", "y")])
    drawn = random.Random(7)
    places = ["", ";", ":", "\x00", "\U0010ffff", "acme-2:x", *(chr(drawn.randrange(1, 0xD7FF)) for _ in range(10))]
    for place in places:
        after = read_query(LIST, KNOWN, {"cursor": write_cursor(LIST, place)}, None).after
        for descending in (False, True):
            for sites in (None, ["a"], ["a", "b"]):
                found = store.pages("acme", "door", Asked(1, after, descending, "", (), sites, LIST))
                assert {one for page in found for one in page} <= {"acme-x", "acme-y"}, place
    with pytest.raises(Problem):
        read_query(LIST, KNOWN, {"cursor": "bm9wZQ"}, None)


@pytest.mark.parametrize("descending", [False, True])
def test_a_cursor_from_before_grants_had_an_order_of_time_goes_on(store: Store, descending: bool) -> None:
    """It names a place among those that stand there still; what was given or changed since then is behind them."""
    organization = f"before-{descending}"
    store.put(organization, "grant", [{"id": f"g{number}", "effect": "allow", "created_at": number} for number in (1, 3, 4)], old=True)
    store.put(organization, "grant", [{"id": f"g{number}", "effect": "allow", "created_at": number} for number in (0, 2)])
    known = {**KNOWN, "sort": TimeSort}
    query = {"cursor": write_cursor(LIST, ":g3"), "sort": "-created_at"} if descending else {"cursor": write_cursor(LIST, ":g3")}
    pages = store.pages(organization, "grant", replace(read_query(LIST, known, query, None), limit=1))
    assert [one for page in pages for one in page] == (["g1"] if descending else ["g4", "g0", "g2"])
    asked = read_query(LIST, known, {"sort": "-created_at"} if descending else {}, None)
    everything = ["g1", "g3", "g4", "g0", "g2"]
    assert store.pages(organization, "grant", asked) == [everything[::-1] if descending else everything]
    with pytest.raises(Problem, match="created_at or -created_at"):
        read_query(LIST, known, {"sort": "name"}, None)


def test_an_older_store_gets_the_index_beside_its_own(store: Store) -> None:
    """As a version before left it: the index on `listed` alone."""
    database = store.mongo.client.get_database("older")

    async def upgraded() -> set[str]:
        await database["grants"].create_index([("listed", 1)])
        await database["grants"].insert_one(stored_object("o", "grant", {"id": "g", "door": "d"}))
        await make_indexes(database)
        return set(await database["grants"].index_information())

    assert store.runner.run(upgraded()) >= {"listed_1", "listed_1_by_name_1", "by_name_1", "org_1"}
