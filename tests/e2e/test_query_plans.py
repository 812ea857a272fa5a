"""Every query that the service sends is served by an index: what passes on the wire is explained by the store itself.

The flow below calls every route of the app (a new one makes this test fail until it is called here), and kills what must be cleaned
up after.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from pymongo.asynchronous.database import AsyncDatabase

from py_service.directory.kinds import BY_NAME
from py_service.mail.mailbox import read_mailbox
from py_service.stores.index_advice import scans
from py_service.stores.mongo import Document
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import projected
from tests.e2e.recording import Query, RecordingProxy
from tests.e2e.route_table import route_table
from tests.e2e.running import Service, random_key, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR, AREA, SITE = "berlin-main-entrance", "berlin-lobby", "berlin"
EVERYBODY, SCHEDULE = "everyone", "night-shift"
READ_WHOLE = {"revisions"}  # at the start, to know the organizations
ONE_DOCUMENT = {"leases"}  # found by its id; that the rest of the filter makes the embedded server scan costs one read
OF_A_LIST = {
    ("device", "kind"): "lock", ("person", "kind"): "guest", ("person", "state"): "active", ("person", "role"): "auditor",
}  # fmt: skip
CALLED_BY_LOCKS = {
    ("POST", "/v1/devices/{device}/token"), ("POST", "/v1/devices/{device}/time"), ("GET", "/v1/devices/{device}/configuration"),
}  # fmt: skip


Asked = Callable[..., Awaitable[httpx.Response]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Service, dict[str, Query]]]:
    """Worked through once; what was asked of the store by then."""
    folder = tmp_path_factory.mktemp("plans")
    async with RecordingProxy() as proxy, running_service(folder, absent=1, strangers=1, mongo_through=proxy) as service:
        called: set[tuple[str, str]] = set(CALLED_BY_LOCKS)
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
        await killed(service)
        missing = {(route.method, route.pattern) for route in await route_table()} - called
        assert not missing, f"call these routes too: {sorted(missing)}"
        yield service, dict(proxy.seen)


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
    await ask("GET", one, 200, **named)
    await ask("PATCH", one, 200, json={"valid_until": in_days(6)}, **named)
    await ask("DELETE", one, 200, **named)


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
        "device": {"public_key": "A" * 43, "door": "oslo"},
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
    await projected(service)
    await ask("GET", "/v1/attempts/{attempt}", 200, attempt=opened.json()["id"])
    first = await ask("GET", "/v1/events", 200, query="?limit=2")
    await ask("GET", "/v1/events", 200, query=f"?limit=2&cursor={first.json()['next_cursor']}")


async def killed(service: Service) -> None:
    """An api worker dies with an attempt that nobody closes: the worker reads its log to the end, closes it, and closes the attempt."""
    before = set(service.worker_pids())
    os.kill(min(before), signal.SIGKILL)
    os.kill(service.supervisor.pid("gateway"), signal.SIGKILL)
    os.kill(service.supervisor.pid("worker"), signal.SIGKILL)

    async def closed() -> bool:
        return await service.database["logs"].count_documents({"state": "finished"}) >= 3

    await until(closed, 60)
    await projected(service)


async def test_every_query_is_served_by_an_index(seen: tuple[Service, dict[str, Query]]) -> None:
    service, queries = seen
    assert len(queries) > 30, sorted(queries)  # the recorder recorded
    assert {query.command for query in queries.values()} == {"find", "update", "delete"}
    judged = [query for query in queries.values() if query.collection not in ONE_DOCUMENT and not read_whole(query)]
    scanning = [query for query in judged if scans(await explained(service.database, query))]
    assert not scanning, "\n".join(f"{query.command} {query.collection} {query.filter}" for query in scanning)
    assert await service.database["leases"].count_documents({}) == 1


def read_whole(query: Query) -> bool:
    """Read whole on purpose."""
    return not query.filter and query.command == "find" and query.collection in READ_WHOLE


async def test_a_query_without_an_index_is_seen(seen: tuple[Service, dict[str, Query]]) -> None:
    service, _ = seen
    assert scans(await explained(service.database, Query("persons", "find", {"name": "Stranger 0"}, {}, False)))
    assert not scans(await explained(service.database, Query("persons", "find", {"org": service.demo.id}, {}, False)))


async def explained(database: AsyncDatabase[Document], query: Query) -> Document:
    """The plan for finding what the query looks for. The embedded server explains updates and deletes as scans whatever they look for."""
    limit = {"limit": 1} if query.limited else {}
    asked: Document = {"find": query.collection, "filter": query.filter, "sort": query.sort, **limit}
    answer: Document = await database.command("explain", asked, verbosity="queryPlanner")
    return answer
