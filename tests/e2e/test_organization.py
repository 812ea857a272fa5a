"""`nexkey organization ...` beside a running service: founded and served without a restart, suspended for everybody, resumed, renamed."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from bson.int64 import Int64
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from py_service import organizations
from py_service._core_rs import DeviceKey
from py_service.errors import Problem
from py_service.identity.accounts import new_account
from py_service.organizations import ListedOrganization, NewOrganization
from py_service.simulators.fleet import FleetOptions, running_fleet
from py_service.simulators.lock import LockIdentity
from py_service.supervise.environment import API_FIELDS, settings_environment
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected, read_journal
from tests.e2e.running import Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACME, OWNER, PASSWORD = "acme-works", "ada@acme.example", "correct horse battery"
SEED = bytes(range(32))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("organization"), doors=2, locks=False) as running:
        running.hook = (await conformance_of(running)).hook
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


async def nexkey(service: Service, *words: str, typed: str = "") -> tuple[int, str, str]:
    """Exit status, what was printed, and what was complained."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "py_service", "organization", *words, env=settings_environment(service.stack.settings, API_FIELDS),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, complained = await asyncio.wait_for(process.communicate(f"{typed}\n".encode()), 30)
    assert process.returncode is not None
    return process.returncode, printed.decode(), complained.decode()


async def created(
    service: Service, *words: str, name: str = "Acme Works", email: str = OWNER, typed: str = PASSWORD
) -> tuple[int, str, str]:
    return await nexkey(service, "create", "--name", name, "--owner-email", email, *words, typed=typed)


async def signed_in(http: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, str]]:
    answer = await http.post("/v1/sign-in", json={"email": OWNER, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return answer.json(), {"Authorization": f"Bearer {answer.json()['access_token']}"}


def public_key() -> str:
    return base64.urlsafe_b64encode(DeviceKey.from_seed(SEED).public_key).rstrip(b"=").decode()


BUILT: list[tuple[str, dict[str, object]]] = [
    ("sites", {"id": "works", "name": "Works", "time_zone": "Europe/Vienna"}),
    ("doors", {"id": "gate", "name": "Gate", "site": "works"}),
    ("devices", {"id": "gate-lock", "public_key": public_key(), "door": "gate"}),
]


async def unlock(http: httpx.AsyncClient, headers: dict[str, str]) -> tuple[int, str]:
    """Status, and the state or the code."""
    answer = await http.post("/v1/doors/gate/unlock", headers=headers | {"Prefer": "wait=5"})
    body = answer.json()
    return answer.status_code, str(body.get("code") or body["state"])


async def test_an_organization_is_founded_served_suspended_and_resumed(service: Service, http: httpx.AsyncClient) -> None:
    pids = set(service.worker_pids())
    status, printed, complained = await created(service)
    assert (status, complained) == (0, "") and printed.startswith(f"{ACME} stands") and PASSWORD not in printed, (printed, complained)
    assert await service.database["signing_keys"].find_one({"_id": f"command:{ACME}:{ACME}.1"}) is not None
    session, owner = await signed_in(http)
    assert session["organization"] == ACME
    async with service.clients_of_each_worker() as clients:
        workers = [found[0] for found in clients.values()]
        for client in workers:
            me = await client.get("/v1/me", headers=owner)
            assert (me.status_code, me.json()["roles"]) == (200, [{"role": "owner", "sites": None}])
        for path, body in BUILT:
            answer = await http.post(f"/v1/{path}", json=body, headers=owner)
            assert answer.status_code == 201, answer.text
        given = await http.post("/v1/grants", json={"person": session["person"], "door": "gate"}, headers=owner)
        assert given.status_code == 201
        options = FleetOptions(service.stack.api_url, service.stack.gateway_url, ACME, service.moves_file)
        async with running_fleet([LockIdentity("gate-lock", "gate", SEED)], options) as fleet:
            await fleet.all_ready(10)
            for client in workers:
                assert await unlock(client, owner) == (200, "unlocked")
            moved = len(service.moves())
            await refused_while_suspended(service, workers, session, owner)
            assert not fleet.locks[0].connected.is_set() and len(service.moves()) == moved
            status, printed, _ = await nexkey(service, "resume", ACME, "--json")
            assert (status, {**json.loads(printed), "revision": None}) == (0, {"id": ACME, "state": "active", "revision": None})
            _, owner = await signed_in(http)
            await fleet.all_ready(20)

            async def opens() -> bool:
                return await unlock(http, owner) == (200, "unlocked")

            await until(opens, 10)
    assert set(service.worker_pids()) == pids


async def refused_while_suspended(
    service: Service, workers: list[httpx.AsyncClient], session: dict[str, Any], owner: dict[str, str]
) -> None:
    http = workers[0]
    issued = (await http.post("/v1/me/realtime-token", headers=owner)).json()
    async with connect(service.stack.gateway_url, subprotocols=[Subprotocol("nexkey.v1.json")], proxy=None) as socket:
        await socket.send(json.dumps({"type": "authenticate", "token": issued["token"]}))
        assert json.loads(await socket.recv())["type"] == "authenticated"
        closed = asyncio.create_task(socket.wait_closed())
        status, printed, complained = await nexkey(service, "suspend", ACME)
        returned = time.monotonic()
        assert (status, complained) == (0, "") and printed.startswith(f"{ACME} is suspended; no lock moves after "), printed
        for client in workers:  # whoever asks after it has returned, whichever process
            assert await unlock(client, owner) == (403, "organization_suspended")
        await asyncio.wait_for(closed, 5)
        assert time.monotonic() - returned < 1.0
        assert (socket.close_code, socket.close_reason) == (4004, "access_revoked")
    for client in workers:
        for method, path, body in (
            ("GET", "/v1/me", None), ("GET", "/v1/sites", None), ("POST", "/v1/me/realtime-token", None),
            ("PATCH", "/v1/sites/works", {"name": "Mine"}), ("POST", "/v1/doors/gate/lockdown", None),
            ("POST", "/v1/sign-in", {"email": OWNER, "password": PASSWORD}),
            ("POST", "/v1/refresh", {"refresh_token": session["refresh_token"]}),
        ):  # fmt: skip
            answer = await client.request(method, path, json=body, headers=owner)
            assert (answer.status_code, answer.json()["code"]) == (403, "organization_suspended"), (path, answer.text)
        assert (await client.get("/v1/me", headers=service.owner())).status_code == 200  # its neighbours live on
    now_ms = time.time_ns() // 1_000_000
    assertion = DeviceKey.from_seed(SEED).sign_assertion(ACME, "gate-lock", now_ms, now_ms + 30_000)
    answer = await http.post("/v1/devices/gate-lock/token", json={"organization": ACME, "assertion": assertion})
    assert (answer.status_code, answer.json()["code"]) == (403, "organization_suspended")
    told = [event for event in (await read_journal(service)).events.values() if event["org"] == ACME and event.get("reason")]
    assert {event["reason"] for event in told if event["kind"] == "authorized.failed"} == {"organization_suspended"}


async def test_an_organization_that_no_owner_gets_into_is_given_one(service: Service, http: httpx.AsyncClient) -> None:
    """Its owner's address was mistyped: their account went there. The operator lets in who has an address here, or somebody new."""

    async def signs_in(email: str, password: str) -> tuple[int, dict[str, str]]:
        answer = await http.post("/v1/sign-in", json={"email": email, "password": password})
        return answer.status_code, {"Authorization": f"Bearer {answer.json().get('access_token')}"}

    first, mistyped, deputy, fresh = (f"{name}@stranded.example" for name in ("mia", "mai", "ole", "new"))
    assert (await created(service, "--id", "stranded", name="Stranded", email=first))[0] == 0
    _, owner = await signs_in(first, PASSWORD)
    person = (await http.get("/v1/me", headers=owner)).json()["person"]
    made = await http.post("/v1/persons", json={"id": "deputy", "name": "Ole", "email": deputy}, headers=owner)
    assert made.status_code == 201, made.text
    assert (await http.post("/v1/persons/deputy/suspend", headers=owner)).status_code == 200
    assert (await http.patch(f"/v1/persons/{person}", json={"email": mistyped}, headers=owner)).status_code == 200
    assert (await signs_in(first, PASSWORD))[0] == (await signs_in(mistyped, PASSWORD))[0] == 401
    neighbours = service.made.account("owner").email
    earlier = {"_id": "earlier@stranded.example", **new_account("stranded", "deputy", "of an older version")}
    await service.database["accounts"].insert_one(earlier)
    for words, typed, code in (
        (("nobody-has-this", "--email", fresh), PASSWORD, "organization_unknown"),
        (("stranded", "--email", neighbours), PASSWORD, "email_taken"),
        (("stranded", "--email", fresh), "short", "password_weak"),
    ):
        status, printed, complained = await nexkey(service, "appoint-owner", *words, typed=typed)
        assert (status, printed) == (1, "") and complained.startswith(f"nexkey: {code}: "), complained
    appointed: dict[str, str] = {}
    for email in (deputy, fresh, deputy):
        chosen = f"a new password for {email[:3]} {time.monotonic_ns()}"
        status, printed, complained = await nexkey(service, "appoint-owner", "stranded", "--email", email, typed=chosen)
        assert (status, complained, chosen in printed) == (0, "", False), complained
        status, appointed = await signs_in(email, chosen)
        assert status == 200
        me = (await http.get("/v1/me", headers=appointed)).json()
        assert (me["roles"], me["person"] == "deputy") == ([{"role": "owner", "sites": None}], email == deputy)
    assert await service.database["accounts"].find_one({"_id": earlier["_id"]}) is None
    ended = await http.get("/v1/me", headers=owner)
    assert (ended.status_code, ended.json()["code"]) == (401, "token_revoked")
    assert (await http.patch(f"/v1/persons/{person}", json={"email": first}, headers=appointed)).status_code == 200
    journal = (await read_journal(service)).events.values()
    appointments = [event for event in journal if event["kind"] == "management.owner_appointed"]
    assert [(event["org"], event["actor"]) for event in appointments] == [("stranded", "service")] * 3


async def test_the_operator_renames_one_until_it_is_archived(service: Service, http: httpx.AsyncClient) -> None:
    assert (await created(service, "--id", "plain", name="Plain", email="rita@plain.example"))[0] == 0
    session = (await http.post("/v1/sign-in", json={"email": "rita@plain.example", "password": PASSWORD})).json()
    owner = {"Authorization": f"Bearer {session['access_token']}"}

    async def listed() -> ListedOrganization:
        return next(one for one in await organizations.list_organizations(service.stack.settings) if one.id == "plain")

    assert await nexkey(service, "rename", "plain", "--name", " Plain Works ") == (0, "plain is called Plain Works\n", "")
    async with service.clients_of_each_worker() as clients:
        for client in (found[0] for found in clients.values()):
            shown = await client.get("/v1/organization", headers=owner)
            assert (shown.status_code, shown.json()["id"], shown.json()["name"]) == (200, "plain", "Plain Works")
    assert (await nexkey(service, "suspend", "plain"))[0] == 0
    for _ in range(2):  # a repeat is no second change, as the journal shows below
        status, printed, complained = await nexkey(service, "rename", "plain", "--name", "Plainer", "--json")
        assert (status, complained) == (0, "")
        assert json.loads(printed) == {"id": "plain", "name": "Plainer", "revision": (await listed()).revision}
    before = await listed()
    assert (before.name, before.state) == ("Plainer", "suspended")
    for identifier, name, code in (
        ("nobody-has-this", "Mine", "organization_unknown"), ("$ne", "Mine", "organization_unknown"),
        ("plain", " ", "name_invalid"), ("plain", "a\u202eb", "name_invalid"), ("plain", "a" * 201, "name_invalid"),
    ):  # fmt: skip
        status, printed, complained = await nexkey(service, "rename", identifier, "--name", name)
        assert (status, printed) == (1, "") and complained.startswith(f"nexkey: {code}: "), complained
    assert await listed() == before
    assert (await nexkey(service, "archive", "plain"))[0] == 0
    archived = await listed()
    status, printed, _ = await nexkey(service, "rename", "plain", "--name", "Late", "--json")
    assert (status, json.loads(printed)["code"]) == (1, "organization_archived")
    assert await listed() == archived and archived.name == "Plainer"
    journal = (await read_journal(service)).events.values()
    changes = [event for event in journal if event["org"] == "plain" and event["kind"] == "management.organization_changed"]
    assert [event["actor"] for event in changes] == ["service"] * 2


async def test_what_the_operator_gets_wrong_changes_nothing(service: Service) -> None:
    settings = service.stack.settings
    before = await organizations.list_organizations(settings)
    assert {"nordlicht", "hafenblick"} <= {one.id for one in before}
    fresh = NewOrganization("fresh", "Fresh", "new@acme.example", "Eve", PASSWORD)
    for wanted, code in (
        (replace(fresh, id="nordlicht"), "id_taken"),
        (replace(fresh, owner_email=service.made.account("owner").email), "email_taken"),
        (replace(fresh, owner_email="nobody"), "email_invalid"),
        (replace(fresh, password="short"), "password_weak"),
        (replace(fresh, owner_name="correct horse battery"), "password_weak"),
        (replace(fresh, id="Not:An:Id"), "field_invalid"),
    ):
        with pytest.raises(Problem) as refused:
            await organizations.found_organization(settings, wanted)
        assert refused.value.code == code
    for identifier in ("nobody-has-this", "nordlicht:berlin", "$ne"):
        with pytest.raises(Problem) as refused:
            await organizations.set_organization_state(settings, identifier, active=False)
        assert refused.value.code == "organization_unknown"
    assert await organizations.list_organizations(settings) == before
    assert await service.database["accounts"].find_one({"_id": fresh.owner_email}) is None
    status, printed, complained = await created(service, "--id", "nordlicht")
    assert (status, printed) == (1, "") and complained.startswith("nexkey: id_taken: "), complained


async def test_a_founding_that_broke_off_is_completed_by_its_repeat(service: Service, http: httpx.AsyncClient) -> None:
    """All that it writes before the change itself: the account, the command key, the revision."""
    account = {"_id": "eve@broken.example", "org": "broken", "person": "person_first", "password": "of another try"}
    await service.database["accounts"].insert_one(account)
    await service.database["revisions"].insert_one({"_id": "broken", "revision": Int64(0)})
    status, printed, _ = await nexkey(service, "list", "--json")
    assert status == 0 and {"id": "broken", "name": "", "state": "unfinished", "revision": 0} in json.loads(printed)
    denied = await http.post("/v1/sign-in", json={"email": "eve@broken.example", "password": PASSWORD})
    assert denied.status_code == 401
    await organizations.found_organization(
        service.stack.settings, NewOrganization("broken", "Broken", "Eve@broken.example", "Eve", PASSWORD)
    )
    answer = await http.post("/v1/sign-in", json={"email": "eve@broken.example", "password": PASSWORD})
    assert (answer.status_code, answer.json()["organization"]) == (200, "broken")
    persons = await service.database["persons"].find({"org": "broken"}).to_list()
    assert [person["id"] for person in persons] == [answer.json()["person"]]


async def test_owners_and_admins_rename_it_and_everybody_with_a_role_reads_the_table(service: Service, http: httpx.AsyncClient) -> None:
    owner, person = service.owner(), service.demo.persons[-1].id

    async def hold(role: str, sites: list[str] | None) -> dict[str, str]:
        answer = await http.put(f"/v1/persons/{person}/roles", json={"roles": [{"role": role, "sites": sites}]}, headers=owner)
        assert answer.status_code == 200, answer.text
        return service.headers(person)

    first = await http.get("/v1/organization", headers=owner)
    assert (first.status_code, first.json()["id"], first.json()["name"]) == (200, "nordlicht", "Nordlicht Instruments")
    renamed = await http.patch("/v1/organization", json={"name": " Nordlicht "}, headers=owner | {"If-Match": first.headers["etag"]})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Nordlicht") and renamed.headers["etag"] != first.headers["etag"]
    late = await http.patch("/v1/organization", json={"name": "Late"}, headers=owner | {"If-Match": first.headers["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    same = await http.patch("/v1/organization", json={}, headers=owner)
    assert (same.status_code, same.headers["etag"]) == (200, renamed.headers["etag"])
    for name in ("", " ", "a\u202eb"):
        answer = await http.patch("/v1/organization", json={"name": name}, headers=owner)
        assert answer.json()["code"] == ("name_invalid" if name else "field_invalid"), answer.text
    admin = await hold("admin", None)
    assert (await http.patch("/v1/organization", json={"name": "Nordlicht GmbH"}, headers=admin)).status_code == 200
    assert (await http.get("/v1/organization", headers=owner)).json()["name"] == "Nordlicht GmbH"
    manager = await hold("site_manager", ["berlin"])
    for method, body in (("GET", None), ("PATCH", {"name": "Mine"})):
        answer = await http.request(method, "/v1/organization", json=body, headers=manager)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")
    table = {item["role"]: item["permissions"] for item in (await http.get("/v1/roles", headers=manager)).json()["items"]}
    assert (
        list(table)[:2] == ["owner", "admin"] and "lockdown.write" in table["site_manager"] and "sites.write" not in table["site_manager"]
    )
