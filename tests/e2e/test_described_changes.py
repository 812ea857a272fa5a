"""Every operation that changes one object, made from the document.

An ETag of another state stops it, a PATCH touches what it names, and what something still names isn't deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.e2e.conformance import conformance_of
from tests.e2e.described import Asking, Described, Place, kind_made_by, made_objects, operations, resolved
from tests.e2e.evidence import projected, standing
from tests.e2e.running import Service, random_key, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANOTHER_STATE = '"999999999"'
OF_THE_CHANGE = {"revision", "changed_at"}  # not of the object
# Pairs of which the first ends with the second, or goes on without it: a key that had one site only reaches none then.
GO_ALONG = {("grant", "person"), ("api_key", "site")}


@dataclass(frozen=True, slots=True)
class Owner:
    """Of an organization that has one object of every kind; `known`: their identifiers."""

    service: Service
    http: httpx.AsyncClient
    operations: list[Described]
    headers: dict[str, str]
    known: dict[str, str]

    async def ask(self, asking: Asking) -> httpx.Response:
        return await asking.send(self.http, self.headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Owner]:
    async with running_service(tmp_path_factory.mktemp("described"), locks=False) as service:
        conformance = await conformance_of(service)
        described = operations(conformance.document)
        async with service.client(hook=conformance.hook) as http:
            headers, known = service.owner(), {"organization": service.demo.id}
            await made_objects(http, described, headers, known)
            await projected(service)
            yield Owner(service, http, described, headers, known)


def takes_etag(described: Described) -> bool:
    return any(parameter["name"] == "If-Match" for parameter in described.operation["parameters"])


async def test_an_etag_of_another_state_stops_every_change_that_takes_one(owner: Owner) -> None:
    before = await standing(owner.service)
    tried = set()
    for described in filter(takes_etag, owner.operations):
        asking = described.good(owner.known)
        asking.headers["If-Match"] = ANOTHER_STATE
        answer = await owner.ask(asking)
        assert answer.status_code == 412, (described.name, answer.text)
        assert answer.json()["code"] == "changed_meanwhile"
        tried.add(described.method)
    after = await standing(owner.service)
    assert [collection for collection in before if before[collection] != after[collection]] == []
    assert {"PATCH", "DELETE"} <= tried
    unguarded = {each.name for each in owner.operations if each.method == "PATCH" and not takes_etag(each)}
    assert not unguarded, "what is changed can be guarded"


async def test_a_patch_touches_only_the_field_that_it_names(owner: Owner) -> None:
    """Every field that a PATCH takes, with its example, what it has, and other values: taken, or refused and nothing is changed."""
    tried, altered = set(), set()
    for described in owner.operations:
        if described.method != "PATCH":
            continue
        good = described.good(owner.known)
        for name in sorted(patch_fields(described)):
            before = await shown(owner, good)
            has = before.get(name)
            for sent in (has, *([good.body[name]] if name in good.body else []), *others(has)):
                answer = await owner.ask(Asking("PATCH", good.path, good.identifiers, {}, {}, {name: sent}))
                after = await shown(owner, good)
                changed = {field for field in before.keys() | after.keys() if before.get(field) != after.get(field)}
                if answer.status_code == 200:
                    assert after.get(name) == sent, (described.name, name, after)
                    assert changed <= {name} | OF_THE_CHANGE, (described.name, name, before, after)
                    altered |= {(described.name, name)} if name in changed else set()
                else:
                    assert answer.status_code in (400, 404, 409, 422) and not changed, (described.name, name, sent, answer.text)
                    assert sent is not has or answer.json()["code"] == "field_fixed", (described.name, name, sent, answer.text)
                before = after
            tried.add((described.name, name))
    assert len(tried) > 50 and len(altered) > 30, (tried, altered)


def others(has: Any) -> list[Any]:
    """Other values, by the sort of the one that is there."""
    if isinstance(has, bool):
        return [not has]
    if isinstance(has, int):
        return [has + 1, None]
    if isinstance(has, list):
        return [[]]
    return [None, "Another"] if isinstance(has, str) else ["Another", 7, True]


def patch_fields(described: Described) -> set[str]:
    schema = resolved(described.document, described.operation["requestBody"]["content"]["application/json"]["schema"])
    return set(schema["properties"])


async def shown(owner: Owner, good: Asking) -> dict[str, Any]:
    answer = await owner.ask(Asking("GET", good.path, good.identifiers, {}, {}))
    assert answer.status_code == 200, (good.path, answer.text)
    shown: dict[str, Any] = answer.json()
    return shown


async def test_what_is_named_by_something_is_not_deleted(owner: Owner) -> None:
    """Every place in which what is made names something else: that stays, until what names it is gone."""
    makers = {kind: each for each in owner.operations if (kind := kind_made_by(each.document, each)) is not None and kind != "invitation"}
    enders = {each.path.rpartition("/{")[2].rstrip("}"): each for each in owner.operations if each.method == "DELETE"}
    tried = set()
    for namer, maker in makers.items():
        for place in maker.places():
            if place.where != "body" or place.kind not in makers:
                continue
            named, naming = await pair(owner, makers, maker, place)
            end, end_naming = (
                enders[place.kind].good({**owner.known, place.kind: named}),
                enders[namer].good({**owner.known, namer: naming}),
            )
            if (namer, place.kind) not in GO_ALONG:
                refused = await owner.ask(end)
                assert refused.status_code == 409, (namer, place, refused.text)
                assert (refused.json()["code"], refused.json()["used_by"]) == ("in_use", namer)
                assert (await shown(owner, end)).get("ended_at") is None, place
                assert (await owner.ask(end_naming)).status_code == 200, (namer, place)
            assert (await owner.ask(end)).status_code == 200, (namer, place)
            assert (await shown(owner, end))["ended_at"] is not None
            tried.add((namer, place.name))
    assert len(tried) >= 22, sorted(tried)


async def pair(owner: Owner, makers: dict[str, Described], maker: Described, place: Place) -> tuple[str, str]:
    """Something new, and something that names it there; both by their identifiers."""
    named = await made(owner, [makers[place.kind].good(owner.known)])
    return named, await made(owner, maker.with_identifier(place, named, owner.known))


async def made(owner: Owner, askings: Iterable[Asking]) -> str:
    """By the first that is taken."""
    refused = []
    for asking in askings:
        if "email" in asking.body:
            asking.body["email"] = f"{random_key()}@nordlicht.example"  # an address is one person's
        answer = await owner.ask(asking)
        if answer.status_code == 201:
            return answer.headers["location"].rpartition("/")[2]
        refused.append(answer.text)
    raise AssertionError(refused)
