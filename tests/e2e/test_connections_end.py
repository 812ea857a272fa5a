"""Whoever loses the right to watch is disconnected within a second of the call's return, in each way in which it is lost, and stays out.

What doesn't live here: what the gateway does without Redis, and what it knows when it starts (tests/integration/test_gateway.py).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from py_service._core_rs import DeviceKey
from py_service.identity.passwords import make_hasher
from py_service.mail.mailbox import read_mailbox
from py_service.organizations import set_organization_state
from py_service.stores.mongo import Document, now_ms
from tests.e2e.manager import Manager, stranger
from tests.e2e.proxy import MongoProxy, RedisProxy
from tests.e2e.running import Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "a password for watching"
AUDITOR = {"roles": [{"role": "auditor", "sites": None}]}
CLOSED_SECONDS_MAX = 1.0
OPERATOR = "hafenblick"  # not whose events are watched


@dataclass(slots=True)
class Watcher:
    """Somebody signed in who watches the organization's events."""

    person: str
    session: Document  # the answer to the sign-in
    gateway_token: str
    owner: Manager

    async def signs_out(self) -> None:
        answer = await self.owner.http.post("/v1/sign-out", json={"refresh_token": self.session["refresh_token"]})
        assert answer.status_code == 204, answer.text

    async def shows_a_refresh_token_twice(self) -> None:
        token = {"refresh_token": self.session["refresh_token"]}
        assert (await self.owner.http.post("/v1/refresh", json=token)).status_code == 200
        answer = await self.owner.http.post("/v1/refresh", json=token)
        assert (answer.status_code, answer.json()["code"]) == (401, "refresh_token_reused")

    async def ends_its_session(self) -> None:
        headers = {"Authorization": f"Bearer {self.session['access_token']}"}
        (session,) = (await self.owner.http.get("/v1/me/sessions", headers=headers)).json()["items"]
        answer = await self.owner.http.delete(f"/v1/me/sessions/{session['id']}", headers=headers)
        assert answer.status_code == 200, answer.text

    async def changes_its_password(self) -> None:
        """From another session, which goes on; the one that watches has ended."""
        http, credentials = self.owner.http, {"email": f"{self.person}@example.test", "password": PASSWORD}
        other = (await http.post("/v1/sign-in", json=credentials)).json()
        body = {"old": PASSWORD, "new": "another password for watching"}
        answer = await http.put("/v1/me/password", json=body, headers={"Authorization": f"Bearer {other['access_token']}"})
        assert answer.status_code == 200, answer.text

    async def ends_its_others(self) -> None:
        http, credentials = self.owner.http, {"email": f"{self.person}@example.test", "password": PASSWORD}
        other = (await http.post("/v1/sign-in", json=credentials)).json()
        answer = await http.post("/v1/me/sessions/end-others", headers={"Authorization": f"Bearer {other['access_token']}"})
        assert answer.status_code == 200, answer.text

    async def sets_a_forgotten_password(self) -> None:
        http, service, email = self.owner.http, self.owner.service, f"{self.person}@example.test"
        assert (await http.post("/v1/password-reset", json={"email": email})).status_code == 202
        folder = service.stack.settings.data_folder / "mail"
        await until(lambda: any(mail.to == email for mail in read_mailbox(folder)))
        link = re.search(r"reset-password#(\S+)", [mail for mail in read_mailbox(folder) if mail.to == email][-1].text)
        assert link is not None
        answer = await http.post("/v1/password-reset/confirm", json={"token": link[1], "password": "another password for watching"})
        assert answer.status_code == 204, answer.text

    async def operator_suspends(self) -> None:
        service = self.owner.service
        operator = Manager(service, self.owner.http, service.neighbour.cast["owner"].id, OPERATOR)
        await operator("POST", f"/v1/operator/organizations/{service.demo.id}/suspend", 200)

    async def organization(self, *, active: bool) -> None:
        service = self.owner.service
        await set_organization_state(service.stack.settings, service.demo.id, active=active)


def asks(method: str, path: str, body: object = None) -> Callable[[Watcher], Awaitable[object]]:
    """The owner does this."""

    async def ask(watcher: Watcher) -> object:
        return await watcher.owner(method, path.format(person=watcher.person), 200, body)

    return ask


TAKEN: dict[str, Callable[[Watcher], Awaitable[object]]] = {
    "role": asks("PUT", "/v1/persons/{person}/roles", {"roles": []}),
    "role for some sites only": asks("PUT", "/v1/persons/{person}/roles", {"roles": [{"role": "auditor", "sites": ["berlin"]}]}),
    "suspended": asks("POST", "/v1/persons/{person}/suspend"),
    "removed": asks("DELETE", "/v1/persons/{person}"),
    "over": asks("PATCH", "/v1/persons/{person}", {"valid_until": "2020-01-01T00:00:00Z"}),
    "not begun": asks("PATCH", "/v1/persons/{person}", {"valid_from": "2100-01-01T00:00:00Z"}),
    "sessions ended": asks("DELETE", "/v1/persons/{person}/sessions"),
    "session ended": Watcher.ends_its_session,
    "signed out": Watcher.signs_out,
    "other sessions ended": Watcher.ends_its_others,
    "password changed": Watcher.changes_its_password,
    "password reset by mail": Watcher.sets_a_forgotten_password,
    "address changed": asks("PATCH", "/v1/persons/{person}", {"email": "moved@example.test"}),
    "refresh token stolen": Watcher.shows_a_refresh_token_twice,
    "organization suspended": lambda watcher: watcher.organization(active=False),
    "organization suspended over HTTP": Watcher.operator_suspends,
}
EVERYBODY = {"organization suspended", "organization suspended over HTTP"}


SEED = bytes([9]) * 32
DEVICE_LOSES: dict[str, tuple[str, object]] = {
    "switched off": ("PATCH", {"active": False}),
    "at another door": ("PATCH", {"door": "other"}),
    "at no door": ("PATCH", {"door": None}),
    "removed": ("DELETE", None),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus() -> AsyncIterator[RedisProxy]:
    async with RedisProxy() as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store() -> AsyncIterator[MongoProxy]:
    async with MongoProxy() as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory, bus: RedisProxy, store: MongoProxy) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("connections")
    password = await asyncio.to_thread(make_hasher().hash, PASSWORD)
    async with running_service(
        folder,
        doors=2,
        locks=False,
        strangers=len(TAKEN) + 3,
        sign_ins_per_minute_max=1_000,
        operator_organization=OPERATOR,
        redis_through=bus,
        mongo_through=store,
    ) as running:
        accounts: list[Document] = [
            {"_id": f"{stranger(number)}@example.test", "org": running.demo.id, "person": stranger(number), "password": password}
            for number in range(len(TAKEN) + 3)
        ]
        await running.database["accounts"].insert_many(accounts)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


async def watching(service: Service, http: httpx.AsyncClient, number: int) -> Watcher:
    owner = Manager(service, http, service.demo.cast["owner"].id)
    await owner("PUT", f"/v1/persons/{stranger(number)}/roles", 200, AUDITOR)
    signed_in = await http.post("/v1/sign-in", json={"email": f"{stranger(number)}@example.test", "password": PASSWORD})
    assert signed_in.status_code == 200, signed_in.text
    session = signed_in.json()
    issued = await http.post("/v1/me/realtime-token", headers={"Authorization": f"Bearer {session['access_token']}"})
    assert f"organizations/{service.demo.id}/events" in issued.json()["topics"]
    return Watcher(stranger(number), session, issued.json()["token"], owner)


async def connected(service: Service, token: str) -> tuple[ClientConnection, dict[str, object]]:
    """A connection, and what the gateway said to the token."""
    line = await connect(service.stack.gateway_url, subprotocols=[Subprotocol("nexkey.v1.json")], proxy=None)
    await line.send(json.dumps({"type": "authenticate", "token": token}))
    return line, json.loads(await line.recv())


@pytest.mark.parametrize("way", TAKEN)
async def test_a_connection_ends_within_a_second(service: Service, http: httpx.AsyncClient, way: str) -> None:
    watcher = await watching(service, http, list(TAKEN).index(way))
    bystander = (await http.post("/v1/me/realtime-token", headers=service.headers(service.demo.cast["facility"].id))).json()
    line, said = await connected(service, watcher.gateway_token)
    other, _ = await connected(service, bystander["token"])
    async with line, other:
        assert said["type"] == "authenticated", said
        topic = f"organizations/{service.demo.id}/events"
        await line.send(json.dumps({"type": "subscribe", "topic": topic, "position": None}))
        assert json.loads(await line.recv())["type"] == "subscribed"
        closed = asyncio.create_task(line.wait_closed())
        await asyncio.sleep(0.05)
        assert not closed.done()
        await TAKEN[way](watcher)
        returned = time.monotonic()
        await asyncio.wait_for(closed, 5)
        assert time.monotonic() - returned < CLOSED_SECONDS_MAX
        assert (line.close_code, line.close_reason) == (4004, "access_revoked")
        assert (other.close_code is None) == (way not in EVERYBODY)  # nobody else is disturbed
    try:
        await stays_out(service, http, watcher)
    finally:
        if way in EVERYBODY:
            await watcher.organization(active=True)


@pytest.mark.parametrize("worker_dies", [False, True])
async def test_a_connection_ends_although_redis_was_away_for_a_moment(
    service: Service, http: httpx.AsyncClient, bus: RedisProxy, worker_dies: bool
) -> None:
    """The word of it can't be said when the call returns, and Redis is back before the gateway gives up everybody's connections.

    Nor can the worker say it that has read it in the journal, and then dies: its successor looks back.
    """
    watcher = await watching(service, http, len(TAKEN) + 2 * worker_dies)
    suspended = {"org": service.demo.id, "subject": watcher.person, "kind": "management.person_suspended"}

    async def projected() -> bool:
        return await service.database["events"].find_one(suspended) is not None

    line, said = await connected(service, watcher.gateway_token)
    async with line:
        assert said["type"] == "authenticated", said
        bus.away()
        await TAKEN["suspended"](watcher)
        await (until(projected) if worker_dies else asyncio.sleep(0.3))
        if worker_dies:
            os.kill(service.supervisor.pid("worker"), signal.SIGKILL)
        await bus.back()
        await asyncio.wait_for(line.wait_closed(), 5)
    await stays_out(service, http, watcher)


async def test_a_connection_ends_although_the_process_died_before_it_said_so(
    service: Service, http: httpx.AsyncClient, store: MongoProxy
) -> None:
    """Killed when the store has committed, and before the process knows: the worker reads it in the journal.

    One watches with a token that was made after the change was planned, and before it was committed.
    """
    watcher = await watching(service, http, len(TAKEN) + 1)
    line, said = await connected(service, watcher.gateway_token)
    async with line:
        assert said["type"] == "authenticated", said
        async with store.holding("changes-", before=True) as planned, store.holding("changes-") as held:
            store.hold(planned)
            asked = asyncio.ensure_future(TAKEN["suspended"](watcher))
            await asyncio.wait_for(planned.caught.wait(), 5)
            issued = await http.post("/v1/me/realtime-token", headers={"Authorization": f"Bearer {watcher.session['access_token']}"})
            late, said = await connected(service, issued.json()["token"])
            assert said["type"] == "authenticated", said
            store.hold(held)
            planned.release()
            await asyncio.wait_for(held.caught.wait(), 5)
            log = await service.database["logs"].find_one({"_id": held.documents[0].rpartition(":")[0]})
            assert log is not None and log["process"].startswith("api-"), log
            os.kill(int(log["process"].split("-")[1]), signal.SIGKILL)
            with pytest.raises(httpx.HTTPError):
                await asked
        async with late:
            for watching_line in (line, late):
                await asyncio.wait_for(watching_line.wait_closed(), 5)
                assert (watching_line.close_code, watching_line.close_reason) == (4004, "access_revoked")
    await stays_out(service, http, watcher)


@pytest.mark.parametrize("way", DEVICE_LOSES)
async def test_a_device_that_loses_its_place_is_disconnected_within_a_second(service: Service, http: httpx.AsyncClient, way: str) -> None:
    owner = Manager(service, http, service.demo.cast["owner"].id)
    number = list(DEVICE_LOSES).index(way)
    key = DeviceKey.from_seed(bytes([number]) + SEED[1:])
    lock, organization = f"ends-{number}", service.demo.id
    method, body = DEVICE_LOSES[way]
    await owner("POST", "/v1/doors", 201, {"id": f"{lock}-door", "name": f"Door {number}", "site": "berlin"})
    other = await owner("POST", "/v1/doors", 201, {"id": f"{lock}-other", "name": f"Other {number}", "site": "berlin"})
    public_key = base64.urlsafe_b64encode(key.public_key).rstrip(b"=").decode()
    await owner("POST", "/v1/devices", 201, {"id": lock, "kind": "lock", "door": f"{lock}-door", "public_key": public_key})

    async def token() -> httpx.Response:
        assertion = key.sign_assertion(organization, lock, now_ms(), now_ms() + 30_000)
        return await http.post(f"/v1/devices/{lock}/token", json={"organization": organization, "assertion": assertion})

    issued = (await token()).json()["token"]
    line, said = await connected(service, issued)
    async with line:
        assert said["type"] == "authenticated", said
        if body == {"door": "other"}:
            body = {"door": other["id"]}
        await owner(method, f"/v1/devices/{lock}", 200, body)
        await asyncio.wait_for(line.wait_closed(), CLOSED_SECONDS_MAX)
        assert (line.close_code, line.close_reason) == (4004, "access_revoked")
    with pytest.raises(ConnectionClosed) as refused:
        await connected(service, issued)
    assert refused.value.rcvd is not None and refused.value.rcvd.code == 4004
    assert (await token()).status_code == (200 if "door" in way else 401)  # it may be connected wherever it hangs


async def stays_out(service: Service, http: httpx.AsyncClient, watcher: Watcher) -> None:
    """The token of before opens no new connection, and there is no new one that names the organization's events."""
    with pytest.raises(ConnectionClosed) as refused:
        await connected(service, watcher.gateway_token)
    assert refused.value.rcvd is not None and refused.value.rcvd.code in (4002, 4004), refused.value
    issued = await http.post("/v1/me/realtime-token", headers={"Authorization": f"Bearer {watcher.session['access_token']}"})
    assert issued.status_code in (401, 403) or f"organizations/{service.demo.id}/events" not in issued.json()["topics"], issued.text
