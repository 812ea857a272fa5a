"""Every list, and every operation that changes one object, made from the document.

A filter shows what it says of the whole list. An ETag of another state stops a change, a PATCH touches what it names, and what something
still names isn't deleted.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service.stores.mongo import now_ms
from tests.e2e.conformance import conformance_of
from tests.e2e.described import Asking, Described, Place, kind_made_by, made_objects, operations, resolved
from tests.e2e.described_lists import AT_SITES, Item, Known, filters_of, folded, is_list
from tests.e2e.evidence import projected, standing
from tests.e2e.running import Service, device_key, random_key, running_service, until
from tests.e2e.sharing import SITE, Passes, doors_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANOTHER_STATE = '"999999999"'
OF_THE_CHANGE = {"revision", "changed_at"}  # not of the object
# Pairs of which the first ends with the second, or goes on without it: a key that had one site only reaches none then.
GO_ALONG = {("grant", "person"), ("api_key", "site")}


@dataclass(frozen=True, slots=True)
class Owner:
    """Of an organization that has objects of every kind; `known`: their identifiers."""

    service: Service
    http: httpx.AsyncClient
    operations: list[Described]
    headers: dict[str, str]
    known: dict[str, str]

    async def ask(self, asking: Asking) -> httpx.Response:
        return await asking.send(self.http, self.headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Owner]:
    async with running_service(tmp_path_factory.mktemp("described"), locks=False, operator_organization="nordlicht") as service:
        conformance = await conformance_of(service)
        described = operations(conformance.document)
        async with service.client(hook=conformance.hook) as http:
            headers, known = service.owner(), dict[str, str]()
            await made_objects(http, described, headers, known)
            owner = Owner(service, http, described, headers, known)
            await differ(owner)
            await projected(service)
            yield owner


ONE_OF_ITS_KIND = {("/v1/devices", "kind")}  # all there are is locks: nothing is dropped
SHOWS_MORE = {("/v1/me/passes", "pass")}  # than the list without it, what others passed on: tests/e2e/test_pass_trees.py
VALUES_MAX = 6  # of a filter, that are asked for
FILTERS = 50
HOLDER = "a-employee"


async def test_a_filter_shows_what_it_says_of_the_whole_list_in_its_order(owner: Owner) -> None:
    imports = [await imported(owner, all_or_nothing) for all_or_nothing in (False, True)]
    known = await known_of(owner)
    tried = set()
    for described in filter(is_list, owner.operations):
        paths = [described.path.replace("{import}", each) for each in imports] if "{import}" in described.path else [described.path]
        headers = owner.service.headers(HOLDER) if "/me/" in described.path else owner.headers
        for of_list in filters_of(described):
            if (of_list.path, of_list.name) in SHOWS_MORE:
                continue
            items: list[Item] = []
            told = set[str]()
            for path in paths:
                items = await listed(owner, path, headers)
                kept = {value: of_list.kept(items, value, known) for value in of_list.candidates(items, known)}
                telling = [value for value in kept if 0 < len(kept[value]) < len(items)]
                for value in [*telling, *(value for value in kept if value not in telling)][:VALUES_MAX]:
                    assert await listed(owner, path, headers, **{of_list.name: value}) == kept[value], (of_list, value)
                told |= set(telling)
            assert told or (of_list.path, of_list.name) in ONE_OF_ITS_KIND, f"{of_list} keeps nothing, or drops nothing: {items}"
            assert of_list.name != "outcome" or told == set(of_list.values), told
            tried.add((of_list.path, of_list.name))
    assert len(tried) == FILTERS, sorted(tried)


async def known_of(owner: Owner) -> Known:
    known = Known()
    for kind in ("door", "area", "floor"):
        known.sites_of[kind] = {each["id"]: each["site"] for each in await listed(owner, f"/v1/{kind}s")}
    known.sites_of["site"] = {each["id"]: each["id"] for each in await listed(owner, "/v1/sites")}
    known.parents = {each["id"]: each["parent"] for each in await listed(owner, "/v1/passes")}
    return known


AT_ONE_SITE = "a-visitor"
NOT_THERE = "nowhere"


async def test_a_filter_shows_a_role_for_one_site_what_the_whole_list_has_there(owner: Owner) -> None:
    """Every filter of every list: the whole, filtered, and what of that is at the site. What is elsewhere is told as what isn't there."""
    known, headers = await known_of(owner), await at_one_site(owner)
    tried, hidden, narrowed = set(), set(), set()
    for described in filter(is_list, owner.operations):
        if not is_of_objects(described):
            continue
        refused = await owner.http.get(described.path, headers=headers)
        if refused.status_code == 403:
            assert described.path in OF_THE_ORGANIZATION, refused.text
            continue
        items = await listed(owner, described.path)
        here = known.at(SITE, described.path, items)
        assert await listed(owner, described.path, headers) == here, described.path
        assert (len(here) < len(items)) == (described.path in AT_SITES), described.path
        for of_list in filters_of(described):
            for value in of_list.candidates(items, known):
                tried.add((of_list.path, of_list.name))
                if await beyond(owner, known, of_list.name, value):
                    told = [
                        await owner.http.get(of_list.path, params={of_list.name: named}, headers=headers) for named in (value, NOT_THERE)
                    ]
                    assert [each.status_code for each in told] == [404, 404], (of_list, value, told[0].text)
                    assert len({tuple((each.json() | {"request_id": ""}).items()) for each in told}) == 1, (told[0].text, told[1].text)
                    hidden.add((of_list.path, of_list.name))
                    continue
                kept = of_list.kept(items, value, known)
                wanted = known.at(SITE, of_list.path, kept)
                assert await listed(owner, of_list.path, headers, **{of_list.name: value}) == wanted, (of_list, value)
                narrowed |= {(of_list.path, of_list.name)} if 0 < len(wanted) < len(kept) else set()
    assert len(tried) == FILTERS_AT_A_SITE, sorted(tried)
    assert hidden == {one for one in tried if one[1] in (*known.sites_of, "pass")}
    assert narrowed >= NARROWED, NARROWED - narrowed


def is_of_objects(described: Described) -> bool:
    """Whether it lists objects, whoever asks."""
    others = ("/v1/access/", "/v1/events", "/v1/imports")
    return (
        is_list(described)
        and not described.of_operator
        and "/me/" not in described.path
        and "{" not in described.path
        and not described.path.startswith(others)
    )


async def at_one_site(owner: Owner) -> dict[str, str]:
    """The headers of somebody who may read everything there."""
    roles = {"roles": [{"role": role, "sites": [SITE]} for role in ("site_manager", "auditor")]}
    answer = await owner.http.put(f"/v1/persons/{AT_ONE_SITE}/roles", json=roles, headers=owner.headers)
    assert answer.status_code == 200, answer.text
    return owner.service.headers(AT_ONE_SITE)


DRAWN = 24  # of each list, what is asked of it together


async def test_filters_together_show_what_is_left_of_the_whole_list_by_each(owner: Owner) -> None:
    """Two or three of them, and name beginnings, most often of one item, either way, to the owner and to a role for one site."""
    known, here, drawn = await known_of(owner), await at_one_site(owner), random.Random(20_261_129)
    told, hidden = dict[str, int](), 0
    for described in filter(is_of_objects, owner.operations):
        filters = filters_of(described)
        if len(filters) < 2:
            continue
        items = await listed(owner, described.path)
        for _ in range(DRAWN):
            kept, asked = items, dict[str, str]()
            of_one = [drawn.choice(items)] if drawn.random() < 0.8 else items
            for of_list in drawn.sample(filters, min(len(filters), drawn.choice((2, 2, 3)))):
                asked[of_list.name] = drawn.choice(of_list.candidates(of_one, known) or of_list.candidates(items, known))
                kept = of_list.kept(kept, asked[of_list.name], known)
            sort = drawn.choice(orders_of(described))
            kept = kept[::-1] if sort.startswith("-") else kept
            page = {"limit": str(drawn.randint(1, 3)), "sort": sort}
            assert await listed(owner, described.path, None, **asked, **page) == kept, (described.path, asked)
            told[described.path] = told.get(described.path, 0) + (0 < len(kept) < len(items))
            if described.path in OF_THE_ORGANIZATION:
                continue
            if any([await beyond(owner, known, name, value) for name, value in asked.items()]):
                answer = await owner.http.get(described.path, params=asked, headers=here)
                assert answer.status_code == 404, (described.path, asked, answer.text)
                hidden += 1
                continue
            wanted = known.at(SITE, described.path, kept)
            assert await listed(owner, described.path, here, **asked, **page) == wanted, (described.path, asked)
    assert len(told) == 12 and min(told.values()) and hidden >= 10, (told, hidden)


def orders_of(described: Described) -> list[str]:
    """The first of them is the one that needn't be asked for."""
    (sort,) = [parameter for parameter in described.operation["parameters"] if parameter["name"] == "sort"]
    return sorted(resolved(described.document, sort["schema"])["enum"], key=lambda order: order.startswith("-"))


OF_THE_ORGANIZATION = ("/v1/api-keys", "/v1/invitations")
FILTERS_AT_A_SITE = 42
# What a filter that is no place keeps of several sites. Of one that is, but for what names two sites, all is at its own.
NARROWED = {
    *(("/v1/grants", name) for name in ("person", "group", "schedule", "effect")),
    *(("/v1/passes", name) for name in ("person", "schedule", "door", "site")),
    ("/v1/devices", "kind"),
    ("/v1/lockdown-plans", "name"),
    ("/v1/lockdown-plans", "door"),
}


async def beyond(owner: Owner, known: Known, name: str, value: str) -> bool:
    """Whether a filter names a place, or a pass, that isn't all at that site."""
    if name == "pass":
        found = await owner.http.get(f"/v1/passes/{value}", headers=owner.headers)
        return set(known.sites_named(found.json())) != {SITE}
    return name in known.sites_of and known.sites_of[name][value] != SITE


async def imported(owner: Owner, all_or_nothing: bool) -> str:
    """Of two rows, one of which is wrong."""
    text = '{"name":"Good"}\n{"id":"Not an id","name":"Bad"}\n'
    body = {"kind": "groups", "format": "ndjson", "all_or_nothing": all_or_nothing, "text": text}
    identifier = await post(owner, "/v1/imports", body)

    async def over() -> bool:
        answer = await owner.http.get(f"/v1/imports/{identifier}", headers=owner.headers)
        return answer.json()["ended_at"] is not None

    await until(over)
    return identifier


async def differ(owner: Owner) -> None:
    """Of every kind another that names something else, or nothing, so that each filter has something to keep and something to drop."""
    for kind in ("employee", "visitor"):
        await post(owner, "/v1/persons", {"id": f"a-{kind}", "name": f"Zita {kind}", "kind": kind})
    site = await post(owner, "/v1/sites", {"name": "Zurich", "time_zone": "Europe/Zurich"})
    floor = await post(owner, "/v1/floors", {"name": "Zeroth", "site": site})
    area = await post(owner, "/v1/areas", {"name": "Zone", "site": site, "floor": floor})
    door = await post(owner, "/v1/doors", {"name": "Zigzag", "site": site, "area": area})
    group = await post(owner, "/v1/groups", {"name": "Zealots", "includes": ["everyone"]})
    schedule = await post(owner, "/v1/schedules", {"name": "Zenith", "windows": [{"days": ["mon"], "start": "06:00", "end": "12:00"}]})
    await post(owner, "/v1/calendars", {"name": "Zodiac", "dates": ["2027-12-25"]})
    for name, active in (("Zapper", True), ("Zapped", False)):
        key = await post(owner, "/v1/api-keys", {"name": name, "scopes": ["persons.read"]})
        assert (await owner.http.patch(f"/v1/api-keys/{key}", json={"active": active}, headers=owner.headers)).status_code == 200
    await post(owner, "/v1/invitations", {"name": "Zoltan", "email": "zoltan@nordlicht.example"})
    for state in ({"expires_at": 1}, {"accepted_at": 1}):
        name = next(iter(state))
        made = await post(owner, "/v1/invitations", {"name": name, "email": f"{name}@nordlicht.example"})
        await owner.service.database["invitations"].update_one({"id": made}, {"$set": state})
    for name, places in (("Zulu", {"doors": [door]}), ("Zero", {"areas": [area]}), ("Zest", {"sites": [site]})):
        await post(owner, "/v1/lockdown-plans", {"name": name, **places})
    await post(owner, "/v1/grants", {"person": HOLDER, "site": site, "effect": "deny"})
    await post(owner, "/v1/grants", {"group": group, "area": area, "schedule": schedule})
    await several_sites(owner, door, group, schedule)
    passes = Passes(owner.service, owner.http, [door])
    given = await passes.give(name="Zoo", schedule=schedule, passes_on_max=2)
    await passes.held(given, HOLDER)
    await passes.held(await passes.give(name="Attic"), HOLDER)
    for name, collection, state in (
        ("Used up", "states", {"used": 1}),
        ("Over", "passes", {"valid_until": now_ms() - 60_000}),
    ):
        one = await passes.give(name=name, uses=1)
        await passes.held(one, HOLDER)
        identifier = f"{owner.service.demo.id}:{'pass.' if collection == 'states' else ''}{one['id']}"
        await owner.service.database[collection].update_one({"_id": identifier}, {"$set": state}, upsert=collection == "states")
        assert (await passes.read(one["id"]))["state"] == ("used_up" if collection == "states" else "expired")
    passed_on = await passes.give(HOLDER, f"/v1/passes/{given['id']}/pass-on", name="Zebra", passes_on_max=1)
    await passes.held(passed_on, "a-visitor")
    await passes.give("a-visitor", f"/v1/passes/{passed_on['id']}/pass-on", name="Zither")
    suspended = await owner.http.post(f"/v1/persons/{await post(owner, '/v1/persons', {'name': 'Zed'})}/suspend", headers=owner.headers)
    assert suspended.status_code == 200, suspended.text
    for identifier, steps in (("zorn", ["POST suspend"]), ("zuse", ["POST suspend", "DELETE"])):
        new = {"id": identifier, "name": identifier, "owner": {"email": f"zara@{identifier}.example", "name": "Zara"}}
        path = f"/v1/operator/organizations/{await post(owner, '/v1/operator/organizations', new)}"
        for method, _, verb in (step.partition(" ") for step in steps):
            done = await owner.http.request(method, f"{path}/{verb}".rstrip("/"), headers=owner.headers)
            assert done.status_code == 200, done.text


async def several_sites(owner: Owner, door: str, group: str, schedule: str) -> None:
    """What is at a site of the demonstration, and the same at both: there and where `door` is."""
    (here, *_) = await doors_of(owner.service, SITE)
    for name, doors in (("Zonda", [here]), ("Zephyr", [here, door])):
        await post(owner, "/v1/lockdown-plans", {"name": name, "doors": doors})
        passes = Passes(owner.service, owner.http, doors)
        await passes.held(await passes.give(name=name, doors=doors, schedule=schedule), HOLDER)
    await post(owner, "/v1/grants", {"group": group, "door": here, "schedule": schedule})


async def post(owner: Owner, path: str, body: object) -> str:
    """What was made, by its identifier."""
    answer = await owner.http.post(path, json=body, headers=owner.headers)
    assert answer.status_code == 201, (path, body, answer.text)
    return answer.headers["location"].rpartition("/")[2]


async def test_a_list_is_in_the_order_of_names_or_of_time_either_way(owner: Owner) -> None:
    tried = 0
    for described in filter(is_list, owner.operations):
        if described.of_operator:  # by id: tests/e2e/test_operator.py
            continue
        if any(parameter["name"] == "sort" for parameter in described.operation["parameters"]):
            forward, backward = orders_of(described)
            items = await listed(owner, described.path, sort=forward)
            assert items == await listed(owner, described.path)
            assert items[::-1] == await listed(owner, described.path, sort=backward), described.name
            if forward == "created_at":
                given = [
                    (item["created_at"] is not None, item["created_at"] and datetime.fromisoformat(item["created_at"])) for item in items
                ]
                assert given == sorted(given) and len(set(given)) > 3, given
            else:
                names = [folded(item.get("name")) for item in items]
                assert forward == "name" and names == sorted(names), described.name
            tried += 1
    assert tried == 15


async def listed(owner: Owner, path: str, headers: dict[str, str] | None = None, **query: str) -> list[Item]:
    """Every page. What is asked for with a query comes in pages of a few."""
    found: list[Item] = []
    asked = {"limit": "3" if query else "200", **query}
    while True:
        answer = await owner.http.get(path.format(**owner.known), params=asked, headers=headers or owner.headers)
        assert answer.status_code == 200, (path, query, answer.text)
        found += answer.json()["items"]
        if answer.json()["next_cursor"] is None:
            return found
        asked["cursor"] = answer.json()["next_cursor"]


NEVER_TWO_PAGES = {"GET /v1/areas/{area}/occupancy"}  # nobody is inside


async def test_a_cursor_of_one_list_is_refused_by_every_other(owner: Owner) -> None:
    """Of every list the cursor of its second page, at every list: it goes on in its own, and is 400 in all others."""
    owner.known["import"] = await imported(owner, all_or_nothing=False)
    named = {"person": HOLDER, "door": (await doors_of(owner.service, SITE))[0]}
    lists = [described for described in owner.operations if is_list(described)]
    cursors: dict[str, str] = {}

    async def page(described: Described, **query: str) -> httpx.Response:
        good = described.good(owner.known)
        headers = owner.service.headers(HOLDER) if "/me/" in described.path else owner.headers
        asked = {**{name: named[name] for name in good.query}, **query}
        return await Asking("GET", good.path, good.identifiers, asked, {}).send(owner.http, headers)

    for described in lists:
        answer = await page(described, limit="1")
        assert answer.status_code == 200, (described.name, answer.text)
        if answer.json()["next_cursor"] is not None:
            cursors[described.name] = answer.json()["next_cursor"]
    assert {described.name for described in lists} - cursors.keys() == NEVER_TWO_PAGES
    for name, cursor in cursors.items():
        for described in lists:
            answer = await page(described, cursor=cursor)
            told = (200, None) if described.name == name else (400, "cursor_invalid")
            assert (answer.status_code, answer.json().get("code")) == told, (name, described.name)
    assert len(cursors) >= 20, sorted(cursors)


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
    assert {"PATCH", "DELETE", "PUT", "POST"} <= tried
    unguarded = {each.name for each in owner.operations if changes_what_has_an_etag(each) and not takes_etag(each)}
    assert unguarded == BESIDE_THE_ETAG, "what is changed can be guarded"


# Below an object that has an ETag, and nothing of that object is changed: attempts, sessions, who is inside, another pass.
BESIDE_THE_ETAG = {
    "POST /v1/doors/{door}/unlock", "DELETE /v1/persons/{person}/sessions", "POST /v1/areas/{area}/occupancy/reset",
    "POST /v1/passes/{pass}/pass-on", "POST /v1/devices/{device}/token", "POST /v1/devices/{device}/time", "POST /v1/devices/{device}/hold",
}  # fmt: skip


def changes_what_has_an_etag(described: Described) -> bool:
    """Of what is read with an ETag, itself or by a word behind it."""
    if described.method == "GET":
        return False
    reads = {path: methods["get"]["responses"]["200"] for path, methods in described.document["paths"].items() if "get" in methods}
    tagged = {path for path, read in reads.items() if "ETag" in resolved(described.document, read).get("headers", {})}
    return described.path in tagged or described.path.rpartition("}")[0] + "}" in tagged


async def test_an_etag_is_refused_by_every_operation_that_reads_none(owner: Owner) -> None:
    """It would be passed over else, by what its sender takes for guarded."""
    before = await standing(owner.service)
    tried = set()
    for described in owner.operations:
        if takes_etag(described):
            continue
        asking = described.good(owner.known)
        asking.headers["If-Match"] = ANOTHER_STATE
        answer = await owner.ask(asking)
        assert answer.status_code == 400, (described.name, answer.text)
        assert answer.json()["code"] == "if_match_unsupported", described.name
        tried.add(described.name)
    after = await standing(owner.service)
    assert [collection for collection in before if before[collection] != after[collection]] == []
    assert {"POST /v1/sign-in", "POST /v1/doors/{door}/unlock", "GET /v1/doors", "POST /v1/doors"} <= tried


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


async def test_a_scope_of_which_sites_make_nothing_is_no_scope_of_a_key_for_sites(owner: Owner) -> None:
    """What an admin of one site is refused in every operation that asks for it, whatever place the operation names there."""
    site, admin = owner.known["site"], await post(owner, "/v1/persons", {"name": "Of one site"})
    given = await owner.http.put(
        f"/v1/persons/{admin}/roles", json={"roles": [{"role": "admin", "sites": [site]}]}, headers=owner.headers
    )  # fmt: skip
    assert given.status_code == 200, given.text
    makes = next(each for each in owner.operations if each.name == "POST /v1/api-keys")
    scopes = resolved(makes.document, makes.operation["requestBody"]["content"]["application/json"]["schema"])["properties"]["scopes"]
    usable = dict.fromkeys(scopes["items"]["enum"], False)
    for described in owner.operations:
        permission = described.operation.get("x-nexkey-permission")
        if permission not in usable:
            continue
        askings = [described.good(owner.known)]
        for place in described.places():
            if place.where == "body" and place.kind in owner.known:
                askings += described.with_identifier(place, owner.known[place.kind], owner.known)
        for asking in askings:
            if takes_etag(described):
                asking.headers["If-Match"] = ANOTHER_STATE  # so nothing is changed: whether they may is asked first
            answer = await asking.send(owner.http, owner.service.headers(admin))
            usable[permission] = usable[permission] or answer.status_code not in (403, 404)
    for scope, used in usable.items():
        wanted = {"name": scope, "scopes": ["doors.read", scope], "sites": [site]}
        answer = await owner.http.post("/v1/api-keys", json=wanted, headers=owner.headers)
        if used:
            assert answer.status_code == 201, (scope, answer.text)
        else:
            told = answer.json()
            assert (answer.status_code, told.get("code"), told.get("scopes")) == (422, "scope_everywhere_only", [scope]), answer.text
            taken = await owner.http.post("/v1/api-keys", json={**wanted, "sites": None}, headers=owner.headers)
            assert taken.status_code == 201, taken.text
            narrowed = await owner.http.patch(taken.headers["location"], json={"sites": [site]}, headers=owner.headers)
            assert (narrowed.status_code, narrowed.json()["code"]) == (422, "scope_everywhere_only")
    assert set(usable.values()) == {True, False}, usable


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
        if "public_key" in asking.body:
            asking.body["public_key"] = device_key()  # and a key one device's
        answer = await owner.ask(asking)
        if answer.status_code == 201:
            return answer.headers["location"].rpartition("/")[2]
        refused.append(answer.text)
    raise AssertionError(refused)
