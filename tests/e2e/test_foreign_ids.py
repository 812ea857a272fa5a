"""Identifiers of another organization, wherever one fits: generated from the document of the running service, every operation.

Each answer is 404 (or the refusal that is documented), the same as for an identifier that nobody has, and nothing is changed anywhere.
What the identifiers name is made through the API too, from the document's own examples, so a new operation is tried from its first day.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from py_service.demo.organization import DemoOrganization
from py_service.identity.sessions import COLLECTION, Session
from py_service.stores.mongo import now_ms
from tests.e2e.conformance import Conformance, conformance_of
from tests.e2e.described import NO_KIND, Asking, Described, Place, kind_made_by, made_objects, operations, stands
from tests.e2e.evidence import projected, standing
from tests.e2e.running import TOKEN_MS, Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODYS = "nobody-has-this"
NOBODYS_OTHERWISE = {"attempt": "unlocks-0000000000000000:000000000001:000"}  # kinds whose identifiers have another form
# Operations whose examples name what only one person knows (a password, a token): they are refused, whoever asks.
SECRET_EXAMPLES = {
    "POST /v1/sign-in", "POST /v1/refresh", "POST /v1/passes/accept", "POST /v1/me/passes", "POST /v1/invitations/accept",
    "POST /v1/password-reset/confirm", "PUT /v1/me/password",
}  # fmt: skip
SECRET_UNKNOWN = {
    (401, "sign_in_failed"), (401, "refresh_token_unknown"), (404, "pass_unknown"), (404, "invitation_unknown"), (403, "password_wrong"),
    (401, "reset_token_unknown"),
}  # fmt: skip
BEFORE_OTHERS = {"PUT /v1/imports/{import}/parts/{part}"}  # what another one makes impossible
PROVED_BY_DEVICES = "assertion_refused"  # what a device hears whose proof isn't good, whatever is wrong with it


@dataclass(frozen=True, slots=True)
class Side:
    """An organization with an owner, and identifiers of what it has, by kind."""

    headers: dict[str, str]
    identifiers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sides:
    """The service, its operations, and two organizations that have the same and know nothing of each other."""

    service: Service
    http: httpx.AsyncClient
    operations: list[Described]
    conformance: Conformance
    own: Side
    foreign: Side

    async def ask(self, asking: Asking, side: Side) -> httpx.Response:
        """The answer, which the document knows (the client's hook has checked)."""
        return await asking.send(self.http, side.headers)


async def begun_session(service: Service, organization: DemoOrganization) -> str:
    """A session of the organization's owner; without the cost of a sign-in."""
    session = Session(f"of-{organization.id}", organization.id, organization.cast["owner"].id, 1, 1, now_ms() + TOKEN_MS, "a test")
    await service.database[COLLECTION].insert_one(session.document())
    return session.id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sides(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sides]:
    async with running_service(tmp_path_factory.mktemp("foreign-ids"), locks=False, doors=4, persons=12) as service:
        conformance = await conformance_of(service)
        described = operations(conformance.document)
        async with service.client(hook=conformance.hook) as http:
            found: list[Side] = []
            for organization in (service.demo, service.neighbour):
                side = Side(service.headers(organization.cast["owner"].id, organization.id), {"organization": organization.id})
                await made_objects(http, described, side.headers, side.identifiers)
                answer = await http.post(f"/v1/doors/{organization.doors()[0]}/unlock", headers=side.headers)
                side.identifiers["attempt"] = answer.json()["id"]
                side.identifiers["session"] = await begun_session(service, organization)
                found.append(side)
            await projected(service)
            yield Sides(service, http, described, conformance, *found)


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(sides: Sides) -> AsyncIterator[None]:
    """Whatever the test asks for: the documents of both organizations stay as they are, byte for byte."""
    await projected(sides.service)  # what tests before this one did is counted first
    before = await standing(sides.service)
    assert {"persons", "grants", "changes", "sessions", "accounts"} <= before.keys()
    yield
    after = await standing(sides.service)
    assert [collection for collection in before if before[collection] != after[collection]] == []


def in_words(answer: httpx.Response) -> tuple[int, dict[str, object]]:
    """What is told, without what is of this one request."""
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "request_id"}


def refusal_is_right(described: Described, place: Place, answer: httpx.Response) -> bool:
    """404 by the name of its kind; or what is documented instead: a device's proof, a field that can't change at all."""
    code = answer.json().get("code")
    if answer.status_code == 404:
        return bool(code == f"{place.kind}_unknown")
    if not described.of_persons:
        return (answer.status_code, code) == (401, PROVED_BY_DEVICES)
    return (answer.status_code, code) == (422, "field_fixed") and described.method == "PATCH" and place.where == "body"


async def test_every_kind_of_identifier_is_had_by_both(sides: Sides) -> None:
    """A kind that can't be made from an example has to be made in the fixture."""
    kinds = {place.kind for described in sides.operations for place in described.places()} - {NO_KIND}
    assert kinds - sides.own.identifiers.keys() == set(), "say in the fixture how one of these is made"
    assert kinds - sides.foreign.identifiers.keys() == set()
    different = {kind for kind in kinds if sides.own.identifiers[kind] != sides.foreign.identifiers[kind]}
    assert different == kinds
    assert len(kinds) >= 12


async def test_identifiers_of_another_organization_are_unknown_wherever_one_fits(sides: Sides, unchanged: None) -> None:
    """Path, query and body of every operation, both ways: never 403, never a difference to what nobody has."""
    tried: dict[str, int] = {}
    for described in sides.operations:
        for place in described.places():
            if place.kind == NO_KIND:
                continue
            for own, foreign in ((sides.own, sides.foreign), (sides.foreign, sides.own)):
                known = own.identifiers
                nobodys = NOBODYS_OTHERWISE.get(place.kind, NOBODYS)
                right, told = 0, ""
                for with_theirs, with_nobodys in zip(
                    described.with_identifier(place, foreign.identifiers[place.kind], known),
                    described.with_identifier(place, nobodys, known),
                    strict=True,
                ):
                    answers = [await sides.ask(asking, own) for asking in (with_theirs, with_nobodys)]
                    assert in_words(answers[0]) == in_words(answers[1]), (described.name, place)
                    assert 400 <= answers[0].status_code < 500, (described.name, place, answers[0].text)
                    right += refusal_is_right(described, place, answers[0])
                    told = answers[0].text
                assert right, f"{described.name}: {place} is never asked for: {told}"
            tried[place.where] = tried.get(place.where, 0) + 1
    assert tried["path"] > 40 and tried["query"] > 15 and tried["body"] > 20, tried


async def test_a_body_that_names_only_what_is_anothers_is_refused(sides: Sides, unchanged: None) -> None:
    """What one organization sends with success, sent by the other: every identifier in it is foreign."""
    tried = 0
    for described in sides.operations:
        asking = described.good(sides.own.identifiers)
        if not described.of_persons or not any(place.kind for place in described.places() if place.where == "path" or is_in(asking, place)):
            continue
        answer = await sides.ask(asking, sides.foreign)
        assert answer.status_code == 404 and answer.json()["code"].endswith("_unknown"), (described.name, answer.text)
        tried += 1
    assert tried > 45


async def previewed(sides: Sides, asking: Asking, side: Side) -> httpx.Response:
    change = {"method": asking.method, "path": asking.path.format(**asking.identifiers)}
    body = {"changes": [change if asking.body is None else {**change, "body": asking.body}]}
    return await sides.http.post("/v1/access/preview", headers=side.headers, json=body)


async def test_a_preview_of_what_names_anothers_is_refused_as_the_change_is(sides: Sides, unchanged: None) -> None:
    """Every place in every change that can be previewed, both ways."""
    tried: dict[str, int] = {}
    for described in sides.operations:
        if described.method == "GET" or not described.of_persons:
            continue
        if (await previewed(sides, described.good(sides.own.identifiers), sides.own)).json().get("code") == "not_previewable":
            continue
        for place in described.places():
            for own, foreign in ((sides.own, sides.foreign), (sides.foreign, sides.own)):
                nobodys = NOBODYS_OTHERWISE.get(place.kind, NOBODYS)
                right = 0
                for with_theirs, with_nobodys in zip(
                    described.with_identifier(place, foreign.identifiers[place.kind], own.identifiers),
                    described.with_identifier(place, nobodys, own.identifiers),
                    strict=True,
                ):
                    answers = [await previewed(sides, asking, own) for asking in (with_theirs, with_nobodys)]
                    assert in_words(answers[0]) == in_words(answers[1]), (described.name, place)
                    assert 400 <= answers[0].status_code < 500, (described.name, place, answers[0].text)
                    right += refusal_is_right(described, place, answers[0])
                assert right, f"{described.name}: {place} is never asked for"
            tried[place.where] = tried.get(place.where, 0) + 1
    assert tried["path"] > 25 and tried["body"] > 20, tried


IMPORTED = {"persons", "groups", "grants"}
NOT_IN_ROWS = ("id", "email")  # of an example: taken by what the example has made


async def test_rows_of_an_import_that_name_what_is_anothers_are_refused_each(sides: Sides) -> None:
    """A row has the fields of the single operation: each place of it in a row of its own, both ways. No row makes anything."""
    before = await imported_objects(sides)
    for kind in sorted(IMPORTED):
        described = next(each for each in sides.operations if each.name == f"POST /v1/{kind}")
        for own, foreign in ((sides.own, sides.foreign), (sides.foreign, sides.own)):
            places = [place for place in described.places() if place.where == "body"]
            rows: list[dict[str, object]] = []
            of_place: list[Place] = []
            for place in places:
                for identifier in (foreign.identifiers[place.kind], NOBODYS):
                    for asking in described.with_identifier(place, identifier, own.identifiers):
                        rows.append({name: value for name, value in asking.body.items() if name not in NOT_IN_ROWS})
                        of_place.append(place)
            told = await results_of(sides, own, kind, rows)
            assert {row["outcome"] for row in told} == {"refused"} and len(told) == len(rows), told
            for place in places:
                codes = [str(row["code"]) for row, place_of_row in zip(told, of_place, strict=True) if place_of_row == place]
                theirs, nobodys = codes[: len(codes) // 2], codes[len(codes) // 2 :]
                assert theirs == nobodys and f"{place.kind}_unknown" in theirs, (kind, place, codes)
    assert await imported_objects(sides) == before


BY_NAME: dict[str, tuple[dict[str, object], ...]] = {
    "persons": ({"name": "By name", "group_names": ["{group}"]},),
    "grants": (
        {"person_email": "{email}", "door": "{door}"},
        {"group_name": "{group}", "door": "{door}"},
    ),
}  # what only rows have: a field beside the identifier's


async def test_rows_that_name_what_is_anothers_by_its_name_or_address_are_refused_each(sides: Sides) -> None:
    """Those of the other organization are nobody's; whose they are, the same row is applied."""
    for own, foreign, theirs in ((sides.own, sides.foreign, "Theirs"), (sides.foreign, sides.own, "The others'")):
        names = {"group": f"{theirs} alone", "email": f"alone-{len(theirs)}@theirs.example"}
        for path, body in (("/v1/groups", {"name": names["group"]}), ("/v1/persons", {"name": theirs, "email": names["email"]})):
            assert (await sides.http.post(path, headers=foreign.headers, json=body)).status_code == 201
        nobodys = {"group": "A group that nobody has", "email": "nobody@theirs.example"}
        for kind, forms in BY_NAME.items():
            told = {}
            for who, side, named in (("owner", foreign, names), ("other", own, names), ("nobody", own, nobodys)):
                rows = [filled(form, {**named, "door": side.identifiers["door"]}) for form in forms]
                told[who] = [(row["outcome"], row.get("code")) for row in await results_of(sides, side, kind, rows)]
            assert told["owner"] == [("created", None)] * len(forms)
            assert told["other"] == told["nobody"] and {outcome for outcome, _ in told["other"]} == {"refused"}, told


def filled(form: Mapping[str, object], named: Mapping[str, str]) -> dict[str, object]:
    """The row with those names in its places."""
    return {
        field: [one.format(**named) for one in value] if isinstance(value, list) else str(value).format(**named)
        for field, value in form.items()
    }


async def imported_objects(sides: Sides) -> dict[str, list[dict[str, object]]]:
    database = sides.service.database
    return {kind: await database[kind].find({}).sort("_id", 1).to_list() for kind in sorted(IMPORTED)}


async def results_of(sides: Sides, side: Side, kind: str, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """What became of each row, when the import is over."""
    text = "\n".join(json.dumps(row) for row in rows)
    made = await sides.http.post("/v1/imports", headers=side.headers, json={"kind": kind, "format": "ndjson", "text": text})
    assert made.status_code == 201, made.text
    path = f"/v1/imports/{made.json()['id']}"

    async def over() -> bool:
        return (await sides.http.get(path, headers=side.headers)).json()["ended_at"] is not None

    await until(over, 30)
    told: list[dict[str, object]] = (await sides.http.get(f"{path}/results?limit=200", headers=side.headers)).json()["items"]
    return told


def is_in(asking: Asking, place: Place) -> bool:
    return place.name in asking.query if place.where == "query" else place.where == "body" and stands(asking, place)


async def test_a_cursor_of_another_organization_shows_nothing_of_it(sides: Sides, unchanged: None) -> None:
    """A cursor only says where to go on: with one of theirs, and with their identifiers as one, a list holds one's own or refuses it."""
    tried = 0
    for described in sides.operations:
        for place in described.places():
            if place.kind != NO_KIND or described.of_operator:
                continue
            for own, foreign in ((sides.own, sides.foreign), (sides.foreign, sides.own)):
                theirs, mine = [await everything(sides, described, side) for side in (foreign, own)]
                for cursor in [page for page, _ in theirs] + list(foreign.identifiers.values()):
                    asking = next(described.with_identifier(place, cursor, own.identifiers))
                    answer = await sides.ask(asking, own)
                    assert answer.status_code in (200, 400), (described.name, answer.text)
                    if answer.status_code == 200:
                        listed = {str(item["id"]) for item in answer.json()["items"]}
                        assert listed <= {identifier for _, identifiers in mine for identifier in identifiers}, (described.name, cursor)
            tried += 1
    assert tried >= 13


async def everything(sides: Sides, described: Described, side: Side) -> list[tuple[str, list[str]]]:
    """A list's pages of one organization: the cursor that leads on, and the identifiers, page by page."""
    pages: list[tuple[str, list[str]]] = []
    good = described.good(side.identifiers)
    cursor: str | None = None
    for limit in ("1", *["200"] * 100):
        query = {**good.query, "limit": limit, **({"cursor": cursor} if cursor else {})}
        answer = await sides.ask(Asking(good.method, good.path, good.identifiers, query, good.headers), side)
        assert answer.status_code == 200, (described.name, answer.text)
        cursor = answer.json()["next_cursor"]
        pages.append((cursor or "", [str(item["id"]) for item in answer.json()["items"]]))
        if cursor is None:
            break
    return pages


def example_status_is_right(described: Described, answer: httpx.Response) -> bool:
    if described.of_operator:  # nobody is here
        return (answer.status_code, answer.json()["code"]) in {(403, "operator_needed"), (404, "organization_unknown")}
    if described.name in SECRET_EXAMPLES:
        return (answer.status_code, answer.json()["code"]) in SECRET_UNKNOWN
    if not (described.of_persons or answer.is_success):
        return answer.status_code == 401
    in_use = described.method == "DELETE" and answer.status_code == 409 and answer.json()["code"] == "in_use"
    # The demonstration's pass was accepted, so that it can be passed on.
    accepted = described.path.endswith(("/link", "/resend")) and answer.status_code == 409 and answer.json()["code"] == "pass_accepted"
    return answer.is_success or in_use or accepted


async def test_every_example_is_taken(sides: Sides) -> None:
    """The examples of the document, sent to the demonstration's organization in an order in which the last destroy, parts before the whole.

    Those that make an object were taken by the fixture already.
    """
    order = ("GET", "POST", "PATCH", "PUT", "DELETE")
    made_otherwise: Mapping[str, str] = {
        kind: sides.own.identifiers[kind] for kind in ("attempt", "session", "import", "api_key", "invitation")
    }
    for described in sorted(
        sides.operations, key=lambda each: (each.name not in BEFORE_OTHERS, order.index(each.method), -each.path.count("/"))
    ):
        if kind_made_by(described.document, described) is not None and not described.of_operator:
            continue
        answer = await sides.ask(described.good(made_otherwise), sides.own)
        assert example_status_is_right(described, answer), f"{described.name}: {answer.status_code} {answer.text}"
    assert sides.conformance.checked > 500
