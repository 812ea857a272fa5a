"""Invitations, forgotten passwords and changed ones, with the mails that the service writes, two api workers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service.mail.mailbox import ReceivedMail, read_mailbox
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected
from tests.e2e.manager import Manager
from tests.e2e.page_script import seen_on_page
from tests.e2e.running import Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD, ANOTHER = "a long enough password", "another long enough one"
REVOKED = (401, "token_revoked")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("invitations")
    async with running_service(
        folder, doors=2, locks=False, strangers=1, public_url="https://keys.example", sign_ins_per_minute_max=1_000
    ) as running:
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


def mails_to(service: Service, email: str) -> list[ReceivedMail]:
    return [mail for mail in read_mailbox(service.stack.settings.data_folder / "mail") if mail.to == email]


async def token_mailed(service: Service, email: str, number: int = 1) -> str:
    """What stands behind `#` in the link of the latest mail to this address, once there are so many."""
    await until(lambda: len(mails_to(service, email)) >= number, 10)
    link = re.search(r"https://keys\.example/[a-z-]+#(\S+)", mails_to(service, email)[-1].text)
    assert link is not None
    return link[1]


async def post(http: httpx.AsyncClient, path: str, body: object) -> tuple[int, Any]:
    """Status, and the body or the code."""
    answer = await http.post(path, json=body)
    content: Any = answer.json() if answer.content else None
    return answer.status_code, content["code"] if answer.status_code >= 400 else content


async def sign_in(http: httpx.AsyncClient, email: str, password: str) -> tuple[int, Any]:
    return await post(http, "/v1/sign-in", {"email": email, "password": password})


def shown(signed_in: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed_in['access_token']}"}


async def test_somebody_new_is_invited_chooses_a_password_and_is_in(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    wanted = {
        "email": " Ines.Roth@Nordlicht.example", "name": "Ines Roth", "groups": ["everyone"],
        "roles": [{"role": "reception", "sites": ["berlin"]}],
    }  # fmt: skip
    made = await owner("POST", "/v1/invitations", 201, wanted)
    assert (made["email"], made["state"], made["invited_by"]) == ("ines.roth@nordlicht.example", "waiting", owner.person)
    person = await owner("GET", f"/v1/persons/{made['person']}", 200)
    assert (person["groups"], person["roles"]) == (["everyone"], wanted["roles"])
    token = await token_mailed(service, str(made["email"]))
    weak = await post(http, "/v1/invitations/accept", {"token": token, "password": "ines.roth"})
    assert weak == (422, "password_weak")
    status, signed_in = await post(http, "/v1/invitations/accept", {"token": token, "password": PASSWORD})
    assert (status, signed_in["person"], signed_in["organization"]) == (200, made["person"], service.demo.id)
    assert (await http.get("/v1/me", headers=shown(signed_in))).json()["roles"] == wanted["roles"]
    assert await post(http, "/v1/invitations/accept", {"token": token, "password": ANOTHER}) == (404, "invitation_unknown")
    assert (await sign_in(http, "ines.roth@NORDLICHT.example", PASSWORD))[0] == 200
    assert (await owner("GET", f"/v1/invitations/{made['id']}", 200))["state"] == "accepted"
    await owner("POST", f"/v1/invitations/{made['id']}/resend", 409, code="invitation_accepted")
    await owner("POST", "/v1/invitations", 409, {"person": made["person"]}, code="account_exists")


async def test_who_may_invite_whom(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    await owner("PUT", "/v1/persons/stranger-0/roles", 200, {"roles": [{"role": "site_manager", "sites": None}]})
    manager = Manager(service, http, "stranger-0")
    new = {"email": "pat@nordlicht.example", "name": "Pat"}
    await manager("POST", "/v1/invitations", 403, {**new, "roles": [{"role": "reception", "sites": None}]}, code="role_missing")
    assert (await manager("POST", "/v1/invitations", 201, new))["state"] == "waiting"
    mighty = {"admin": "vic@nordlicht.example", "owner": "wyn@nordlicht.example"}
    persons = {role: (await owner("POST", "/v1/persons", 201, {"name": role, "email": email}))["id"] for role, email in mighty.items()}
    for role, person in persons.items():
        await owner("PUT", f"/v1/persons/{person}/roles", 200, {"roles": [{"role": role, "sites": None}]})
    # Who may change an address and invite would else be whoever they like.
    await manager("PATCH", f"/v1/persons/{persons['admin']}", 403, {"email": "mallory@nordlicht.example"}, code="role_missing")
    await manager("POST", "/v1/invitations", 403, {"person": persons["admin"]}, code="role_missing")
    await owner("PUT", "/v1/persons/stranger-0/roles", 200, {"roles": [{"role": "admin", "sites": None}]})
    await manager("POST", "/v1/invitations", 403, {"person": persons["owner"]}, code="role_missing")
    await manager("POST", "/v1/invitations", 201, {"person": persons["admin"]})
    await owner("POST", "/v1/invitations", 201, {"person": persons["owner"]})
    other = {"email": "quin@nordlicht.example", "name": "Quin", "roles": [{"role": "owner", "sites": None}]}
    await manager("POST", "/v1/invitations", 403, other, code="role_missing")
    assert await owner.names("/v1/persons?email=quin@nordlicht.example") == [], "nothing half done"
    await owner("POST", "/v1/invitations", 409, {**new, "name": "Pat again"}, code="email_taken")
    for wrong in ({}, {"person": "stranger-0", "name": "Both"}, {"email": "x@y.example"}):
        await owner("POST", "/v1/invitations", 400, wrong, code="field_invalid")


async def test_a_link_is_good_for_the_latest_mail_only_and_not_once_taken_back(
    owner: Manager, service: Service, http: httpx.AsyncClient
) -> None:
    made = await owner("POST", "/v1/invitations", 201, {"email": "rae@nordlicht.example", "name": "Rae"})
    path = f"/v1/invitations/{made['id']}"
    first = await token_mailed(service, "rae@nordlicht.example")
    assert (await owner("POST", f"{path}/resend", 200))["sent"] == 2
    second = await token_mailed(service, "rae@nordlicht.example", 2)
    assert await post(http, "/v1/invitations/accept", {"token": first, "password": PASSWORD}) == (404, "invitation_unknown")
    await owner("DELETE", path, 200)
    await owner("DELETE", path, 200)
    assert await post(http, "/v1/invitations/accept", {"token": second, "password": PASSWORD}) == (404, "invitation_unknown")
    assert (await sign_in(http, "rae@nordlicht.example", PASSWORD))[0] == 401

    again = await owner("POST", "/v1/invitations", 201, {"person": made["person"]})
    third = await token_mailed(service, "rae@nordlicht.example", 3)
    await owner("PATCH", f"/v1/persons/{made['person']}", 200, {"email": "rae.new@nordlicht.example"})
    accepted = await post(http, "/v1/invitations/accept", {"token": third, "password": PASSWORD})
    assert accepted == (404, "invitation_unknown"), "whoever has the old address is nobody"
    await service.database["invitations"].update_one({"_id": f"{service.demo.id}:{again['id']}"}, {"$set": {"expires_at": 1}})
    await owner("PATCH", f"/v1/persons/{made['person']}", 200, {"email": "rae@nordlicht.example"})
    assert await post(http, "/v1/invitations/accept", {"token": third, "password": PASSWORD}) == (410, "invitation_expired")


async def test_an_invitation_from_before_the_roles_is_nobodys_way_to_them(
    owner: Manager, service: Service, http: httpx.AsyncClient
) -> None:
    await owner("PUT", "/v1/persons/stranger-0/roles", 200, {"roles": [{"role": "site_manager", "sites": None}]})
    manager = Manager(service, http, "stranger-0")
    person = (await manager("POST", "/v1/persons", 201, {"name": "Uma", "email": "mallory.uma@nordlicht.example"}))["id"]
    made = await manager("POST", "/v1/invitations", 201, {"person": person})
    token = await token_mailed(service, "mallory.uma@nordlicht.example")
    await owner("PUT", f"/v1/persons/{person}/roles", 200, {"roles": [{"role": "admin", "sites": None}]})
    assert await post(http, "/v1/invitations/accept", {"token": token, "password": PASSWORD}) == (410, "invitation_expired")
    await manager("POST", f"/v1/invitations/{made['id']}/resend", 403, code="role_missing")
    await owner("POST", f"/v1/invitations/{made['id']}/resend", 200)
    token = await token_mailed(service, "mallory.uma@nordlicht.example", 2)
    assert (await post(http, "/v1/invitations/accept", {"token": token, "password": PASSWORD}))[0] == 200


async def test_an_account_follows_its_persons_address_and_nobody_stays_behind(
    owner: Manager, service: Service, http: httpx.AsyncClient
) -> None:
    """A mistyped address: a stranger accepts, and is put out by the correction, with everything that they hold."""
    old, new = "vera.lng@nordlicht.example", "vera.long@nordlicht.example"
    made = await owner("POST", "/v1/invitations", 201, {"email": old, "name": "Vera Long"})
    signed_in = (await post(http, "/v1/invitations/accept", {"token": await token_mailed(service, old), "password": PASSWORD}))[1]
    await post(http, "/v1/password-reset", {"email": old})
    reset = await token_mailed(service, old, 2)
    await owner("PATCH", f"/v1/persons/{made['person']}", 200, {"email": new})
    async with service.clients_of_each_worker() as clients:
        for client, *_ in clients.values():
            answer = await client.get("/v1/me", headers=shown(signed_in))
            assert (answer.status_code, answer.json()["code"]) == REVOKED
    assert await post(http, "/v1/refresh", {"refresh_token": signed_in["refresh_token"]}) == REVOKED
    assert await post(http, "/v1/password-reset/confirm", {"token": reset, "password": ANOTHER}) == (401, "reset_token_unknown")
    nobody_has = "nobody has this password"
    for email, password in ((old, PASSWORD), (new, PASSWORD), (new, nobody_has)):
        assert (await sign_in(http, email, password))[0] == 401, (email, password)
    await owner("POST", "/v1/invitations", 409, {"person": made["person"]}, code="account_exists")
    assert await service.database["accounts"].find({"holder": f"{service.demo.id}:{made['person']}"}).to_list() == [
        {"_id": new, "org": service.demo.id, "person": made["person"], "holder": f"{service.demo.id}:{made['person']}", "password": ""}
    ]
    await post(http, "/v1/password-reset", {"email": new})
    reset = await token_mailed(service, new)
    assert await post(http, "/v1/password-reset/confirm", {"token": reset, "password": ANOTHER}) == (204, None)
    assert (await sign_in(http, new, ANOTHER))[0] == 200
    # Who signs in elsewhere with an address is told to nobody: there is no account then, as without an address.
    theirs = service.neighbour.cast["owner"].email
    before = await service.database["accounts"].find_one({"_id": theirs})
    await owner("PATCH", f"/v1/persons/{made['person']}", 200, {"email": theirs})
    assert (await sign_in(http, new, ANOTHER))[0] == (await sign_in(http, theirs, ANOTHER))[0] == 401
    assert await service.database["accounts"].find_one({"_id": theirs}) == before
    assert await service.database["accounts"].find_one({"holder": f"{service.demo.id}:{made['person']}"}) is None
    await owner("DELETE", f"/v1/persons/{made['person']}", 200)


async def test_a_session_from_before_a_suspension_is_over_after_it(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    await owner("POST", "/v1/invitations", 201, {"email": "wes@nordlicht.example", "name": "Wes"})
    token = await token_mailed(service, "wes@nordlicht.example")
    signed_in = (await post(http, "/v1/invitations/accept", {"token": token, "password": PASSWORD}))[1]
    await owner("POST", f"/v1/persons/{signed_in['person']}/suspend", 200)
    await owner("POST", f"/v1/persons/{signed_in['person']}/resume", 200)
    assert await post(http, "/v1/refresh", {"refresh_token": signed_in["refresh_token"]}) == REVOKED
    again = (await sign_in(http, "wes@nordlicht.example", PASSWORD))[1]
    assert (await post(http, "/v1/refresh", {"refresh_token": again["refresh_token"]}))[0] == 200


async def test_of_many_who_accept_at_once_one_does(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    await owner("POST", "/v1/invitations", 201, {"email": "sam@nordlicht.example", "name": "Sam"})
    token = await token_mailed(service, "sam@nordlicht.example")
    bodies = [{"token": token, "password": f"the password number {number}"} for number in range(6)]
    answers = await asyncio.gather(*(post(http, "/v1/invitations/accept", body) for body in bodies))
    won = [body for body, (status, _) in zip(bodies, answers, strict=True) if status == 200]
    assert len(won) == 1 and {told for status, told in answers if status != 200} == {"invitation_unknown"}
    assert [(await sign_in(http, "sam@nordlicht.example", str(body["password"])))[0] for body in bodies].count(200) == 1


async def test_an_address_that_signs_in_elsewhere_stays_theirs(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    theirs = service.neighbour.cast["owner"].email
    await owner("POST", "/v1/invitations", 201, {"email": theirs, "name": "Neighbour"})
    token = await token_mailed(service, theirs)
    before = await service.database["accounts"].find_one({"_id": theirs})
    assert await post(http, "/v1/invitations/accept", {"token": token, "password": PASSWORD}) == (409, "email_taken")
    assert await service.database["accounts"].find_one({"_id": theirs}) == before


async def test_a_forgotten_password_is_set_anew_once_and_ends_every_session(service: Service, http: httpx.AsyncClient) -> None:
    account = service.made.account("employee")
    _, phone = await sign_in(http, account.email, account.password)
    told = [await http.post("/v1/password-reset", json={"email": email}) for email in (account.email.upper(), "nobody@nordlicht.example")]
    assert [(answer.status_code, answer.content) for answer in told] == 2 * [(202, b"")]
    token = await token_mailed(service, account.email)
    assert "nobody@nordlicht.example" not in str(read_mailbox(service.stack.settings.data_folder / "mail"))
    confirm = "/v1/password-reset/confirm"
    assert await post(http, confirm, {"token": token, "password": account.email}) == (422, "password_weak")
    assert (await http.get("/v1/me", headers=shown(phone))).status_code == 200
    assert await post(http, confirm, {"token": token, "password": PASSWORD}) == (204, None)
    async with service.clients_of_each_worker() as clients:
        for client, *_ in clients.values():
            answer = await client.get("/v1/me", headers=shown(phone))
            assert (answer.status_code, answer.json()["code"]) == REVOKED
    assert await post(http, "/v1/refresh", {"refresh_token": phone["refresh_token"]}) == (401, "refresh_token_unknown")
    assert (await sign_in(http, account.email, account.password))[0] == 401
    assert (await sign_in(http, account.email, PASSWORD))[0] == 200
    assert await post(http, confirm, {"token": token, "password": ANOTHER}) == (401, "reset_token_unknown")
    await post(http, "/v1/password-reset", {"email": account.email})
    await asyncio.sleep(1.2)
    assert len(mails_to(service, account.email)) == 1, "nobody fills somebody else's mailbox"


async def test_a_changed_password_ends_the_other_sessions_and_voids_links(service: Service, http: httpx.AsyncClient) -> None:
    account = service.made.account("facility")
    _, phone = await sign_in(http, account.email, account.password)
    _, laptop = await sign_in(http, account.email, account.password)
    await post(http, "/v1/password-reset", {"email": account.email})
    token = await token_mailed(service, account.email)

    async def change(old: str, new: str) -> tuple[int, Any]:
        answer = await http.put("/v1/me/password", json={"old": old, "new": new}, headers=shown(laptop))
        return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else answer.json()["ended"]

    assert await change("wrong", PASSWORD) == (403, "password_wrong")
    assert await change(account.password, "short") == (422, "password_weak")
    assert await change(account.password, PASSWORD) == (200, 1)
    assert [(await http.get("/v1/me", headers=shown(one))).status_code for one in (phone, laptop)] == [401, 200]
    assert (await sign_in(http, account.email, account.password))[0] == 401
    assert (await sign_in(http, account.email, PASSWORD))[0] == 200
    assert await post(http, "/v1/password-reset/confirm", {"token": token, "password": ANOTHER}) == (401, "reset_token_unknown")


async def test_no_process_signs_in_with_a_password_once_it_was_changed(owner: Manager, service: Service) -> None:
    """8 changes, each through one worker while the other signs in with the old one: what began before it has ended with it."""
    account = service.made.account("night_guard")
    passwords = [account.password, *(f"the password number {number}" for number in range(8))]
    async with service.clients_of_each_worker() as clients:
        (first, *_), (second, *_) = clients.values()
        for old, new in itertools.pairwise(passwords):
            _, signed_in = await sign_in(first, account.email, old)
            changing = asyncio.create_task(first.put("/v1/me/password", json={"old": old, "new": new}, headers=shown(signed_in)))
            begun = [body for status, body in [await sign_in(second, account.email, old) for _ in range(3)] if status == 200]
            assert (await changing).status_code == 200
            for body in begun:
                answer = await second.get("/v1/me", headers=shown(body))
                assert (answer.status_code, answer.json()["code"]) == REVOKED
            assert (await sign_in(second, account.email, old))[0] == 401


async def of_page(service: Service, link: str, password: str, again: str) -> dict[str, Any]:
    """What a person sees who opens this link in a browser and chooses. The script is the page's own."""
    return await seen_on_page("password_page.mjs", service.url, link, password, again)


async def test_the_page_behind_a_link_takes_the_password(owner: Manager, service: Service, http: httpx.AsyncClient) -> None:
    for path in ("/accept-invitation", "/reset-password"):
        answer = await http.get(path)
        for element in ("script", "style"):
            (inner,) = re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
            assert f"{element}-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
        assert not re.search(r"(?:src|href)=|https?:|innerHTML", answer.text), "nothing from elsewhere, and no text that becomes markup"
    await owner("POST", "/v1/invitations", 201, {"email": "tess@nordlicht.example", "name": "Tess"})
    link = f"https://keys.example/accept-invitation#{await token_mailed(service, 'tess@nordlicht.example')}"
    differs = await of_page(service, link, PASSWORD, ANOTHER)
    assert (differs["hash"], differs["told"], differs["hidden"]) == ("", "The two are not the same.", False)
    weak = await of_page(service, link, "tess", "tess")
    assert weak["told"].startswith("Choose another one") and not weak["stuck"]
    done = await of_page(service, link, PASSWORD, PASSWORD)
    assert done["told"].startswith("Welcome.") and done["hidden"]
    assert (await sign_in(http, "tess@nordlicht.example", PASSWORD))[0] == 200
    assert (await of_page(service, link, PASSWORD, PASSWORD))["told"].startswith("This link is not good")
    await post(http, "/v1/password-reset", {"email": "tess@nordlicht.example"})
    link = f"https://keys.example/reset-password#{await token_mailed(service, 'tess@nordlicht.example', 2)}"
    assert (await of_page(service, link, ANOTHER, ANOTHER))["told"].startswith("Done.")
    assert (await sign_in(http, "tess@nordlicht.example", ANOTHER))[0] == 200
    assert (await of_page(service, link.partition("#")[0], PASSWORD, PASSWORD))["before"]["told"].startswith("This link isn't whole.")


async def test_nothing_that_is_kept_opens_anything(owner: Manager, service: Service) -> None:
    """The tokens of all mails of this file: in no document, in no log. The mails themselves are readable for their owner only."""
    folder = service.stack.settings.data_folder
    mails = read_mailbox(folder / "mail")
    tokens = [token for mail in mails for token in re.findall(r"#(\S+)", mail.text)]
    assert len(tokens) == len(mails) > 8
    collections = await service.database.list_collection_names()
    kept = "\n".join([str(await service.database[collection].find({}).to_list()) for collection in collections])
    logs = "\n".join(path.read_text(errors="replace") for path in (folder / "logs").iterdir())
    assert not [token for token in tokens if token in kept or token in logs]
    assert {path.stat().st_mode & 0o777 for path in (folder / "mail").glob("*.eml")} == {0o600}
