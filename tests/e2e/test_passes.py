"""Keys that are shared, from the giver to the bolt: given, accepted by a link, used up, passed on, taken back; over two api workers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
import pytest_asyncio

from py_service.mail.letter import Letter
from py_service.mail.mailbox import read_mailbox
from py_service.passes.letters import LETTER, WritePassMail
from py_service.stores.mongo import Mongo
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import projected, standing
from tests.e2e.page_script import seen_on_page
from tests.e2e.running import running_service, until
from tests.e2e.sharing import NO_GRANT, OPENED, SITE, Passes, at, doors_of, refused
from tests.unit.qr_codes import read_svg

pytestmark = pytest.mark.asyncio(loop_scope="module")

TENANT, FRIEND, OTHER = "stranger-0", "stranger-1", "stranger-2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def passes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Passes]:
    async with (
        running_service(tmp_path_factory.mktemp("passes"), strangers=3) as service,
        service.client(hook=(await conformance_of(service)).hook) as http,
    ):
        yield Passes(service, http, await doors_of(service, SITE))


async def test_a_managers_pass_lives_from_its_link_to_its_end(passes: Passes) -> None:
    door, other = passes.doors[:2]
    given = await passes.give(receiver={"phone": "+493012345678"}, doors=[door])
    assert (given["state"], given["given_by"], given["delivery"]) == ("issued", None, "link")
    assert given["receiver"] == {"phone": "+493012345678"}
    token = re.fullmatch(r"http://127\.0\.0\.1:8080/pass#([A-Za-z0-9_-]{43})", given["link"])
    assert token and read_svg(given["qr_svg"]).text == given["link"]
    accepted = await passes.held(given, None)
    guest, bearer = accepted["person"], {"Authorization": f"Bearer {accepted['access_token']}"}
    assert accepted["pass"]["state"] == "active" and accepted["pass"]["accepted_by"] == guest
    me = await passes.http.get("/v1/me", headers=bearer)
    assert me.json()["name"] == "A visit" and me.json()["roles"] == []
    moved = len(passes.service.moves())
    opened = await passes.http.post(f"/v1/doors/{door}/unlock", headers=bearer | {"Prefer": "wait=5"})
    assert (opened.status_code, opened.json()["state"], opened.json()["rule"]) == (200, "unlocked", f"{given['id']}_00")
    assert len(passes.service.moves()) == moved + 1
    assert await passes.unlock(guest, other) == NO_GRANT
    taken = await passes.ask("DELETE", f"/v1/passes/{given['id']}")
    assert taken.status_code == 200 and taken.json()["passes"] == 1
    assert datetime.fromisoformat(taken.json()["effective_by"]) > datetime.now(UTC)
    assert await passes.unlock(guest, door) == NO_GRANT
    assert len(passes.service.moves()) == moved + 1
    again = await passes.ask("DELETE", f"/v1/passes/{given['id']}")
    assert (again.status_code, again.json()["passes"]) == (200, 0)
    assert (await passes.read(given["id"]))["state"] == "revoked"
    assert refused(await passes.accept(given)) == (410, "pass_revoked")
    # The token is nowhere: not in a document, not in the journal; nor in what was told of the pass later.
    await projected(passes.service)
    for collection in await passes.service.database.list_collection_names():
        async for document in passes.service.database[collection].find({}):
            assert token[1].encode() not in bson.encode(document), collection


async def test_a_person_shares_a_door_that_allows_it_as_far_as_they_may_open_it(passes: Passes) -> None:
    door, closed = passes.doors[2:4]
    terms = {"name": "For Mum", "doors": [door], "valid_until": at(48)}
    granted = [await passes.ask("POST", "/v1/grants", None, {"person": TENANT, "door": each}) for each in (door, closed)]
    assert refused(await passes.ask("POST", "/v1/passes", TENANT, terms)) == (403, "sharing_refused"), "the door doesn't allow it"
    assert (await passes.ask("PATCH", f"/v1/doors/{door}", None, {"sharing": True})).status_code == 200
    assert refused(await passes.ask("POST", "/v1/passes", FRIEND, terms)) == (403, "sharing_refused"), "no access of their own"
    assert refused(await passes.ask("POST", "/v1/passes", TENANT, terms | {"doors": [door, closed]})) == (403, "sharing_refused")
    given = await passes.give(TENANT, doors=[door])
    assert given["given_by"] == TENANT
    await passes.held(given, FRIEND)
    assert await passes.unlock(FRIEND, door) == OPENED
    # What one has by a pass isn't one's own to share.
    assert refused(await passes.ask("POST", "/v1/passes", FRIEND, terms)) == (403, "sharing_refused")
    mine = {person: (await passes.ask("GET", "/v1/me/passes", person)).json()["items"] for person in (TENANT, FRIEND, OTHER)}
    assert [[item["id"] for item in items] for items in mine.values()] == [[given["id"]], [given["id"]], []]
    # Whoever gave it lost the door: so did the other.
    assert (await passes.ask("DELETE", f"/v1/grants/{granted[0].json()['id']}")).status_code == 200
    assert await passes.unlock(FRIEND, door) == NO_GRANT
    assert refused(await passes.ask("DELETE", f"/v1/passes/{given['id']}", OTHER)) == (404, "pass_unknown")
    for method, path, body in (("PATCH", "", {"name": "Mine"}), ("POST", "/link", None)):
        answer = await passes.ask(method, f"/v1/passes/{given['id']}{path}", FRIEND, body)
        assert refused(answer) == (403, "role_missing"), "its holder can give it up, and no more"
    assert (await passes.ask("DELETE", f"/v1/passes/{given['id']}", TENANT)).status_code == 200
    assert (await passes.ask("GET", "/v1/me/passes", FRIEND)).json()["items"] == []


async def test_a_guest_without_a_pass_has_what_everybody_has(passes: Passes) -> None:
    """A door that is open to every valid person, and no other: until the guest is suspended."""
    open_to_all, door = passes.doors[4:6]
    given = await passes.give(doors=[open_to_all, door])
    guest = (await passes.held(given))["person"]
    assert (await passes.ask("DELETE", f"/v1/passes/{given['id']}")).status_code == 200
    assert [await passes.unlock(guest, each) for each in (open_to_all, door)] == [NO_GRANT] * 2
    assert (await passes.ask("PATCH", f"/v1/doors/{open_to_all}", None, {"mode": "unlocked"})).status_code == 200
    assert [await passes.unlock(guest, each) for each in (open_to_all, door)] == [OPENED, NO_GRANT]
    assert (await passes.ask("POST", f"/v1/persons/{guest}/suspend")).status_code == 200
    assert (await passes.unlock(guest, open_to_all))[0] in (401, 403)
    assert (await passes.ask("PATCH", f"/v1/doors/{open_to_all}", None, {"mode": "locked"})).status_code == 200


async def test_a_link_is_good_once_and_a_lost_answer_is_told_again_to_whoever_has_the_key(passes: Passes) -> None:
    given = await passes.give()
    key = secrets.token_urlsafe(16)
    first = await passes.accept(given, key=key)
    again = await passes.accept(given, key=key)
    assert first.status_code == again.status_code == 200
    assert first.json()["person"] == again.json()["person"] and first.json()["refresh_token"] != again.json()["refresh_token"]
    for other in (None, secrets.token_urlsafe(16)):
        assert refused(await passes.accept(given, key=other)) == (409, "pass_accepted")
    assert refused(await passes.accept(given, FRIEND, key=key)) == (409, "pass_accepted")
    # Ten minutes later the key is forgotten. A key that could be guessed is none.
    ten_minutes = {"$inc": {"accepted_at": -600_001}}
    await passes.service.database["passes"].update_one({"_id": f"{passes.service.demo.id}:{given['id']}"}, ten_minutes)
    assert refused(await passes.accept(given, key=key)) == (409, "pass_accepted")
    short = await passes.give()
    assert [(await passes.accept(short, key="1")).status_code for _ in range(2)] == [200, 409]


async def test_a_pass_is_accepted_under_a_name_from_before_a_stricter_rule(passes: Passes) -> None:
    """The guest has typed none: only a name that is sent now is judged by the rule of now."""
    given = await passes.give()
    old = "Anna\u200dB"
    key = {"_id": f"{passes.service.demo.id}:{given['id']}"}
    assert (await passes.service.database["passes"].update_one(key, {"$set": {"name": old}})).matched_count == 1
    assert refused(await passes.accept(given, name=old)) == (422, "name_invalid")
    guest = (await passes.held(given))["person"]
    found = await passes.service.database["persons"].find_one({"_id": f"{passes.service.demo.id}:{guest}"})
    assert found is not None and found["name"] == old


async def test_of_many_who_accept_at_once_one_wins(passes: Passes) -> None:
    given = await passes.give()
    guests = await passes.service.database["persons"].count_documents({"kind": "guest"})
    async with passes.service.clients_of_each_worker(each=4) as by_worker:
        body = {"token": given["link"].rpartition("#")[2]}
        clients = [client for found in by_worker.values() for client in found[:4]]
        answers = await asyncio.gather(*(client.post("/v1/passes/accept", json=body) for client in clients))
    assert Counter(answer.status_code for answer in answers) == Counter({200: 1, 409: 7})
    assert await passes.service.database["persons"].count_documents({"kind": "guest"}) == guests + 1
    assert await passes.service.database["grants"].count_documents({"pass.id": given["id"]}) == 1


async def test_a_new_link_voids_the_old_one(passes: Passes) -> None:
    given = await passes.give()
    renewed = await passes.ask("POST", f"/v1/passes/{given['id']}/link")
    assert renewed.status_code == 200 and renewed.json()["link"] != given["link"]
    assert read_svg(renewed.json()["qr_svg"]).text == renewed.json()["link"]
    assert refused(await passes.accept(given)) == (404, "pass_unknown")
    assert (await passes.held(renewed.json()))["pass"]["id"] == given["id"]
    assert refused(await passes.ask("POST", f"/v1/passes/{given['id']}/link")) == (409, "pass_accepted")


async def mailed(passes: Passes, number: int) -> str:
    """The link in the latest of so many mails to Noor."""
    folder = passes.service.stack.settings.data_folder / "mail"
    await until(lambda: len([mail for mail in read_mailbox(folder) if mail.to == "noor@mail.example"]) >= number, 10)
    mail = [mail for mail in read_mailbox(folder) if mail.to == "noor@mail.example"][-1]
    assert mail.subject == "A key for you: A visit" and "It opens 2 times in all." in mail.text
    link = re.search(r"http://127\.0\.0\.1:8080/pass#\S+", mail.text)
    assert link is not None, mail.text
    return link[0]


async def test_a_pass_for_an_address_is_mailed_there_and_told_to_nobody_else(passes: Passes) -> None:
    given = await passes.give(receiver={"email": " Noor@Mail.example"}, uses=2)
    assert (given["delivery"], given["link"], given["qr_svg"]) == ("email", None, None)
    first = await mailed(passes, 1)
    again = await passes.ask("POST", f"/v1/passes/{given['id']}/resend")
    assert (again.status_code, again.json()["delivery"]) == (202, "email")
    second = await mailed(passes, 2)
    assert refused(await passes.accept({"link": first})) == (404, "pass_unknown"), "there is a newer one"
    assert (await passes.held({"link": second}))["pass"]["id"] == given["id"]
    assert refused(await passes.ask("POST", f"/v1/passes/{given['id']}/resend")) == (409, "pass_accepted")
    # A link by hand is the last word, also when the mail hasn't gone out yet.
    other = await passes.give(receiver={"email": "noor@mail.example"}, uses=2)
    by_hand = (await passes.ask("POST", f"/v1/passes/{other['id']}/link")).json()
    assert by_hand["delivery"] == "link" and (await passes.held(by_hand))["pass"]["id"] == other["id"]
    # Nobody's mailbox is filled: three letters about one pass, 20 a day to one address, whoever asks for them.
    another = await passes.give(receiver={"email": "noor@mail.example"})
    *sent, answer = [await passes.ask("POST", f"/v1/passes/{another['id']}/resend") for _ in range(3)]
    assert [one.status_code for one in sent] == [202, 202]
    assert refused(answer) == (429, "letters_too_many") and 590 < int(answer.headers["retry-after"]) <= 600
    passes_of_one = {"name": "Noor", "doors": passes.doors[:1], "valid_until": at(48), "receiver": {"email": "NOOR@mail.example"}}
    many = [await passes.ask("POST", "/v1/passes", None, passes_of_one) for _ in range(15)]
    assert [one.status_code for one in many] == [201] * 14 + [429], "six were sent before"
    assert refused(many[-1]) == (429, "letters_too_many") and int(many[-1].headers["retry-after"]) > 86_000
    nowhere = await passes.give()
    assert refused(await passes.ask("POST", f"/v1/passes/{nowhere['id']}/resend")) == (409, "receiver_without_email")
    await until(lambda: outbox_is_empty(passes), 10)
    for link in (first, second):
        token = link.rpartition("#")[2].encode()
        for collection in await passes.service.database.list_collection_names():
            async for document in passes.service.database[collection].find({}):
                assert token not in bson.encode(document), collection


async def test_a_letter_that_comes_too_late_says_nothing(passes: Passes) -> None:
    """The mail's writer, asked as the worker asks it after a delay in which something else happened."""
    settings, organization = passes.service.stack.settings, passes.service.demo.id
    mongo = Mongo(settings.mongo_url or "", settings.mongo_database, 10_000)

    async def written(given: dict[str, Any], number: int) -> bool:
        letter = Letter(LETTER, organization, f"{given['id']}.{number}", "late@mail.example", 0)
        return await WritePassMail(mongo, settings.public_url)(letter) is not None

    try:
        given = await passes.give()
        assert [await written(given, number) for number in (0, 1, 2)] == [False, True, False]
        renewed = (await passes.ask("POST", f"/v1/passes/{given['id']}/link")).json()
        assert [await written(given, number) for number in (1, 2)] == [False, True]
        await passes.held(renewed)
        assert not await written(given, 2), "accepted"
        taken = await passes.give()
        assert (await passes.ask("DELETE", f"/v1/passes/{taken['id']}")).status_code == 200
        assert not await written(taken, 1), "taken back"
        over = await passes.give(valid_from=at(-2))
        assert (await passes.ask("PATCH", f"/v1/passes/{over['id']}", None, {"valid_until": at(-1)})).status_code == 200
        assert not await written(over, 1), "over"
    finally:
        await mongo.close()


async def outbox_is_empty(passes: Passes) -> bool:
    return await passes.service.database["outbox"].count_documents({}) == 0


async def test_what_makes_no_sense_is_refused_and_changes_nothing(passes: Passes) -> None:
    good = {"name": "Visit", "doors": passes.doors[:1], "valid_until": at(24)}
    held = await passes.give(passes_on_max=1)
    await passes.held(held, FRIEND)
    neighbour = passes.service.headers(passes.service.neighbour.cast["owner"].id, passes.service.neighbour.id)
    foreign = await passes.http.post("/v1/passes", json=good | {"doors": ["front-door"]}, headers=neighbour)
    assert foreign.status_code == 201, foreign.text
    await projected(passes.service)
    before = await standing(passes.service)
    wrong: list[tuple[dict[str, object], int, str]] = [
        ({"valid_until": at(-1)}, 422, "validity_invalid"),
        ({"valid_from": at(-2), "valid_until": at(-1)}, 422, "validity_invalid"),
        ({"valid_from": at(25)}, 422, "validity_invalid"),
        ({"valid_until": at(24 * 367)}, 422, "validity_invalid"),
        ({"valid_until": None}, 400, "field_invalid"),
        ({"doors": []}, 400, "field_invalid"),
        ({"doors": [f"door-{number}" for number in range(17)]}, 400, "field_invalid"),
        ({"doors": ["front-door"]}, 404, "door_unknown"),
        ({"schedule": "nobody-has-this"}, 404, "schedule_unknown"),
        ({"uses": 0}, 400, "field_invalid"),
        ({"uses": 10_001}, 400, "field_invalid"),
        ({"passes_on_max": 4}, 400, "field_invalid"),
        ({"name": "\u202eevil"}, 422, "name_invalid"),
        ({"receiver": {}}, 400, "field_invalid"),
        ({"receiver": {"email": "a@b.example", "link": True}}, 400, "field_invalid"),
        ({"receiver": {"email": "nobody"}}, 422, "email_invalid"),
        ({"receiver": {"phone": "030 1234"}}, 400, "field_invalid"),
        ({"receiver": {"link": False}}, 400, "field_invalid"),
    ]
    for changed, status, code in wrong:
        for path in ("/v1/passes", f"/v1/passes/{held['id']}/pass-on"):
            if "pass-on" in path and changed == {"valid_until": None}:
                continue  # as the pass has it that is passed on
            answer = await passes.ask("POST", path, FRIEND if "pass-on" in path else None, good | changed)
            assert refused(answer) == (status, code), (path, changed, answer.text)
    assert refused(await passes.accept(foreign.json(), FRIEND)) == (404, "pass_unknown"), "of another organization"
    for token in ("x", "\u0000", "a" * 128):
        answer = await passes.http.post("/v1/passes/accept", json={"token": token})
        assert refused(answer) == (404, "pass_unknown")
    assert refused(await passes.ask("GET", f"/v1/passes/{foreign.json()['id']}")) == (404, "pass_unknown")
    grant = f"/v1/grants/{held['id']}_00"
    assert refused(await passes.ask("PATCH", grant, None, {"valid_until": None})) == (422, "field_fixed")
    assert await standing(passes.service) == before


async def test_a_manager_of_one_site_looks_after_the_passes_of_that_site_only(passes: Passes) -> None:
    here, there = passes.doors[0], (await doors_of(passes.service, "new-york"))[0]
    reception = await passes.service.database["persons"].find_one({"org": passes.service.demo.id, "roles.role": "reception"})
    assert reception is not None and reception["roles"][0]["sites"] == [SITE]
    manager = str(reception["id"])
    terms = {"name": "Of one site", "valid_until": at(24)}
    own, both = await passes.give(manager, doors=[here]), await passes.give(doors=[here, there])
    assert own["given_by"] is None, "a manager's holds whatever becomes of the manager"
    assert refused(await passes.ask("POST", "/v1/passes", manager, terms | {"doors": [here, there]})) == (403, "sharing_refused")
    guest = (await passes.held(both))["person"]
    listed = [item["id"] for item in (await passes.ask("GET", "/v1/passes?limit=200", manager)).json()["items"]]
    assert own["id"] in listed and both["id"] not in listed
    for site, seen in (("new-york", {both["id"]}), (SITE, {own["id"], both["id"]})):
        found = {item["id"] for item in (await passes.ask("GET", f"/v1/passes?site={site}&limit=200")).json()["items"]}
        assert found & {own["id"], both["id"]} == seen, "a pass is at the sites of its doors"
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/link")):
        assert refused(await passes.ask(method, f"/v1/passes/{both['id']}{path}", manager)) == (404, "pass_unknown"), (method, path)
    found = {item["id"] for item in (await passes.ask("GET", f"/v1/passes?door={here}&limit=200", manager)).json()["items"]}
    assert found & {own["id"], both["id"]} == {own["id"]}
    assert refused(await passes.ask("GET", f"/v1/passes?door={there}", manager)) == (404, "door_unknown")
    # What is at their own site they can take all the same: one grant of the pass.
    grants = (await passes.ask("GET", f"/v1/grants?pass={both['id']}")).json()["items"]
    assert {(grant["door"], grant["person"], grant["pass"]) for grant in grants} == {(door, guest, both["id"]) for door in (here, there)}
    (of_here,) = [grant["id"] for grant in grants if grant["door"] == here]
    assert (await passes.ask("DELETE", f"/v1/grants/{of_here}", manager)).status_code == 200
    assert [await passes.unlock(guest, door) for door in (here, there)] == [NO_GRANT, OPENED]
    assert (await passes.ask("DELETE", f"/v1/passes/{both['id']}")).status_code == 200
    assert await passes.unlock(guest, there) == NO_GRANT


async def test_nothing_is_accepted_in_an_organization_that_is_suspended(passes: Passes) -> None:
    given, organizations = await passes.give(), passes.service.database["organizations"]
    for active, expected in ((False, 403), (True, 200)):
        await organizations.update_one({"_id": passes.service.demo.id}, {"$set": {"active": active}})
        assert (await passes.accept(given)).status_code == expected


async def of_page(passes: Passes, link: str, storage: Path) -> dict[str, Any]:
    """What a person sees who opens this link in a browser, accepts, and presses every button. The script is the page's own."""
    return await seen_on_page("pass_page.mjs", passes.service.url, link, str(storage))


async def test_the_page_behind_the_link_accepts_and_opens(passes: Passes, tmp_path: Path) -> None:
    answer = await passes.http.get("/pass")
    assert answer.status_code == 200 and answer.headers["referrer-policy"] == "no-referrer"
    for element in ("script", "style"):
        (inner,) = re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert not re.search(r"(?:src|href)=|https?:|innerHTML", answer.text), "nothing from elsewhere, and no text that becomes markup"

    door, closed = passes.doors[:2]
    given = await passes.give(doors=[door, closed])
    locked = await passes.ask("POST", f"/v1/doors/{closed}/lockdown")
    assert locked.status_code == 200
    storage = tmp_path / "storage"
    seen = await of_page(passes, given["link"], storage)
    assert (seen["hash"], seen["accepted"]) == ("", "")
    names = {each["id"]: each["name"] async for each in passes.service.database["doors"].find({"id": {"$in": [door, closed]}})}
    down = "This door is locked down."
    assert sorted(seen["doors"]) == sorted([[f"Open {names[door]}", "", "Open."], [f"Open {names[closed]}", down, down]])
    holder = (await passes.read(given["id"]))["accepted_by"]
    assert (await passes.ask("GET", f"/v1/persons/{holder}")).json()["name"] == "Ben <b>Guest</b>"
    # A second link on the same device is the same guest's.
    second = await passes.give(doors=[passes.doors[2]])
    assert len((await of_page(passes, second["link"], storage))["doors"]) == 3
    assert (await passes.read(second["id"]))["accepted_by"] == holder
    assert (await passes.ask("DELETE", f"/v1/passes/{second['id']}")).status_code == 200
    # Opened again without the token, on the same device: still a guest. On another one the link is spent.
    assert [line for _, _, line in (await of_page(passes, given["link"].partition("#")[0], storage))["doors"]].count("Open.") == 1
    assert (await of_page(passes, given["link"], tmp_path / "other"))["accepted"].startswith("This link was used already.")
    assert (await passes.ask("POST", f"/v1/doors/{closed}/release")).status_code == 200
    assert (await passes.ask("DELETE", f"/v1/passes/{given['id']}")).status_code == 200
    gone = await of_page(passes, given["link"].partition("#")[0], storage)
    assert (gone["first"], gone["doors"]) == ("You hold no key at the moment.", [])
