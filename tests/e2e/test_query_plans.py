"""Every query that the service sends is declared (py_service/stores/queries.py) and goes by the index that is declared for it: what passes
on the wire is held against the table, and explained by the store itself.

The flow below calls every route of the app (a new one makes this test fail until it is called here), and kills what must be cleaned
up after.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import httpx
import pytest
import pytest_asyncio
from pymongo.asynchronous.database import AsyncDatabase

from py_service import organizations as organizations_module
from py_service import worker as worker_module
from py_service.directory.kinds import BY_NAME
from py_service.journal.verify import verify_journal
from py_service.mail.mailbox import read_mailbox
from py_service.permissions.departure import TAKEN_ALONG_MAX
from py_service.permissions.listing import stored_object
from py_service.rotate import rotate_access_key
from py_service.stores.index_advice import advise_indexes
from py_service.stores.mongo import Document, now_ms
from py_service.stores.queries import BY_SHAPE, Query
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import projected
from tests.e2e.mute_lock import mute_lock
from tests.e2e.query_judge import Key, complaints_about, complaints_about_table, example_of
from tests.e2e.recording import RecordingProxy, Sent
from tests.e2e.route_table import route_table
from tests.e2e.running import Service, device_key, random_key, running_service, second_worker, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR, AREA, SITE = "berlin-main-entrance", "berlin-lobby", "berlin"
EVERYBODY, SCHEDULE = "everyone", "night-shift"
FOUNDED = "founded"
LONG_AFTER_MS = 10 * 365 * 86_400_000  # when everything is over, and the worker deletes it
OF_A_LIST = {
    ("device", "kind"): "lock", ("person", "kind"): "guest", ("person", "state"): "active", ("person", "role"): "auditor",
}  # fmt: skip
CALLED_BY_LOCKS = {
    ("POST", "/v1/devices/{device}/token"), ("POST", "/v1/devices/{device}/time"), ("POST", "/v1/devices/{device}/hold"),
    ("GET", "/v1/devices/{device}/configuration"),
}  # fmt: skip


Asked = Callable[..., Awaitable[httpx.Response]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Service, list[Sent]]]:
    """Worked through once; what was asked of the store by then."""
    folder = tmp_path_factory.mktemp("plans")
    async with (
        RecordingProxy() as proxy,
        running_service(folder, absent=1, strangers=1, mongo_through=proxy, operator_organization="nordlicht") as service,
    ):
        called: set[tuple[str, str]] = set(CALLED_BY_LOCKS)
        await service.database.command("profile", 2)
        async with service.client(hook=(await conformance_of(service)).hook) as client:

            async def ask(method: str, route: str, status: int, *, query: str = "", json: object = None,
                          headers: dict[str, str] | None = None, **parameters: str) -> httpx.Response:  # fmt: skip
                called.add((method, route))
                answer = await client.request(
                    method, route.format(**parameters) + query, json=json, headers=service.owner() | (headers or {})
                )
                assert answer.status_code == status, f"{method} {route}: {answer.status_code} {answer.text}"
                return answer

            await sessions(service, ask)
            await api_keys(ask)
            await invitations(service, ask)
            await changes(ask)
            await lockdown_plans(ask)
            await repeats(ask)
            await passes(service, ask)
            await imports(ask)
            await directory(ask)
            await unlocks(service, ask)
            await others(ask)
        await operated(service, proxy)
        await killed(service)
        await swept(service, proxy)
        missing = {(route.method, route.pattern) for route in await route_table()} - called
        assert not missing, f"call these routes too: {sorted(missing)}"
        yield service, list(proxy.seen.values())


async def sessions(service: Service, ask: Asked) -> None:
    account = service.made.account("owner")
    signed_in = await ask("POST", "/v1/sign-in", 200, json={"email": account.email, "password": account.password})
    refreshed = await ask("POST", "/v1/refresh", 200, json={"refresh_token": signed_in.json()["refresh_token"]})
    await ask("POST", "/v1/sign-out", 204, json={"refresh_token": refreshed.json()["refresh_token"]})
    again = await ask("POST", "/v1/sign-in", 200, json={"email": account.email, "password": account.password})
    await ask("POST", "/v1/refresh", 200, json={"refresh_token": again.json()["refresh_token"]})
    await ask("POST", "/v1/refresh", 401, json={"refresh_token": again.json()["refresh_token"]})  # twice: the session ends
    person = service.demo.cast["owner"].id
    await ask("POST", "/v1/sign-in", 200, json={"email": account.email, "password": account.password})
    mine = (await ask("GET", "/v1/me/sessions", 200)).json()["items"]
    await ask("DELETE", "/v1/me/sessions/{session}", 200, session=mine[0]["id"])
    await ask("DELETE", "/v1/me/sessions/{session}", 200, session=mine[0]["id"])
    await ask("POST", "/v1/me/sessions/end-others", 200)
    await ask("GET", "/v1/persons/{person}/sessions", 200, person=person)
    await ask("DELETE", "/v1/persons/{person}/sessions", 200, person=person)
    for route in (
        "/pass",
        "/accept-invitation",
        "/reset-password",
        "/v1/me",
        "/v1/me/doors",
        "/v1/openapi.json",
        "/docs",
        "/.well-known/jwks.json",
        "/healthz",
        "/readyz",
        "/metrics",
    ):
        await ask("GET", route, 200)
    await ask("POST", "/v1/me/realtime-token", 200)


async def invitations(service: Service, ask: Asked) -> None:
    one, email = "/v1/invitations/{invitation}", "una@nordlicht.example"
    made = await ask("POST", "/v1/invitations", 201, json={"email": email, "name": "Una", "groups": [EVERYBODY]})
    invitation = made.json()["id"]
    folder = service.stack.settings.data_folder / "mail"
    await ask("GET", one, 200, invitation=invitation)
    await ask("GET", "/v1/invitations", 200)
    await until(lambda: len(read_mailbox(folder)) == 1)
    accepted = {"token": read_mailbox(folder)[0].text.partition("#")[2].split()[0], "password": "a long enough password"}
    await ask("POST", "/v1/invitations/accept", 200, json=accepted)
    await ask("POST", f"{one}/resend", 409, invitation=invitation)
    await ask("DELETE", one, 200, invitation=invitation)
    account = service.made.account("owner")
    await ask("PUT", "/v1/me/password", 200, json={"old": account.password, "new": "another long enough one"})
    await ask("POST", "/v1/password-reset", 202, json={"email": email})
    await until(lambda: len(read_mailbox(folder)) == 2)
    reset = {"token": read_mailbox(folder)[1].text.partition("#")[2].split()[0], "password": "a third one, long enough"}
    await ask("POST", "/v1/password-reset/confirm", 204, json=reset)


async def api_keys(ask: Asked) -> None:
    one, reads = "/v1/api-keys/{api_key}", {"name": "Key", "scopes": ["doors.read"]}
    made = await ask("POST", "/v1/api-keys", 201, json={**reads, "id": "k1", "sites": [SITE]})
    await ask("GET", "/v1/doors", 200, headers={"Authorization": f"Bearer {made.json()['key']}"})
    await ask("GET", "/v1/api-keys", 200)
    await ask("GET", one, 200, api_key="k1")
    await ask("PATCH", one, 200, json={"name": "Another"}, api_key="k1")
    await ask("POST", f"{one}/rotate", 200, api_key="k1")
    await ask("DELETE", one, 200, api_key="k1")


async def changes(ask: Asked) -> None:
    for subject in ({"person": "stranger-0"}, {"group": EVERYBODY}):
        for place in ({"door": DOOR}, {"area": AREA}, {"site": SITE}):
            given = await ask("POST", "/v1/grants", 201, json={**subject, **place, "schedule": SCHEDULE})
            await ask("GET", "/v1/grants/{grant}", 200, grant=given.json()["id"])
            await ask("PATCH", "/v1/grants/{grant}", 200, json={"schedule": None, "effect": "deny"}, grant=given.json()["id"])
            await ask("PATCH", "/v1/grants/{grant}", 200, json={"schedule": SCHEDULE}, grant=given.json()["id"])
            named = next(iter(place.items()))
            await ask("GET", "/v1/grants", 200, query=f"?{named[0]}={named[1]}&limit=2")
            await ask("GET", "/v1/grants", 200, query="?limit=2")
            await ask("DELETE", "/v1/grants/{grant}", 200, grant=given.json()["id"])
    await ask("PUT", "/v1/persons/{person}/pin", 200, json={"pin": "4711"}, person="stranger-0")
    for verb in ("suspend", "resume"):
        await ask("POST", f"/v1/persons/{{person}}/{verb}", 200, person="stranger-0")
    for verb in ("lockdown", "release"):
        for kind, identifier in (("doors", DOOR), ("areas", AREA), ("sites", SITE)):
            await ask("POST", f"/v1/{kind}/{{{kind[:-1]}}}/{verb}", 200, **{kind[:-1]: identifier})


async def others(ask: Asked) -> None:
    """Other organizations, by an owner of the operator's."""
    one, owner = "/v1/operator/organizations/{organization}", {"email": "una@another.example", "name": "Una"}
    await ask("POST", "/v1/operator/organizations", 201, json={"id": "another", "name": "Another", "owner": owner})
    await ask("POST", "/v1/operator/organizations", 409, json={"id": "another", "name": "Another", "owner": owner})
    await ask("GET", one, 200, organization="another")
    await ask("PATCH", one, 200, json={"name": "Renamed"}, organization="another")
    for verb in ("suspend", "resume", "suspend"):
        await ask("POST", f"{one}/{verb}", 200, organization="another")
    await ask("DELETE", one, 200, organization="another")
    for query in ("?limit=1", "?limit=1&state=archived", "?limit=1&sort=-id"):
        page = await ask("GET", "/v1/operator/organizations", 200, query=query)
        if page.json()["next_cursor"] is not None:
            await ask("GET", "/v1/operator/organizations", 200, query=f"{query}&cursor={page.json()['next_cursor']}")


async def lockdown_plans(ask: Asked) -> None:
    one = "/v1/lockdown-plans/{lockdown_plan}"
    await ask("POST", "/v1/lockdown-plans", 201, json={"id": "night", "name": "Night", "doors": [DOOR], "areas": [AREA], "sites": [SITE]})
    await ask("PATCH", one, 200, json={"name": "Every night"}, lockdown_plan="night")
    await ask("GET", one, 200, lockdown_plan="night")
    await ask("GET", "/v1/lockdown-plans", 200)
    for kind, place in (("door", DOOR), ("area", AREA), ("site", SITE)):
        await ask("GET", "/v1/lockdown-plans", 200, query=f"?{kind}={place}")
    for verb in ("engage", "release"):
        await ask("POST", f"{one}/{verb}", 200, lockdown_plan="night")
    await ask("DELETE", one, 200, lockdown_plan="night")


async def passes(service: Service, ask: Asked) -> None:
    one, terms = "/v1/passes/{pass}", {"name": "Visit", "doors": [DOOR], "valid_until": in_days(7), "uses": 3, "passes_on_max": 2}
    stranger = service.headers("stranger-0")

    def token(answer: httpx.Response) -> str:
        return str(answer.json()["link"].rpartition("#")[2])

    given = await ask("POST", "/v1/passes", 201, json=terms)
    named = {"pass": given.json()["id"]}
    renewed = await ask("POST", f"{one}/link", 200, **named)
    mailed = await ask("POST", "/v1/passes", 201, json=terms | {"receiver": {"email": "visitor@mail.example"}})
    await ask("POST", f"{one}/resend", 202, **{"pass": mailed.json()["id"]})
    await ask("POST", "/v1/me/passes", 200, json={"token": token(renewed)}, headers=stranger)
    below = await ask("POST", f"{one}/pass-on", 201, json={"name": "For a friend", "passes_on_max": 1}, headers=stranger, **named)
    await ask("POST", "/v1/passes/accept", 200, json={"token": token(below)})
    await ask("POST", "/v1/passes/accept", 409, json={"token": token(below)})
    for query in ("", "?site=berlin", f"?door={DOOR}", "?person=stranger-0", f"?schedule={SCHEDULE}", f"?pass={named['pass']}"):
        await ask("GET", "/v1/passes", 200, query=query)
    assert len((await ask("GET", "/v1/grants", 200, query=f"?pass={named['pass']}")).json()["items"]) == 1
    await ask("GET", "/v1/me/passes", 200, headers=stranger)
    assert len((await ask("GET", "/v1/me/passes", 200, query=f"?pass={named['pass']}", headers=stranger)).json()["items"]) == 1
    await ask("GET", one, 200, **named)
    await ask("PATCH", one, 200, json={"valid_until": in_days(6)}, **named)
    await ask("DELETE", one, 200, **named)
    # Somebody whom more names than ends in one change leaves some of it to the worker.
    departing = (await ask("POST", "/v1/persons", 201, json={"name": "Departing"})).json()["id"]
    held = {"effect": "allow", "person": departing, "door": DOOR} | dict.fromkeys(("schedule", "valid_from", "valid_until"))
    documents = [stored_object(service.demo.id, "grant", {"id": f"departing-{number}", **held}) for number in range(TAKEN_ALONG_MAX + 1)]
    await service.database["grants"].insert_many(documents)
    await ask("DELETE", "/v1/persons/{person}", 200, person=departing)


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def repeats(ask: Asked) -> None:
    key = {"Idempotency-Key": random_key()}
    await ask("POST", "/v1/grants", 404, json={"person": "stranger-0", "door": DOOR, "schedule": "none-yet"}, headers=key)
    for _ in range(2):
        await ask("POST", "/v1/grants", 201, json={"person": "stranger-0", "door": DOOR}, headers=key)


async def imports(ask: Asked) -> None:
    one = "/v1/imports/{import}"
    await ask("POST", "/v1/imports", 201, json={"id": "climbers", "kind": "groups", "format": "csv"})
    for part, text in (("1", "id,name,includes\nalpine,Alpinists,\n"), ("2", f"climbers,Climbers,{EVERYBODY};alpine\n")):
        await ask("PUT", f"{one}/parts/{{part}}", 200, json={"text": text}, **{"import": "climbers", "part": part})
    await ask("POST", f"{one}/start", 200, **{"import": "climbers"})
    persons = '{"name": "Ada", "email": "ada@climbers.example", "groups": ["alpine"], "group_names": ["Climbers"]}\n{"name": ""}\n'
    grants = f"person_email,group_name,door,schedule\nada@climbers.example,,{DOOR},{SCHEDULE}\n,climbers,{DOOR},\n"
    for kind, form, text in (("groups", None, ""), ("persons", "ndjson", persons), ("grants", "csv", grants)):
        identifier = "climbers"
        if form is not None:
            asked = {"kind": kind, "format": form, "text": text}
            identifier = (await ask("POST", "/v1/imports", 201, json=asked)).json()["id"]

        async def over(identifier: str = identifier) -> bool:
            found = (await ask("GET", one, 200, **{"import": identifier})).json()
            return found["ended_at"] is not None and found["rows_applied"] > 0

        await until(over, 20)
        await ask("GET", f"{one}/results", 200, query="?outcome=created", **{"import": identifier})
    await ask("POST", f"{one}/stop", 200, **{"import": "climbers"})
    first = await ask("GET", "/v1/imports", 200, query="?limit=1")
    await ask("GET", "/v1/imports", 200, query=f"?limit=1&cursor={first.json()['next_cursor']}")


async def directory(ask: Asked) -> None:
    created: dict[str, dict[str, object]] = {
        "site": {"name": "Oslo", "time_zone": "Europe/Oslo"},
        "floor": {"name": "First", "site": "oslo"},
        "area": {"name": "Roof", "site": "oslo", "floor": "oslo"},
        "door": {"name": "Roof door", "site": "oslo", "area": "oslo"},
        "device": {"public_key": device_key(), "door": "oslo"},
        "calendar": {"name": "None", "dates": ["2026-12-25"]},
        "schedule": {"name": "Never", "windows": [], "calendar": "oslo"},
        "group": {"name": "Climbers"},
        "person": {"name": "Nora", "email": "nora@nordlicht.example", "groups": ["oslo"]},
    }
    differing: dict[str, dict[str, object]] = {"device": {"active": False}, "group": {"includes": ["everyone"]}}
    for kind, body in created.items():
        await ask("POST", f"/v1/{kind}s", 201, json={"id": "oslo", **body})
        await ask("GET", f"/v1/{kind}s/{{{kind}}}", 200, **{kind: "oslo"})
        patched = differing.get(kind, {"name": "Changed"})
        await ask("PATCH", f"/v1/{kind}s/{{{kind}}}", 200, json=patched, **{kind: "oslo"})
        first = await ask("GET", f"/v1/{kind}s", 200, query="?limit=1&sort=-name")
        if first.json()["next_cursor"]:
            await ask("GET", f"/v1/{kind}s", 200, query=f"?limit=1&cursor={first.json()['next_cursor']}")
        for name in BY_NAME[kind].filters:
            await ask("GET", f"/v1/{kind}s", 200, query=f"?{name}={OF_A_LIST.get((kind, name), 'oslo')}")
    await ask("GET", "/v1/persons", 200, query="?name=no")
    await ask("GET", "/v1/persons", 200, query="?limit=1&name=no&state=active&kind=employee&sort=-name")
    await ask("GET", "/v1/organization", 200)
    await ask("PATCH", "/v1/organization", 200, json={"name": "Nordlicht"})
    await ask("GET", "/v1/roles", 200)
    await ask("GET", "/v1/access/explain", 200, query=f"?person=stranger-0&door={DOOR}")
    await ask("GET", "/v1/access/who", 200, query=f"?door={DOOR}")
    await ask("GET", "/v1/access/what", 200, query="?person=stranger-0")
    proposed = [
        {"method": "POST", "path": "/v1/grants", "body": {"person": "stranger-0", "door": DOOR}},
        {"method": "DELETE", "path": "/v1/persons/stranger-0"},
    ]
    await ask("POST", "/v1/access/preview", 200, json={"changes": proposed})
    await ask("GET", "/v1/areas/{area}/occupancy", 200, area=AREA)
    for whom in (None, "stranger-0"):
        await ask("POST", "/v1/areas/{area}/occupancy/reset", 200, json={"person": whom}, area=AREA)
    manager = {"roles": [{"role": "site_manager", "sites": ["oslo"]}]}
    await ask("PUT", "/v1/persons/{person}/roles", 200, json=manager, person="oslo")
    for kind in reversed(created):
        await ask("DELETE", f"/v1/{kind}s/{{{kind}}}", 200, **{kind: "oslo"})


async def unlocks(service: Service, ask: Asked) -> None:
    key = {"Idempotency-Key": random_key()}
    opened = await ask("POST", "/v1/doors/{door}/unlock", 200, door=DOOR, headers={"Prefer": "wait=3"} | key)
    await ask("POST", "/v1/doors/{door}/unlock", 200, door=DOOR, headers={"Prefer": "wait=3"} | key)
    absent = service.demo.locks[-1].door
    await ask("POST", "/v1/doors/{door}/unlock", 200, door=absent, headers={"Prefer": "wait=1"})
    async with mute_lock(service, service.demo.locks[-1]):  # granted, and never answered: the worker has to close it
        await ask("POST", "/v1/doors/{door}/unlock", 202, door=absent, headers={"Prefer": "wait=1"})
    await projected(service)
    await ask("GET", "/v1/attempts/{attempt}", 200, attempt=opened.json()["id"])
    first = await ask("GET", "/v1/events", 200, query="?limit=2")
    await ask("GET", "/v1/events", 200, query=f"?limit=2&cursor={first.json()['next_cursor']}")


async def operated(service: Service, proxy: RecordingProxy) -> None:
    """What the operator's commands do to the store, beside the running service."""
    settings = replace(service.stack.settings, mongo_url=proxy.aim(service.stack.settings.mongo_url or ""), store_timeout_ms=10_000)
    founded = organizations_module.NewOrganization(FOUNDED, "Founded", "founder@founded.example", "Fay", "a long enough password")
    await organizations_module.found_organization(settings, founded)
    await organizations_module.appoint_owner(settings, FOUNDED, "second@founded.example", "Sol", "a long enough password")
    await organizations_module.set_organization_state(settings, FOUNDED, active=False)
    await organizations_module.set_organization_state(settings, FOUNDED, active=True)
    await organizations_module.rename_organization(settings, FOUNDED, "Renamed")
    await organizations_module.set_organization_state(settings, FOUNDED, active=False)
    await organizations_module.archive_organization(settings, FOUNDED)
    assert FOUNDED in {one.id for one in await organizations_module.list_organizations(settings)}
    await rotate_access_key(settings)
    assert [one for one in await verify_journal(settings) if one.fault is not None] == []
    await service.database.command("profile", 0)
    report = await advise_indexes(settings)
    scanned = {(one.what, one.collection, one.fields) for one in report.advice}
    assert scanned == {("scan", "events", ()), ("scan", "journal", ())}, report  # what `projected` above reads, for this test
    assert report.profiled > 50, report


async def killed(service: Service) -> None:
    """An api worker dies with an attempt that nobody closes: the worker reads its log to the end, closes it, and closes the attempt."""
    before = set(service.worker_pids())
    os.kill(min(before), signal.SIGKILL)
    os.kill(service.supervisor.pid("gateway"), signal.SIGKILL)
    os.kill(service.supervisor.pid("worker"), signal.SIGKILL)

    async def closed() -> bool:
        still_open = await service.database["open_attempts"].count_documents({})
        return not still_open and await service.database["logs"].count_documents({"state": "finished"}) >= 3

    await until(closed, 60)
    await projected(service)


async def swept(service: Service, proxy: RecordingProxy) -> None:
    """What the worker does every minute, once, as if everything were over."""
    settings = replace(service.stack.settings, mongo_url=proxy.aim(service.stack.settings.mongo_url or ""))
    async with second_worker(settings) as worker:
        with mock.patch.object(worker_module, "now_ms", return_value=now_ms() + LONG_AFTER_MS):
            await worker.sweep_once()
            await worker.end_once()


async def test_every_query_is_declared_and_goes_by_its_index(seen: tuple[Service, list[Sent]]) -> None:
    service, queries = seen
    found = [complaint for sent in queries for complaint in await complaints(service, sent)]
    for key, row in BY_SHAPE.items():
        if row.unseen:
            found += await complaints(service, example_of(key))
    found += complaints_about_table(queries, organizations(service))
    assert not found, "\n".join(sorted(set(found)))
    assert await service.database["leases"].count_documents({}) == 1  # of which the embedded server reads every one


def organizations(service: Service) -> set[str]:
    return {service.demo.id, service.neighbour.id, FOUNDED, "another"}


async def complaints(service: Service, sent: Sent, table: Mapping[Key, Query] = BY_SHAPE) -> list[str]:
    return complaints_about(sent, await explained(service.database, sent), organizations(service), table)


OF_NORDLICHT = {"$gte": "nordlicht:", "$lt": "nordlicht;"}
BREACHES: list[tuple[Query | None, Sent, list[str]]] = [
    (None, Sent("persons", "find", {"org": "nordlicht", "kind": "guest"}, {}, False), ["isn't declared"]),
    (None, Sent("persons", "find", {"org": {"$ne": "nordlicht"}}, {}, False),
        ["no index is known to serve org ['$ne']", "isn't declared"]),
    (None, Sent("groups", "find", {"by_name": {"$gte": "nordlicht:"}}, {}, False),
        ["the range of by_name has one end", "looks over all organizations"]),
    (None, Sent("persons", "find", {"by_name": {"$gte": "a", "$lt": "z"}}, {"by_name": 1}, True), ["looks over all organizations"]),
    (None, Sent("persons", "find", {"org": {"$in": ["nordlicht", "other"]}}, {}, False), ["looks over all organizations"]),
    (None, Sent("persons", "find", {"listed": "email=a", "by_name": OF_NORDLICHT}, {"by_name": 1}, True), ["looks over all organizations"]),
    (Query("find", "persons", "name", "", "", "by_name_1", across="for once"),
        Sent("persons", "find", {"name": "Ada"}, {}, False), ["reads the whole collection"]),
    (Query("find", "persons", "org", "", "", "listed_1_by_name_1", across="for once"),
        Sent("persons", "find", {"org": "nordlicht"}, {}, False), ["goes by org_1, and listed_1_by_name_1 is declared"]),
    (Query("find", "persons", "org", "name", "", "org_1"),
        Sent("persons", "find", {"org": "nordlicht"}, {"name": 1}, True), ["sorts what it found"]),
    (Query("find", "persons", "org", "", "", "org_1", embedded="SORT"),
        Sent("persons", "find", {"org": "nordlicht"}, {}, False), ["the embedded server needs no SORT for it"]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "sent", "expected"), BREACHES, ids=[breach[2][0] for breach in BREACHES])
async def test_a_query_that_breaks_a_rule_is_told(
    seen: tuple[Service, list[Sent]], row: Query | None, sent: Sent, expected: list[str]
) -> None:
    """`row`: declared for it; None: the table as it is."""
    service, _ = seen
    declared = {} if row is None else {(row.command, shape): row for shape in row.shapes()}
    found = await complaints(service, sent, {**BY_SHAPE, **declared})
    assert len(found) == len(expected), found
    for complaint, part in zip(found, expected, strict=True):
        assert part in complaint


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (Query("find", "doors", "lock", "", "", "lock_1"), "declared, and never sent"),
        (Query("find", "doors", "org", "", "", "org_1", across="why not"), "may look over all organizations, and never does"),
    ],
)
async def test_a_row_that_nothing_bears_out_is_told(seen: tuple[Service, list[Sent]], row: Query, complaint: str) -> None:
    service, queries = seen
    (shape,) = row.shapes()
    found = complaints_about_table(queries, organizations(service), {**BY_SHAPE, (row.command, shape): row})
    assert len(found) == 1 and complaint in found[0], found
    assert not complaints_about_table(
        queries, organizations(service), {**BY_SHAPE, (row.command, shape): replace(row, across="", unseen="rare")}
    )


async def explained(database: AsyncDatabase[Document], sent: Sent) -> Document:
    """The plan for finding what the query looks for. The embedded server explains updates and deletes as scans whatever they look for."""
    limit = {"limit": 1} if sent.limited else {}
    asked: Document = {"find": sent.collection, "filter": sent.filter, "sort": sent.sort, **limit}
    answer: Document = await database.command("explain", asked, verbosity="queryPlanner")
    return answer
