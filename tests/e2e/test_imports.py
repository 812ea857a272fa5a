"""Bulk imports through every process: what becomes of each row, all or nothing, whose role counts, and a worker that dies in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service.imports.document import OPEN_MAX, ROWS_MAX
from py_service.imports.store import delete_expired
from py_service.permissions.image import encode_images
from py_service.stores.mongo import Mongo, now_ms
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, faults_in_the_changes, projected, read_journal
from tests.e2e.manager import DOOR, Manager, stranger, unlocks
from tests.e2e.running import Service, running_service, second_worker, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS_OF_THE_KILLED = 4_000
Rows = list[dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Afterwards: the books are whole, and every imported object is proved by the journal."""
    async with running_service(tmp_path_factory.mktemp("imports"), doors=6, strangers=6) as running:
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []
        assert await faults_in_the_changes(running) == []
        assert await unproved(running) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client(hook=(await conformance_of(service)).hook) as client:
        yield client


@pytest.fixture
def owner(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.demo.cast["owner"].id)


async def unproved(service: Service) -> list[str]:
    """Events of imports whose hash is not that of their images in the change record, and created rows that no event names."""
    faults: list[str] = []
    named: Counter[str] = Counter()
    for name, event in (await read_journal(service)).events.items():
        if not event["kind"].endswith(("_imported", "_staged")):
            continue
        record = await service.database["changes"].find_one({"org": event["org"], "revision": event["revision"]})
        assert record is not None
        ids = event["detail"]["ids"]
        images = [image for image in record["images"] if image["id"] in set(ids)]
        if hashlib.sha256(encode_images(images)).hexdigest() != event["detail"]["sha256"] or len(images) != len(ids):
            faults.append(f"{name}: {event}")
        named.update(ids)
    for results in await service.database["import_results"].find({}).to_list():
        created = [row["id"] for row in results["rows"] if row["outcome"] == "created"]
        faults += [f"{identifier} is named {named[identifier]} times" for identifier in created if named[identifier] != 1]
    return faults


async def begin(manager: Manager, kind: str, form: str, text: str | Sequence[str], **more: object) -> str:
    """Begun and started: whole, or part by part."""
    asked = {"kind": kind, "format": form, **more}
    if isinstance(text, str):
        return str((await manager("POST", "/v1/imports", 201, asked | {"text": text}))["id"])
    identifier = str((await manager("POST", "/v1/imports", 201, asked))["id"])
    for number, part in enumerate(text, 1):
        await manager("PUT", f"/v1/imports/{identifier}/parts/{number}", 200, {"text": part})
    await manager("POST", f"/v1/imports/{identifier}/start", 200)
    return identifier


async def over(manager: Manager, identifier: str, seconds: float = 30.0) -> dict[str, Any]:
    """The import when it is over."""
    found: dict[str, Any] = {}

    async def ended() -> bool:
        found.update(await manager("GET", f"/v1/imports/{identifier}", 200))
        return found["ended_at"] is not None

    await until(ended, seconds)
    return found


async def results(manager: Manager, identifier: str, query: str = "limit=200") -> Rows:
    """All pages."""
    items: Rows = []
    cursor = ""
    while True:
        page: dict[str, Any] = await manager("GET", f"/v1/imports/{identifier}/results?{query}{cursor}", 200)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


async def imported(
    manager: Manager, kind: str, form: str, text: str | Sequence[str], **more: object
) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """The import, and by line what became of the row: its code, or `created` or `left_out`."""
    identifier = await begin(manager, kind, form, text, **more)
    found = await over(manager, identifier)
    return found, [(row["line"], row["code"] or row["outcome"]) for row in await results(manager, identifier)]


def ndjson(*rows: object) -> str:
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


async def told_of_groups(owner: Manager) -> None:
    """CSV with a mark, quotes, empty lines and line breaks of another system."""
    groups = (
        '\ufeffname,id,includes\r\nRope Team,rope-team,everyone\r\n\r\n"Two\nlines",two-lines,\r\n'
        '"Ice, Snow",ice-team, rope-team ; everyone \r\nNo,Not An Id,\r\nRope Team:Two,,\r\nTwins,twin-a,\r\nTWINS,twin-b,\r\n'
    )
    found, told = await imported(owner, "groups", "csv", groups)
    assert [line for line, _ in told] == [2, 4, 6, 7, 8, 9, 10]
    assert [code for _, code in told] == ["created", "name_invalid", "created", "field_invalid", "created", "created", "created"]
    counted = ("state", "rows_read", "rows_valid", "rows_applied", "rows_refused", "problem")
    assert [found[name] for name in counted] == ["ended", 7, 6, 5, 2, None]
    ice = await owner("GET", "/v1/groups/ice-team", 200)
    assert (ice["name"], ice["includes"]) == ("Ice, Snow", ["everyone", "rope-team"])


async def told_of_persons(owner: Manager, foreign_group: str) -> None:
    """NDJSON in parts that are cut anywhere."""
    rows_and_codes: list[tuple[object, str]] = [
        ({"id": "ines", "name": "Ines", "email": "Ines@Rope.example", "groups": ["everyone"], "group_names": ["ROPE team"]}, "created"),
        ({"name": "Otto", "email": "otto@rope.example", "valid_until": "2027-12-31T00:00:00Z"}, "created"),
        ({"id": "ines", "name": "Another Ines"}, "id_taken"),
        ({"name": "Third", "email": "ines@rope.example"}, "email_taken"),
        ({"id": owner.person, "name": "Owner again"}, "id_taken"),
        ({"name": "Lost", "groups": ["nobody-has-this"]}, "group_unknown"),
        ({"name": "Foreign", "groups": [foreign_group]}, "group_unknown"),
        ({"name": "Unnamed group", "group_names": ["No such group"]}, "group_unknown"),
        ({"name": "Whose twin", "group_names": ["Twins"]}, "name_ambiguous"),
        ({"name": "A\u202eB"}, "name_invalid"),
        ({"name": "Role", "roles": []}, "field_invalid"),
        ({"name": "Both ends", "valid_from": "2027-01-02T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"}, "validity_invalid"),
        ("{not json", "row_malformed"),
        ({"name": "Last"}, "created"),
    ]
    text = ndjson(*(row for row, _ in rows_and_codes))
    found, told = await imported(owner, "persons", "ndjson", [text[:100], text[100:101], text[101:]])
    assert told == [(line, code) for line, (_, code) in enumerate(rows_and_codes, 1)]
    assert (found["rows_applied"], found["rows_refused"]) == (3, 11)
    ines = await owner("GET", "/v1/persons/ines", 200)
    assert (ines["email"], ines["groups"], ines["state"]) == ("ines@rope.example", ["everyone", "rope-team"], "active")
    assert [row["row"] for row in await results(owner, str(found["id"]), "outcome=refused&limit=3")] == list(range(3, 14))


async def test_each_row_is_told_what_became_of_it(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    """What was imported opens a door: grants name their persons by address and their groups by name."""
    await told_of_groups(owner)
    neighbour = service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
    await told_of_persons(owner, (await http.post("/v1/groups", json={"name": "Theirs"}, headers=neighbour)).json()["id"])
    lines = (
        "person,person_email,group_name,door,effect", f",OTTO@rope.example,,{DOOR},allow", f",nobody@rope.example,,{DOOR},",
        f"ines,,Rope Team,{DOOR},", f",,rope team,{DOOR},perhaps", f"{stranger(0)},,,front-door,",
    )  # fmt: skip
    _, told = await imported(owner, "grants", "csv", "\n".join(lines))
    assert [code for _, code in told] == ["created", "person_unknown", "field_invalid", "field_invalid", "door_unknown"]
    found: dict[str, Any] = await owner("GET", "/v1/persons?email=otto@rope.example", 200)
    assert await unlocks(service, http, str(found["items"][0]["id"])) == "granted"
    assert await service.database["persons"].count_documents({"org": service.neighbour.id, "name": "Foreign"}) == 0


async def staged(manager: Manager, service: Service, identifier: str, rows: int) -> dict[str, Any]:
    """The import when so many of its rows are in the store, and not yet live."""
    found: dict[str, Any] = {}

    async def so_far() -> bool:
        found.update(await manager("GET", f"/v1/imports/{identifier}", 200))
        return bool(found["rows_applied"] >= rows)

    await until(so_far, 20)
    assert (found["state"], found["ended_at"]) == ("applying", None)
    return found


async def test_what_is_all_or_nothing_does_not_show_before_its_end(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    """Grants: no door opens, nobody reads, changes or takes one; then, from one revision on, all of them are there."""
    person = stranger(5)
    rows = [{"person": person, "door": DOOR} for _ in range(2_500)]
    await owner("POST", "/v1/schedules", 201, {"id": "of-a-stage", "name": "Of a stage", "windows": []})
    rows[1]["schedule"] = "of-a-stage"
    assert await unlocks(service, http, person) == "no_grant"
    identifier = await begin(owner, "grants", "ndjson", ndjson(*rows), all_or_nothing=True)
    await staged(owner, service, identifier, 100)
    assert await unlocks(service, http, person) == "no_grant"
    page: dict[str, Any] = await owner("GET", f"/v1/imports/{identifier}/results?limit=1", 200)
    first = page["items"][0]["id"]
    for method, body in (("GET", None), ("PATCH", {"valid_until": "2028-01-01T00:00:00Z"}), ("DELETE", None)):
        await owner(method, f"/v1/grants/{first}", 404, body, "grant_unknown")
    await owner("DELETE", "/v1/schedules/of-a-stage", 409, code="in_use")
    assert (await owner("GET", f"/v1/grants?person={person}", 200))["items"] == []
    what = f"/v1/access/what?person={person}"
    assert DOOR not in str(await owner("GET", what, 200))
    explained = await owner("GET", f"/v1/access/explain?person={person}&door={DOOR}", 200)
    assert (explained["reason"], explained["rules"]) == ("no_grant", [])
    while (seen := await unlocks(service, http, person)) == "no_grant":
        pass  # it never says anything else before all of them are there
    assert seen == "granted"
    found = await owner("GET", f"/v1/imports/{identifier}", 200)
    assert (found["state"], found["rows_applied"]) == ("ended", 2_500)
    last = await owner("GET", f"/v1/grants/{(await results(owner, identifier))[-1]['id']}", 200)
    assert (last["person"], DOOR in str(await owner("GET", what, 200))) == (person, True)
    page = await owner("GET", f"/v1/grants?person={person}&limit=200", 200)
    assert isinstance(page["items"], list)
    assert len(page["items"]) == 200
    await owner("PATCH", f"/v1/grants/{first}", 200, {"valid_until": "2028-01-01T00:00:00Z"})
    await owner("DELETE", f"/v1/grants/{first}", 200)
    await owner("DELETE", f"/v1/persons/{person}", 200)  # who holds more than ends in one change
    async with second_worker(service.stack.settings) as worker:
        while await worker.end_once() < 1:
            pass
    assert (await owner("GET", f"/v1/grants?person={person}", 200))["items"] == []
    live = await service.database["organizations"].find_one({"_id": service.demo.id})
    assert live is not None and live["stages_live"] == 1


@pytest.mark.parametrize("how", ["a row is refused", "it is stopped", "its maker is suspended"])
async def test_of_all_or_nothing_nothing_is_left(owner: Manager, service: Service, how: str) -> None:
    """Persons, whom nobody ever saw: their ids and addresses are free again, and what was said of each row is told."""
    maker = Manager(service, owner.http, stranger(4))
    await owner("PUT", f"/v1/persons/{stranger(4)}/roles", 200, {"roles": [{"role": "admin", "sites": None}]})
    rows: Rows = [{"id": f"never-{number}", "name": f"Never {number}", "email": f"n{number}@never.example"} for number in range(1_500)]
    rows[0]["groups"] = ["everyone"]
    if how == "a row is refused":
        rows[1_450]["groups"] = ["nobody-has-this"]
    identifier = await begin(maker, "persons", "ndjson", ndjson(*rows), all_or_nothing=True)
    await staged(owner, service, identifier, 100)
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/suspend")):
        await owner(method, f"/v1/persons/never-0{path}", 404, {"name": "X"} if method == "PATCH" else None, "person_unknown")
    await owner("POST", "/v1/grants", 404, {"person": "never-0", "door": DOOR}, "person_unknown")
    await owner("GET", "/v1/grants?person=never-0", 404, code="person_unknown")
    await owner("POST", "/v1/persons", 409, {"id": "never-0", "name": "X"}, "id_taken")
    await owner("POST", "/v1/persons", 409, {"name": "X", "email": "n0@never.example"}, "email_taken")
    assert (await owner("GET", "/v1/persons?name=never", 200))["items"] == []
    members: dict[str, Any] = await owner("GET", "/v1/persons?group=everyone&limit=200", 200)
    assert "never-0" not in {item["id"] for item in members["items"]}
    if how == "it is stopped":
        assert (await owner("POST", f"/v1/imports/{identifier}/stop", 200))["state"] == "undoing"
    if how == "its maker is suspended":
        await owner("POST", f"/v1/persons/{stranger(4)}/suspend", 200)
    found = await over(owner, identifier)
    states = {"a row is refused": ("refused", "import_rows_refused"), "it is stopped": ("stopped", "import_stopped")}
    assert (found["state"], found["problem"]["code"]) == states.get(how, ("stopped", "person_suspended"))
    told = Counter(row["code"] or row["outcome"] for row in await results(owner, identifier))
    assert found["rows_applied"] == 0 and told["created"] == 0 and 100 <= told["left_out"] < 1_500
    if how == "a row is refused":
        assert told == {"left_out": 1_499, "group_unknown": 1}
    assert await service.database["persons"].count_documents({"name": {"$regex": "^Never "}}) == 0
    await owner("POST", f"/v1/persons/{stranger(4)}/resume", 200)
    made = await owner("POST", "/v1/persons", 201, {"id": "never-0", "name": "After all", "email": "n0@never.example"})
    await owner("DELETE", f"/v1/persons/{made['id']}", 200)
    await service.database["persons"].delete_one(
        {"_id": f"{service.demo.id}:never-0"}
    )  # its id is taken for good, and the next case takes it


@pytest.mark.parametrize(
    ("asked", "text", "code", "line"),
    [
        ({"kind": "persons", "format": "csv"}, "name\nGood One\n\"Open, and never closed\nNext\n", "import_file_invalid", 3),
        ({"kind": "persons", "format": "csv"}, "name,password\nGood One,secret\n", "import_file_invalid", 1),
        ({"kind": "persons", "format": "csv"}, "id\nx\n", "import_file_invalid", 1),
        ({"kind": "groups", "format": "csv"}, "", "import_file_invalid", 1),
        ({"kind": "groups", "format": "ndjson"}, "{}\n" * (ROWS_MAX + 1), "import_too_many_rows", ROWS_MAX + 1),
    ],
)  # fmt: skip
async def test_a_file_that_is_wrong_as_a_whole_is_refused_before_any_row(
    owner: Manager, asked: dict[str, object], text: str, code: str, line: int | None
) -> None:
    identifier = str((await owner("POST", "/v1/imports", 201, {**asked, "text": text}))["id"])
    found = await over(owner, identifier)
    assert (found["state"], found["rows_applied"], found["problem"]["code"], found["problem"]["line"]) == ("refused", 0, code, line)
    assert await results(owner, identifier) == []
    assert (await owner("GET", "/v1/persons?name=good", 200))["items"] == []


async def test_parts_are_put_again_and_numbered_without_a_gap(owner: Manager, service: Service) -> None:
    one = "/v1/imports/pieces"
    await owner("POST", "/v1/imports", 201, {"id": "pieces", "kind": "groups", "format": "csv"})
    await owner("POST", "/v1/imports", 409, {"id": "pieces", "kind": "groups", "format": "csv"}, "id_taken")
    await owner("PUT", f"{one}/parts/2", 200, {"text": "wrong\n"})
    await owner("POST", f"{one}/start", 409, code="parts_missing")
    await owner("PUT", f"{one}/parts/1", 200, {"text": "id,name\npiece,Pie"})
    put = await owner("PUT", f"{one}/parts/2", 200, {"text": "ces\n"})
    assert (put["parts"], put["characters"], put["state"]) == (2, 21, "collecting")
    for part in ("0", "65", "01", "x"):
        await owner("PUT", f"{one}/parts/{part}", 404, {"text": ""}, "part_unknown")
    others = [str((await owner("POST", "/v1/imports", 201, {"kind": "groups", "format": "csv"}))["id"]) for _ in range(OPEN_MAX - 1)]
    await owner("POST", "/v1/imports", 409, {"kind": "groups", "format": "csv"}, "imports_too_many")
    await owner("POST", f"{one}/start", 200)
    await over(owner, "pieces")
    assert (await owner("GET", "/v1/groups/piece", 200))["name"] == "Pieces"
    await owner("POST", f"{one}/start", 409, code="import_started")
    await owner("PUT", f"{one}/parts/1", 409, {"text": ""}, "import_started")
    for other in others:
        assert (await owner("POST", f"/v1/imports/{other}/stop", 200))["state"] == "stopped"
        assert (await owner("POST", f"/v1/imports/{other}/stop", 200))["state"] == "stopped"
    assert await service.database["import_parts"].count_documents({"org": service.demo.id}) == 0
    page: dict[str, Any] = await owner("GET", "/v1/imports?limit=4", 200)
    newest = [item["id"] for item in page["items"]]
    assert newest == [*reversed(others), "pieces"]


async def test_whose_role_counts(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    """A manager of one site imports grants at that site; nobody adds to what another one answers for."""
    manager, nobody = Manager(service, http, stranger(1)), Manager(service, http, stranger(2))
    await owner("PUT", f"/v1/persons/{stranger(1)}/roles", 200, {"roles": [{"role": "site_manager", "sites": ["berlin"]}]})
    elsewhere = next(str(door["id"]) for door in service.demo.documents["doors"] if door["site"] != "berlin")
    text = f"person,door\n{stranger(3)},{DOOR}\n{stranger(3)},{elsewhere}\n"
    found, told = await imported(manager, "grants", "csv", text)
    assert (found["state"], told) == ("ended", [(2, "created"), (3, "role_missing")])
    for kind in ("persons", "groups"):  # which are at no site: not one row of theirs could be created
        await manager("POST", "/v1/imports", 403, {"kind": kind, "format": "csv"}, "role_missing")
    await owner("POST", "/v1/imports", 201, {"id": "owners-people", "kind": "persons", "format": "csv"})
    await manager("POST", "/v1/imports/owners-people/stop", 403, code="role_missing")
    await owner("POST", "/v1/imports/owners-people/stop", 200)
    await owner("POST", "/v1/imports", 201, {"id": "owners-own", "kind": "grants", "format": "csv"})
    await manager("PUT", "/v1/imports/owners-own/parts/1", 403, {"text": ""}, "import_of_another")
    await manager("POST", "/v1/imports/owners-own/start", 403, code="import_of_another")
    await manager("POST", "/v1/imports/owners-own/stop", 403, code="role_missing")
    mine = await manager("POST", "/v1/imports", 201, {"kind": "grants", "format": "csv"})
    assert (await manager("POST", f"/v1/imports/{mine['id']}/stop", 200))["state"] == "stopped"
    await manager("GET", "/v1/imports/owners-own", 403, code="role_missing")
    page: dict[str, Any] = await manager("GET", "/v1/imports?limit=200", 200)
    own = {item["id"] for item in page["items"]}
    assert own == {found["id"], mine["id"]}
    await owner("GET", f"/v1/imports/{found['id']}/results", 200)
    for method, path, body in (
        ("POST", "/v1/imports", {"kind": "groups", "format": "csv"}), ("GET", "/v1/imports", None), ("GET", "/v1/imports/owners-own", None),
        ("GET", "/v1/imports/owners-own/results", None), ("PUT", "/v1/imports/owners-own/parts/1", {"text": ""}),
        ("POST", "/v1/imports/owners-own/start", None), ("POST", "/v1/imports/owners-own/stop", None),
    ):  # fmt: skip
        await nobody(method, path, 403, body, "role_missing")
    await owner("POST", "/v1/imports/owners-own/stop", 200)


async def test_a_maker_who_is_suspended_stops_the_import_where_it_is(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    maker = Manager(service, http, stranger(4))
    await owner("PUT", f"/v1/persons/{stranger(4)}/roles", 200, {"roles": [{"role": "admin", "sites": None}]})
    identifier = await begin(maker, "groups", "ndjson", ndjson(*({"name": f"Never all {number}"} for number in range(4_000))))

    async def under_way() -> bool:
        return bool((await owner("GET", f"/v1/imports/{identifier}", 200))["rows_applied"])

    await until(under_way)
    await owner("POST", f"/v1/persons/{stranger(4)}/suspend", 200)
    applied = await service.database["groups"].count_documents({"name": {"$regex": "^Never all"}})
    found = await over(owner, identifier)
    assert (found["state"], found["problem"]["code"]) == ("stopped", "person_suspended")
    assert found["rows_applied"] == applied == await service.database["groups"].count_documents({"name": {"$regex": "^Never all"}})
    assert 0 < applied < 4_000


async def test_an_api_key_imports_until_it_is_switched_off(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    made = await owner("POST", "/v1/api-keys", 201, {"name": "Personnel", "scopes": ["persons.write"]})
    headers = {"Authorization": f"Bearer {made['key']}"}
    rows = ndjson(*({"name": f"By key {number}"} for number in range(4_000)))
    begun = await http.post("/v1/imports", json={"kind": "groups", "format": "ndjson", "text": rows}, headers=headers)
    assert (begun.status_code, begun.json()["by"]) == (201, f"api_key:{made['id']}"), begun.text

    async def under_way() -> bool:
        return bool((await http.get(f"/v1/imports/{begun.json()['id']}", headers=headers)).json()["rows_applied"])

    await until(under_way)
    await owner("PATCH", f"/v1/api-keys/{made['id']}", 200, {"active": False})
    applied = await service.database["groups"].count_documents({"name": {"$regex": "^By key"}})
    found = await over(owner, begun.json()["id"])
    assert (found["state"], found["rows_applied"]) == ("stopped", applied) and 0 < applied < 4_000
    refused = await http.post("/v1/imports", json={"kind": "groups", "format": "csv"}, headers=headers)
    assert refused.status_code == 401


async def test_a_worker_that_dies_in_the_middle_loses_nothing_and_does_nothing_twice(owner: Manager, service: Service) -> None:
    """Killed twice while it applies; how far it is can be read all the time."""
    rows = [
        {"id": f"many-{number}", "name": f"Many {number}", "email": f"many-{number}@many.example"} for number in range(ROWS_OF_THE_KILLED)
    ]
    identifier = await begin(owner, "persons", "ndjson", ndjson(*rows))
    seen: list[int] = []

    async def beyond(count: int) -> None:
        async def applied() -> bool:
            seen.append(int(str((await owner("GET", f"/v1/imports/{identifier}", 200))["rows_applied"])))
            return seen[-1] > count

        await until(applied, 30)

    for count in (0, 700):
        await beyond(count)
        os.kill(service.supervisor.pid("worker"), signal.SIGKILL)
    found = await over(owner, identifier, 60)
    assert (found["state"], found["rows_read"], found["rows_applied"], found["rows_refused"]) == ("ended", len(rows), len(rows), 0)
    assert seen == sorted(seen) and len(set(seen)) >= 3
    told = await results(owner, identifier)
    assert [(row["row"], row["line"], row["outcome"], row["id"]) for row in told] == [
        (number + 1, number + 1, "created", f"many-{number}") for number in range(len(rows))
    ]
    assert await service.database["persons"].count_documents({"name": {"$regex": "^Many "}}) == len(rows)


async def test_what_is_over_is_forgotten_in_time(owner: Manager, service: Service) -> None:
    found, _ = await imported(owner, "groups", "csv", "name\nForgotten\n")
    key = f"{service.demo.id}:{found['id']}"
    await service.database["imports"].update_one({"_id": key}, {"$set": {"expires_at": 1}})
    mongo = Mongo(service.stack.settings.mongo_url or "", service.stack.settings.mongo_database, 10_000)
    try:
        assert await delete_expired(mongo, now_ms()) == 1
        assert await delete_expired(mongo, now_ms()) == 0
    finally:
        await mongo.close()
    await owner("GET", f"/v1/imports/{found['id']}", 404, code="import_unknown")
    assert await service.database["import_results"].count_documents({"_id": {"$regex": f"^{key}:"}}) == 0
