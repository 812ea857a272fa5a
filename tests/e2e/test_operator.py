"""Organizations over HTTP: the owners of the operator's organization, and nobody else, found, rename, suspend, resume and archive them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from bson.int64 import Int64

from py_service import organizations
from py_service.errors import Problem
from py_service.mail.mailbox import read_mailbox
from py_service.organizations import NewOrganization
from tests.e2e.conformance import conformance_of
from tests.e2e.described import Described, operations
from tests.e2e.evidence import faults_in_the_books, projected, read_journal, standing
from tests.e2e.manager import Manager
from tests.e2e.running import Service, random_key, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR, OTHER = "hafenblick", "nordlicht"
PASSWORD = "a long enough password"
STEPS = 150


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("operator")
    async with running_service(
        folder, doors=2, locks=False, strangers=1, public_url="https://keys.example", operator_organization=OPERATOR
    ) as running:  # fmt: skip
        running.hook = (await conformance_of(running)).hook
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def operator(service: Service, http: httpx.AsyncClient) -> Manager:
    return Manager(service, http, service.neighbour.cast["owner"].id, OPERATOR)


def new(identifier: str, email: str | None = None) -> dict[str, object]:
    return {
        "id": identifier, "name": f"The {identifier}", "owner": {"email": email or f"owner@{identifier}.example", "name": "Mira Seidel"},
    }  # fmt: skip


async def accepted(service: Service, http: httpx.AsyncClient, email: str, organization: str) -> dict[str, Any]:
    """The session of whoever was invited there under this address."""
    answer = await accepting(service, http, email, organization)
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


async def accepting(service: Service, http: httpx.AsyncClient, email: str, organization: str) -> httpx.Response:
    """The link of the mail with which this organization invites this address, accepted. Mails come in any order."""
    links: list[str] = []

    def mailed() -> bool:
        for mail in read_mailbox(service.stack.settings.data_folder / "mail"):
            if mail.to == email and f"The {organization} invites you" in mail.text:
                links.extend(re.findall(r"accept-invitation#(\S+)", mail.text))
        return bool(links)

    await until(mailed, 10)
    return await http.post("/v1/invitations/accept", json={"token": links[-1], "password": PASSWORD})


def shown(session: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['access_token']}"}


async def test_an_organization_is_founded_and_served_by_every_worker_and_its_owner_comes_in_by_mail(
    service: Service, http: httpx.AsyncClient, operator: Manager
) -> None:
    made = await operator("POST", "/v1/operator/organizations", 201, new("seehaus", " Mira@Seehaus.example"))
    assert (made["id"], made["name"], made["state"]) == ("seehaus", "The seehaus", "active")
    assert await service.database["signing_keys"].find_one({"_id": "command:seehaus:seehaus.1"}) is not None
    session = await accepted(service, http, "mira@seehaus.example", "seehaus")
    assert (session["organization"], session["person"]) == ("seehaus", made["person"])
    async with service.clients_of_each_worker() as clients:
        for client, *_ in clients.values():
            me = await client.get("/v1/me", headers=shown(session))
            assert (me.status_code, me.json()["roles"]) == (200, [{"role": "owner", "sites": None}])
    built = await http.post("/v1/sites", json={"name": "Works", "time_zone": "Europe/Vienna"}, headers=shown(session))
    assert built.status_code == 201
    invitation = await http.get(f"/v1/invitations/{made['invitation']}", headers=shown(session))
    assert (invitation.status_code, invitation.json()["state"]) == (200, "accepted")
    journal = (await read_journal(service)).events.values()
    founded = next(event for event in journal if event["kind"] == "management.organization_created" and event["org"] == "seehaus")
    assert (founded["actor"], founded["detail"]) == ("service", {"operator": operator.person})


async def test_who_asks_again_is_answered_again_and_an_id_is_taken_once(
    service: Service, http: httpx.AsyncClient, operator: Manager
) -> None:
    headers = operator.headers | {"Idempotency-Key": random_key()}
    first, *others = [await http.post("/v1/operator/organizations", json=new("twice"), headers=headers) for _ in range(3)]
    assert first.status_code == 201 and [answer.json() for answer in others] == [first.json()] * 2
    assert await service.database["persons"].count_documents({"org": "twice"}) == 1
    await projected(service)
    before = await standing(service)
    await operator("POST", "/v1/operator/organizations", 409, new("twice"), code="id_taken")
    await operator("POST", "/v1/operator/organizations", 409, new(OTHER), code="id_taken")
    for changed, status, code in (
        ({"id": "Not:An:Id"}, 400, "field_invalid"), ({"name": " "}, 422, "name_invalid"), ({"name": "a\u202eb"}, 422, "name_invalid"),
        ({"id": None, "name": "\u6771\u4eac"}, 422, "name_invalid"), ({"owner": {"email": "nobody", "name": "X"}}, 422, "email_invalid"),
        ({"owner": {"email": "a@b.example", "name": "\u200b"}}, 422, "name_invalid"), ({"owner": None}, 400, "field_invalid"),
    ):  # fmt: skip
        await operator("POST", "/v1/operator/organizations", status, {**new("wrong"), **changed}, code=code)
    after = await standing(service)
    assert [collection for collection in before if before[collection] != after[collection]] == []
    named = await operator("POST", "/v1/operator/organizations", 201, {"name": "M\u00fcller & S\u00f6hne", "owner": new("m")["owner"]})
    assert named["id"] == "muller-sohne"
    together = await asyncio.gather(
        *(http.post("/v1/operator/organizations", json=new("raced"), headers=operator.headers) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in together) == [201] + [409] * 7
    assert await service.database["persons"].count_documents({"org": "raced"}) == 1


async def test_a_founding_that_broke_off_is_nobodys_until_it_is_repeated(service: Service, operator: Manager) -> None:
    await service.database["revisions"].insert_one({"_id": "broken", "revision": Int64(0)})
    await operator("GET", "/v1/operator/organizations/broken", 404, code="organization_unknown")
    await operator("POST", "/v1/operator/organizations/broken/suspend", 404, code="organization_unknown")
    await operator("POST", "/v1/operator/organizations", 201, new("broken"))


async def strangers(service: Service, http: httpx.AsyncClient) -> dict[str, dict[str, str]]:
    """Headers of everybody who isn't an owner of the operator's organization, each as mighty as they come."""
    operators_owner = service.neighbour.cast["owner"].id
    owner = service.headers(operators_owner, OPERATOR)
    for person in ("an-admin", "an-employee"):
        made = await http.post("/v1/persons", json={"id": person, "name": person}, headers=owner)
        assert made.status_code == 201, made.text
    answer = await http.put("/v1/persons/an-admin/roles", json={"roles": [{"role": "admin", "sites": None}]}, headers=owner)
    assert answer.status_code == 200, answer.text
    table = (await http.get("/v1/roles", headers=owner)).json()["items"]
    owners = next(item["permissions"] for item in table if item["role"] == "owner")
    scopes = [each for each in owners if each not in ("owner", "keys.write")]
    key = await http.post("/v1/api-keys", json={"name": "All", "scopes": scopes}, headers=owner)
    assert key.status_code == 201, key.text
    return {
        "owner of another organization": service.owner(),
        "admin of the operator's": service.headers("an-admin", OPERATOR),
        "employee of the operator's": service.headers("an-employee", OPERATOR),
        "an API key of the operator's": {"Authorization": f"Bearer {key.json()['key']}"},
        "owner's name in another organization": service.headers(operators_owner, OTHER),
    }


def of_operator(document: dict[str, Any]) -> list[Described]:
    found = [each for each in operations(document) if each.of_operator]
    assert len(found) == 7
    return found


async def refusals(service: Service, http: httpx.AsyncClient, headers: dict[str, str], organization: str) -> set[tuple[int, str]]:
    """To every operation of the operator's, in a good form."""
    told = set()
    for each in of_operator((await http.get("/v1/openapi.json")).json()):
        answer = await each.good({"organization": organization}).send(http, headers)
        assert answer.status_code >= 400, (each.name, answer.text)
        told.add((answer.status_code, answer.json()["code"]))
    return told


async def test_nobody_else_does_or_learns_anything(service: Service, http: httpx.AsyncClient, operator: Manager) -> None:
    await operator("POST", "/v1/operator/organizations", 201, new("private"))
    everybody = await strangers(service, http)
    await projected(service)
    before = await standing(service)
    elsewhere = {(403, "operator_needed"), (404, "organization_unknown")}
    expected = {
        "owner of another organization": elsewhere,
        "admin of the operator's": {(403, "role_missing")},
        "employee of the operator's": {(403, "role_missing")},
        "an API key of the operator's": {(403, "person_needed")},
        "owner's name in another organization": elsewhere,
    }
    for who, headers in everybody.items():
        for organization in ("private", "nobody-has-this", OTHER, OPERATOR):
            assert await refusals(service, http, headers, organization) == expected[who], (who, organization)
    after = await standing(service)
    assert [collection for collection in before if before[collection] != after[collection]] == []


async def test_without_the_setting_nobody_is_the_operator(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_service(tmp_path_factory.mktemp("no-operator"), doors=2, locks=False) as service, service.client() as http:
        for headers in (service.owner(), service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)):
            told = await refusals(service, http, headers, service.neighbour.id)
            assert told == {(403, "operator_needed"), (404, "organization_unknown")}


async def test_who_is_an_owner_no_more_is_refused_by_every_worker_at_once(
    service: Service, http: httpx.AsyncClient, operator: Manager
) -> None:
    second = str((await operator("POST", "/v1/persons", 201, {"name": "Second", "email": "second@hafenblick.example"}))["id"])
    owner_too = {"roles": [{"role": "owner", "sites": None}]}
    async with service.clients_of_each_worker() as clients:
        for end in (
            ("PUT", f"/v1/persons/{second}/roles", {"roles": [{"role": "admin", "sites": None}]}),
            ("POST", f"/v1/persons/{second}/suspend", None),
        ):
            for number in range(20):
                await operator("PUT", f"/v1/persons/{second}/roles", 200, owner_too)
                await operator("POST", f"/v1/persons/{second}/resume", 200)
                await asyncio.sleep(0.002)
                headers = service.headers(second, OPERATOR)
                allowed = await http.get("/v1/operator/organizations", headers=headers)
                assert allowed.status_code == 200, allowed.text
                ended = await http.request(end[0], end[1], json=end[2], headers=operator.headers)
                assert ended.status_code == 200, ended.text
                for client, *_ in clients.values():
                    for method, path in (("GET", "/v1/operator/organizations"), ("POST", f"/v1/operator/organizations/{OTHER}/suspend")):
                        answer = await client.request(method, path, headers=headers)
                        assert answer.status_code in (401, 403), (end, number, path, answer.text)
    assert (await http.get("/v1/me", headers=service.owner())).status_code == 200


async def test_one_that_is_archived_stays_so_and_its_people_can_be_invited_elsewhere(
    service: Service, http: httpx.AsyncClient, operator: Manager
) -> None:
    await operator("POST", "/v1/operator/organizations", 201, new("ended", "ole@ended.example"))
    session = await accepted(service, http, "ole@ended.example", "ended")
    also = {"email": "mia@ended.example", "name": "Mia", "roles": [{"role": "owner", "sites": None}]}
    assert (await http.post("/v1/invitations", json=also, headers=shown(session))).status_code == 201
    await accepted(service, http, "mia@ended.example", "ended")
    one = "/v1/operator/organizations/ended"
    await operator("DELETE", one, 409, code="organization_active")
    suspended = await operator("POST", f"{one}/suspend", 200)
    refused = await http.get("/v1/me", headers=shown(session))
    assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended")
    await operator("POST", "/v1/operator/organizations", 201, new("elsewhere", "ole@ended.example"))
    taken = await accepting(service, http, "ole@ended.example", "elsewhere")
    assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")  # the suspended one may come back
    revision = int(str(suspended["revision"]))
    stale = operator.headers | {"If-Match": f'"{revision - 1}"'}
    assert (await http.delete(one, headers=stale)).status_code == 412
    archived = await operator("DELETE", one, 200)
    assert (archived["state"], archived["revision"]) == ("archived", revision + 1)
    assert (await operator("DELETE", one, 200))["revision"] == archived["revision"]
    assert (await operator("POST", f"{one}/suspend", 200))["state"] == "archived"
    for method, path, body in (("POST", f"{one}/resume", None), ("PATCH", one, {"name": "Again"})):
        await operator(method, path, 409, body, code="organization_archived")
    with pytest.raises(Problem, match="organization_archived"):
        await organizations.set_organization_state(service.stack.settings, "ended", active=True)
    with pytest.raises(Problem, match="organization_archived"):
        await organizations.appoint_owner(service.stack.settings, "ended", "new@ended.example", "New", PASSWORD)
    wanted = NewOrganization("ended", "Again", "again@ended.example", "Eve", PASSWORD)
    with pytest.raises(Problem, match="id_taken"):
        await organizations.found_organization(service.stack.settings, wanted)
    by_hand = NewOrganization("by-hand", "By hand", "mia@ended.example", "Mia", PASSWORD)
    await organizations.found_organization(service.stack.settings, by_hand)
    signed_in = await http.post("/v1/sign-in", json={"email": by_hand.owner_email, "password": PASSWORD})
    assert (signed_in.status_code, signed_in.json()["organization"]) == (200, "by-hand")
    there = await accepting(service, http, "ole@ended.example", "elsewhere")
    assert (there.status_code, there.json()["organization"]) == (200, "elsewhere"), there.text


async def test_one_that_a_version_without_archives_resumed_is_active_and_can_be_suspended(
    service: Service, http: httpx.AsyncClient, operator: Manager
) -> None:
    """Such a version keeps the field that it doesn't know."""
    for name in ("revived", "beside"):
        await operator("POST", "/v1/operator/organizations", 201, new(name, "kai@revived.example"))
    assert (await accepting(service, http, "kai@revived.example", "beside")).json()["organization"] == "beside"
    await service.database["organizations"].update_one({"_id": "beside"}, {"$set": {"archived_at": 1}})
    one = "/v1/operator/organizations/beside"
    assert (await operator("GET", one, 200))["state"] == "active"
    await operator("POST", "/v1/operator/organizations", 201, new("third", "kai@revived.example"))
    taken = await accepting(service, http, "kai@revived.example", "third")
    assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")
    await operator("DELETE", one, 409, code="organization_active")
    assert (await operator("POST", f"{one}/suspend", 200))["state"] == "archived"


async def test_the_operators_own_organization_is_not_suspended_by_its_owners(operator: Manager) -> None:
    await operator("POST", f"/v1/operator/organizations/{OPERATOR}/suspend", 409, code="conflict")
    await operator("DELETE", f"/v1/operator/organizations/{OPERATOR}", 409, code="conflict")
    assert (await operator("GET", f"/v1/operator/organizations/{OPERATOR}", 200))["state"] == "active"


@dataclass(slots=True)
class Model:
    """What there should be: names and states, by id."""

    names: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    def after(self, verb: str, identifier: str, name: str) -> tuple[int, str | None]:
        """The status and the code of what is asked; the model is then as it should be."""
        if verb == "found":
            if identifier in self.states:
                return 409, "id_taken"
            self.names[identifier], self.states[identifier] = name, "active"
            return 201, None
        state = self.states.get(identifier)
        if state is None:
            return 404, "organization_unknown"
        if verb == "archive":
            if state == "active":
                return 409, "organization_active"
            self.states[identifier] = "archived"
            return 200, None
        if state == "archived":
            return (200, None) if verb == "suspend" else (409, "organization_archived")
        if verb == "rename":
            self.names[identifier] = name
        else:
            self.states[identifier] = "suspended" if verb == "suspend" else "active"
        return 200, None


async def test_any_order_of_steps_leaves_what_a_model_says_and_lists_show_it(http: httpx.AsyncClient, operator: Manager) -> None:
    drawn = random.Random(20_261_129)
    model = Model()
    await take_in(http, operator, model)
    seen = set()
    for step in range(STEPS):
        identifier, name = f"drawn-{drawn.randrange(12)}", f"Step {step}"
        verb = drawn.choice(("found", "found", "rename", "suspend", "suspend", "resume", "archive"))
        one = f"/v1/operator/organizations/{identifier}"
        asked: dict[str, tuple[str, str, Any]] = {
            "found": ("POST", "/v1/operator/organizations", {**new(identifier), "name": name}),
            "rename": ("PATCH", one, {"name": name}), "archive": ("DELETE", one, None),
            "suspend": ("POST", f"{one}/suspend", None), "resume": ("POST", f"{one}/resume", None),
        }  # fmt: skip
        method, path, body = asked[verb]
        status, code = model.after(verb, identifier, name)
        seen.add((verb, status))
        answer = await http.request(method, path, json=body, headers=operator.headers)
        assert (answer.status_code, answer.json().get("code")) == (status, code), (step, verb, identifier, answer.text)
        if step % 10 == 0:
            await lists_show(http, operator, model, drawn)
    await lists_show(http, operator, model, drawn)
    assert len(seen) >= 11, sorted(seen)


async def take_in(http: httpx.AsyncClient, operator: Manager, model: Model) -> None:
    """What is there already."""
    for one in (await http.get("/v1/operator/organizations?limit=200", headers=operator.headers)).json()["items"]:
        model.names[one["id"]], model.states[one["id"]] = one["name"], one["state"]


async def lists_show(http: httpx.AsyncClient, operator: Manager, model: Model, drawn: random.Random) -> None:
    """Every state and none, both ways, in pages of any length."""
    for state in (None, "active", "suspended", "archived"):
        for sort in ("id", "-id"):
            expected = sorted((one for one, of in model.states.items() if state in (None, of)), reverse=sort == "-id")
            found: list[dict[str, Any]] = []
            query: dict[str, str] = {"limit": str(drawn.choice((1, 3, 200))), "sort": sort, **({} if state is None else {"state": state})}
            while True:
                answer = await http.get("/v1/operator/organizations", params=query, headers=operator.headers)
                assert answer.status_code == 200, answer.text
                found += answer.json()["items"]
                if answer.json()["next_cursor"] is None:
                    break
                query["cursor"] = answer.json()["next_cursor"]
            assert [one["id"] for one in found] == expected, (state, sort)
            assert all((one["name"], one["state"]) == (model.names[one["id"]], model.states[one["id"]]) for one in found)
