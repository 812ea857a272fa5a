"""Every route says what it is (`about`), in a form that the document of the API can be made from."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlencode

import msgspec
import pytest

from py_service.edge.codec import read_query
from py_service.edge.limits import Limits
from py_service.exchange import Media, Route
from py_service.identifiers import IN_PATHS, KIND, PATTERN
from py_service.permissions.pages import CURSOR_CHARACTERS_MAX, NARROWEST_FIRST, OF_THE_PAGE
from tests.e2e.route_table import route_table

CODE = re.compile(r"[45]\d\d [a-z_]+\Z")
BODY_METHODS = {"POST", "PUT", "PATCH"}
CHOSEN_BY_THE_CALLER = "id"  # the one identifier that names nothing yet


def name(route: Route) -> str:
    return f"{route.method} {route.pattern}"


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    return asyncio.run(route_table())


def test_every_route_says_what_it_is(routes: list[Route]) -> None:
    for route in routes:
        about = route.about
        assert about.summary and about.tag and not about.summary.endswith("."), name(route)
        assert about.answers and all(200 <= status < 400 for status in about.answers), name(route)
        assert set(about.needed) <= set(about.query), name(route)
        assert all(CODE.match(code) for code in about.codes) and len(set(about.codes)) == len(about.codes), name(route)
    assert len(routes) > 60


def test_a_route_that_takes_a_body_says_which(routes: list[Route]) -> None:
    for route in routes:
        takes = route.method in BODY_METHODS and route.body_bytes_max > 0
        assert (route.about.body is not None) == takes, f"{name(route)}: body_bytes_max={route.body_bytes_max}, body={route.about.body}"
        assert takes or route.body_bytes_max == 0, f"{name(route)} takes a body that it never reads"


def test_every_place_for_an_identifier_says_what_it_names(routes: list[Route]) -> None:
    """The tests with identifiers of another organization are made from this: what says nothing isn't tried."""
    for route in routes:
        for parameter in re.findall(r"{(\w+)}", route.pattern):
            assert parameter in IN_PATHS, f"{name(route)}: {{{parameter}}} has no type in py_service/identifiers.py"
        types = [type_ for type_ in (route.about.body, *route.about.query.values()) if type_ is not None]
        for place, schema in nameless(msgspec.json.schema_components(types)):
            assert place == CHOSEN_BY_THE_CALLER, f"{name(route)}: {place} takes an identifier of no kind: {schema}"


def test_lists_take_all_of_their_filters_at_once(routes: list[Route]) -> None:
    """With the beginning of a name of 200 characters, and the longest cursor; the order in which filters are read by has each of them."""
    filters = set[str]()
    for route in routes:
        if "sort" not in route.about.query:
            continue
        own = route.about.query.keys() - set(OF_THE_PAGE)
        filters |= own
        page = {"limit": "200", "sort": "-created_at", "name": "\U0001f600" * 200, "cursor": "c" * CURSOR_CHARACTERS_MAX}
        asked = page | {name: "i" * (254 if name == "email" else 64) for name in own}
        assert read_query(urlencode(asked), Limits()) == asked, name(route)
    judged_alone = {"active"}  # by no index, and by that name nowhere else
    assert filters == set(NARROWEST_FIRST) | judged_alone and len(filters) == len(NARROWEST_FIRST) + len(judged_alone)


def test_every_answer_is_a_type(routes: list[Route]) -> None:
    for route in routes:
        for status, answer in route.about.answers.items():
            if answer is None or isinstance(answer, Media):
                continue
            assert isinstance(answer, type) and issubclass(answer, msgspec.Struct), f"{name(route)} {status}: {answer}"


def nameless(found: object, place: str = "") -> list[tuple[str, object]]:
    """Schemas of identifiers without a kind, each with the field where it stands."""
    if isinstance(found, list | tuple):
        return [problem for item in found for problem in nameless(item, place)]
    if not isinstance(found, dict):
        return []
    if found.get("pattern") == PATTERN and KIND not in found:
        return [(place, found)]
    named = {"properties", "$defs"}
    return [
        problem
        for key, value in found.items()
        for problem in (
            [item for field, schema in value.items() for item in nameless(schema, field)]
            if key in named and isinstance(value, dict)
            else nameless(value, place)
        )
    ]


def test_an_identifier_of_no_kind_is_found() -> None:
    body = {"properties": {"door": {"anyOf": [{"type": "string", "pattern": PATTERN}, {"type": "null"}]}}}
    assert [place for place, _ in nameless(body)] == ["door"]
    assert nameless({"properties": {"door": {"type": "string", "pattern": PATTERN, KIND: "door"}}}) == []
