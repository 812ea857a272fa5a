"""API keys over HTTP, two api workers: what they may do, where, and that nothing of one is served once its end has returned."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service.identity.api_key import make_key
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected
from tests.e2e.manager import DOOR, Manager
from tests.e2e.running import Service, random_key, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

READS = {"name": "Reader", "scopes": ["persons.read", "doors.read", "events.read"], "sites": None}
UNKNOWN = (401, "api_key_unknown")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("api-keys"), doors=4, locks=False, strangers=2) as running:
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client(hook=(await conformance_of(service)).hook) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def owner(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.demo.cast["owner"].id)


async def ask(http: httpx.AsyncClient, key: object, method: str, path: str, json: object = None) -> tuple[int, str]:
    """Status, and the code of a refusal."""
    answer = await http.request(method, path, json=json, headers={"Authorization": f"Bearer {key}"})
    return answer.status_code, str(answer.json()["code"]) if answer.status_code >= 400 else ""


async def test_a_key_does_what_its_scopes_say_and_nothing_of_a_persons_own(
    owner: Manager, http: httpx.AsyncClient, service: Service
) -> None:
    made = await owner("POST", "/v1/api-keys", 201, {"name": "Payroll", "scopes": ["grants.write", "persons.read"]})
    key, path = str(made["key"]), f"/v1/api-keys/{made['id']}"
    assert (made["sites"], made["active"], made["last_used_at"], made["created_by"]) == (None, True, None, owner.person)
    assert "key" not in await owner("GET", path, 200) and made["secrets"] == [{"created_at": made["created_at"], "ends_at": None}]

    answer = await http.post("/v1/grants", json={"person": "stranger-0", "door": DOOR}, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 201, answer.text
    assert await ask(http, key, "GET", "/v1/persons") == (200, "")
    for method, path_of_another, body in (
        ("PATCH", "/v1/persons/stranger-0", {"name": "Mine"}), ("GET", "/v1/doors", None), ("POST", f"/v1/doors/{DOOR}/lockdown", None),
        ("POST", "/v1/api-keys", READS), ("GET", "/v1/api-keys", None), ("PUT", "/v1/persons/stranger-0/roles", {"roles": []}),
    ):  # fmt: skip
        assert await ask(http, key, method, path_of_another, body) == (403, "role_missing"), (method, path_of_another)
    for method, mine in (
        ("POST", f"/v1/doors/{DOOR}/unlock"), ("GET", "/v1/me"), ("GET", "/v1/me/sessions"), ("POST", "/v1/me/realtime-token"),
    ):  # fmt: skip
        assert await ask(http, key, method, mine) == (403, "person_needed"), mine
    await projected(service)
    given = await service.database["events"].find_one({"kind": "management.grant_given", "actor": f"api_key:{made['id']}"})
    assert given is not None and given["subject"] == answer.json()["id"]

    async def noted() -> bool:
        return (await owner("GET", path, 200))["last_used_at"] is not None

    await until(noted, 5)


async def test_nothing_of_a_key_is_kept_that_would_open(owner: Manager, service: Service) -> None:
    made = await owner("POST", "/v1/api-keys", 201, READS, Idempotency_Key=random_key())
    secret = str(made["key"]).rpartition(".")[2][:43]
    for collection in await service.database.list_collection_names():
        for document in await service.database[collection].find({}).to_list():
            assert secret not in str(document), collection
    logs = service.stack.settings.data_folder.rglob("*.log")
    assert all(secret not in log.read_text(errors="replace") for log in logs)


async def test_a_key_of_some_sites_sees_and_changes_only_what_is_there(owner: Manager, http: httpx.AsyncClient) -> None:
    await owner("POST", "/v1/sites", 201, {"id": "oslo", "name": "Oslo", "time_zone": "Europe/Oslo"})
    await owner("POST", "/v1/doors", 201, {"id": "oslo-door", "name": "Door", "site": "oslo"})
    wanted = {"name": "Oslo", "scopes": ["doors.read", "doors.write"], "sites": ["oslo"]}
    key = (await owner("POST", "/v1/api-keys", 201, wanted))["key"]
    listed = await http.get("/v1/doors", headers={"Authorization": f"Bearer {key}"})
    assert [door["id"] for door in listed.json()["items"]] == ["oslo-door"]
    assert await ask(http, key, "PATCH", "/v1/doors/oslo-door", {"name": "Front"}) == (200, "")
    assert (await ask(http, key, "PATCH", f"/v1/doors/{DOOR}", {"name": "Front"}))[0] in (403, 404)
    await owner("POST", "/v1/api-keys", 404, {**wanted, "sites": ["elsewhere"]}, code="site_unknown")


async def test_a_site_that_was_deleted_keeps_nobody_from_changing_a_key(owner: Manager, http: httpx.AsyncClient) -> None:
    for site in ("bergen", "tromso"):
        await owner("POST", "/v1/sites", 201, {"id": site, "name": site, "time_zone": "Europe/Oslo"})
    made = await owner("POST", "/v1/api-keys", 201, {"name": "North", "scopes": ["doors.read"], "sites": ["tromso", "berlin"]})
    path = f"/v1/api-keys/{made['id']}"
    await owner("DELETE", "/v1/sites/tromso", 200)
    assert (await owner("PATCH", path, 200, {"name": "Of the north"}))["sites"] == ["berlin", "tromso"]
    assert (await owner("PATCH", path, 200, {"scopes": ["doors.read", "events.read"]}))["sites"] == ["berlin", "tromso"]
    await owner("PATCH", path, 404, {"sites": ["tromso", "elsewhere"]}, "site_unknown")
    assert (await owner("PATCH", path, 200, {"sites": ["bergen", "tromso"]}))["sites"] == ["bergen", "tromso"]
    assert await ask(http, made["key"], "GET", "/v1/doors") == (200, "")
    assert (await owner("PATCH", path, 200, {"active": False}))["active"] is False
    await owner("PATCH", path, 200, {"sites": ["berlin"]})
    await owner("PATCH", path, 404, {"sites": ["berlin", "tromso"]}, "site_unknown")  # it has left, and there is none to come back to
    await owner("POST", "/v1/api-keys", 404, {"name": "North", "scopes": ["doors.read"], "sites": ["tromso"]}, code="site_unknown")


async def test_nobody_gives_a_key_what_they_do_not_have(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    await owner("PUT", "/v1/persons/stranger-1/roles", 200, {"roles": [{"role": "site_manager", "sites": None}]})
    await Manager(service, http, "stranger-1")("POST", "/v1/api-keys", 403, READS, code="role_missing")
    for wrong in (["owner"], ["keys.write"], ["everything"], []):
        await owner("POST", "/v1/api-keys", 400, {**READS, "scopes": wrong}, code="field_invalid")
    for moment in ("2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z"):
        await owner("POST", "/v1/api-keys", 422, {**READS, "expires_at": moment}, code="validity_invalid")
    made = await owner("POST", "/v1/api-keys", 201, READS)
    year = datetime.datetime.fromisoformat(str(made["expires_at"])) - datetime.datetime.fromisoformat(str(made["created_at"]))
    assert year == datetime.timedelta(days=365)


async def test_a_key_makes_nobody_mightier_than_it_is(owner: Manager, http: httpx.AsyncClient) -> None:
    made = await owner(
        "POST", "/v1/api-keys", 201, {"name": "Roles", "scopes": ["roles.write", "doors.read", "events.read", "persons.read"]}
    )
    path = "/v1/persons/stranger-1/roles"
    for role in ("admin", "site_manager", "installer"):
        assert await ask(http, made["key"], "PUT", path, {"roles": [{"role": role, "sites": ["berlin"]}]}) == (403, "role_missing"), role
    assert await ask(http, made["key"], "PUT", path, {"roles": [{"role": "auditor", "sites": ["berlin"]}]}) == (200, "")
    assert await ask(http, made["key"], "PUT", path, {"roles": []}) == (200, "")


async def test_a_key_that_may_not_give_a_role_decides_nobodys_address_who_has_it(owner: Manager, http: httpx.AsyncClient) -> None:
    """Neither does it invite them, or take back that somebody else did."""
    admin, plain = "key-admin", "key-plain"
    for person in (admin, plain):
        await owner("POST", "/v1/persons", 201, {"id": person, "name": person, "email": f"{person}@keys.example"})
    await owner("PUT", f"/v1/persons/{admin}/roles", 200, {"roles": [{"role": "admin", "sites": None}]})
    for identifier, person in (("inv-admin", admin), ("inv-plain", plain)):
        await owner("POST", "/v1/invitations", 201, {"id": identifier, "person": person})
    made = await owner("POST", "/v1/api-keys", 201, {"name": "People", "scopes": ["persons.write", "roles.write", "persons.read"]})
    asked: list[tuple[str, str, dict[str, object] | None]] = [
        ("PATCH", "/v1/persons/{}", {"email": "evil-{}@keys.example"}),
        ("POST", "/v1/invitations/inv-{}/resend", None),
        ("DELETE", "/v1/invitations/inv-{}", None),
        ("POST", "/v1/invitations", {"person": "{}"}),
    ]
    for method, path, body in asked:
        answers = []
        for person, short in ((admin, "admin"), (plain, "plain")):
            sent = None if body is None else {name: str(value).format(person) for name, value in body.items()}
            answers.append(await ask(http, made["key"], method, path.format(person if "persons" in path else short), sent))
        assert answers[0] == (403, "role_missing") and answers[1][0] in (200, 201, 404), (method, path, answers)
    assert (await owner("GET", f"/v1/persons/{admin}", 200))["email"] == f"{admin}@keys.example"
    await owner("PUT", f"/v1/persons/{admin}/roles", 200, {"roles": []})


async def test_what_is_no_key_or_nobodys_is_told_apart_from_nothing_else(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    made = await owner("POST", "/v1/api-keys", 201, READS)
    key, organization = str(made["key"]), service.demo.id
    wrong = [make_key(organization, str(made["id"])), make_key(organization, "none"), make_key("no-such", str(made["id"]))]
    wrong.append(make_key(service.neighbour.id, str(made["id"])))
    answers = [await http.get("/v1/persons", headers={"Authorization": f"Bearer {text}"}) for text in wrong]
    assert {(answer.status_code, answer.json()["code"], answer.json()["detail"]) for answer in answers} == {
        (401, "api_key_unknown", answers[0].json()["detail"])
    }
    for text in (key[:-1], key + "0", key[:-1] + ("0" if key[-1] != "0" else "1"), "nxk_", "nxk_" + "x" * 3_000):
        assert await ask(http, text, "GET", "/v1/persons") == (401, "api_key_malformed")


async def test_rotation_switching_off_and_expiry(owner: Manager, http: httpx.AsyncClient, service: Service) -> None:
    made = await owner("POST", "/v1/api-keys", 201, READS)
    path = f"/v1/api-keys/{made['id']}"
    second = await owner("POST", f"{path}/rotate", 200)
    assert [secret["ends_at"] is None for secret in _secrets(second)] == [False, True]
    for key in (made["key"], second["key"]):
        assert await ask(http, key, "GET", "/v1/persons") == (200, "")
    await owner("POST", f"{path}/rotate", 409, {"overlap_seconds": 60}, code="rotation_under_way")
    third = await owner("POST", f"{path}/rotate", 200, {"overlap_seconds": 0})
    for key in (made["key"], second["key"]):
        assert await ask(http, key, "GET", "/v1/persons") == UNKNOWN
    assert await ask(http, third["key"], "GET", "/v1/persons") == (200, "")
    etag = owner.etag
    await owner("PATCH", path, 200, {"active": False}, If_Match=etag)
    assert await ask(http, third["key"], "GET", "/v1/persons") == (401, "api_key_inactive")
    assert await ask(http, make_key(service.demo.id, str(made["id"])), "GET", "/v1/persons") == UNKNOWN
    await owner("PATCH", path, 412, {"active": True}, code="changed_meanwhile", If_Match=etag)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1.2)
    await owner("PATCH", path, 200, {"active": True, "expires_at": soon.isoformat()})
    assert await ask(http, third["key"], "GET", "/v1/persons") == (200, "")
    await asyncio.sleep(1.3)
    assert await ask(http, third["key"], "GET", "/v1/persons") == (401, "api_key_expired")
    assert (await owner("PATCH", path, 200, {"name": "Was a reader", "scopes": ["persons.read"]}))["name"] == "Was a reader"
    await owner("PATCH", path, 422, {"expires_at": soon.isoformat()}, code="validity_invalid")
    await owner("POST", f"{path}/rotate", 422, code="validity_invalid")
    later = soon + datetime.timedelta(days=1)
    await owner("PATCH", path, 200, {"expires_at": later.isoformat()})
    assert await ask(http, (await owner("POST", f"{path}/rotate", 200))["key"], "GET", "/v1/persons") == (200, "")


def _secrets(key: dict[str, object]) -> list[dict[str, Any]]:
    assert isinstance(key["secrets"], list)
    return key["secrets"]


async def test_a_repeat_shows_the_same_key_and_makes_no_other(owner: Manager) -> None:
    key = random_key()
    first = await owner("POST", "/v1/api-keys", 201, {**READS, "name": "Once"}, Idempotency_Key=key)
    again = await owner("POST", "/v1/api-keys", 201, {**READS, "name": "Once"}, Idempotency_Key=key)
    assert again == first
    assert (await owner.names("/v1/api-keys?name=once")) == ["Once"]


ENDS: dict[str, tuple[str, str, object, str]] = {
    "revoked": ("DELETE", "", None, "api_key_unknown"),
    "switched off": ("PATCH", "", {"active": False}, "api_key_inactive"),
    "rotated": ("POST", "/rotate", {"overlap_seconds": 0}, "api_key_unknown"),
    "narrowed": ("PATCH", "", {"scopes": ["doors.read"]}, "role_missing"),
}


async def asked_on(
    client: httpx.AsyncClient, key: object, wanted: tuple[str, str, object], code: str, ended: asyncio.Event, late: list[str]
) -> int:
    """Ask until refused after the end; how often it was served. `late` hears of what was asked after the end and served."""
    count = 0
    for _ in range(100):
        after = ended.is_set()
        status, told = await ask(client, key, *wanted)
        count += status < 400
        if status >= 400:
            assert told == code
            if after:
                break
        elif after:
            late.append(f"{wanted} got {status}")
    return count


@pytest.mark.parametrize("end", list(ENDS))
async def test_once_the_end_has_returned_no_worker_serves_the_key(owner: Manager, service: Service, end: str) -> None:
    """12 keys, each ended through one worker while requests with it go on at both: reads (fenced at the edge), changes (in their lane)."""
    method, more, body, code = ENDS[end]
    late: list[str] = []
    served = 0
    async with service.clients_of_each_worker(each=2) as clients:
        (first, third, *_), (second, fourth, *_) = clients.values()
        for number in range(12):
            made = await owner("POST", "/v1/api-keys", 201, {"name": "Race", "scopes": ["persons.read", "persons.write"]})
            ended = asyncio.Event()

            asking = [
                asyncio.create_task(asked_on(client, made["key"], wanted, code, ended, late))
                for client, wanted in (
                    (second, ("GET", "/v1/persons?limit=1", None)), (third, ("GET", "/v1/persons?limit=1", None)),
                    (fourth, ("PATCH", "/v1/persons/stranger-0", {"name": f"Stranger {number}"})),
                )
            ]  # fmt: skip
            await asyncio.sleep(0.01)
            answer = await first.request(method, f"/v1/api-keys/{made['id']}{more}", json=body, headers=service.owner())
            ended.set()
            assert answer.status_code == 200, answer.text
            served += sum(await asyncio.gather(*asking))
    assert late == []
    assert served > 12, "hardly anybody was served, so hardly anything was tried"
