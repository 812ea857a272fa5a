"""Sessions over HTTP, two api workers: listed, ended, and once ended taken by no process, however it learns of the permissions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from py_service.demo.organization import Role
from py_service.identity.end_sessions import FORGOTTEN_AFTER_MS
from py_service.identity.sessions import COLLECTION, Session
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected
from tests.e2e.manager import DOOR
from tests.e2e.running import TOKEN_MS, Service, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVOKED = (401, "token_revoked")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("sessions"), doors=2, locks=False) as running:
        running.hook = (await conformance_of(running)).hook
        yield running
        await projected(running)
        assert await faults_in_the_books(running) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


class Phone:
    """A sign-in that goes on: its tokens and its session."""

    def __init__(self, http: httpx.AsyncClient, answer: httpx.Response, name: str) -> None:
        assert answer.status_code == 200, answer.text
        self.http, self.name = http, name
        self.take(answer.json())

    def take(self, body: dict[str, Any]) -> None:
        self.refresh_token, self.headers = str(body["refresh_token"]), {"Authorization": f"Bearer {body['access_token']}"}

    async def ask(self, method: str, path: str, *, by: httpx.AsyncClient | None = None) -> tuple[int, Any]:
        """Status, and the body or the code."""
        answer = await (by or self.http).request(method, path, headers=self.headers)
        return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else answer.json()

    async def refreshed(self) -> tuple[int, str]:
        answer = await self.http.post("/v1/refresh", json={"refresh_token": self.refresh_token}, headers={"User-Agent": f"{self.name}/2"})
        if answer.status_code == 200:
            self.take(answer.json())
        return answer.status_code, answer.json().get("code", "")

    async def session(self) -> str:
        _, body = await self.ask("GET", "/v1/me/sessions")
        [current] = [item["id"] for item in body["items"] if item["current"]]
        return str(current)


async def signed_in(service: Service, http: httpx.AsyncClient, name: str, part: Role = "owner") -> Phone:
    account = service.made.account(part)
    body = {"email": account.email, "password": account.password}
    return Phone(http, await http.post("/v1/sign-in", json=body, headers={"User-Agent": name}), name)


async def test_sessions_are_listed_and_each_ends_alone(service: Service, http: httpx.AsyncClient) -> None:
    phone, laptop = await signed_in(service, http, "Phone\t1"), await signed_in(service, http, "Laptop")
    _, before = await laptop.ask("GET", "/v1/me/sessions")
    assert [(item["client"], item["current"]) for item in before["items"]] == [("Laptop", True), ("Phone 1", False)]
    assert await phone.refreshed() == (200, "")
    _, after = await laptop.ask("GET", "/v1/me/sessions")
    assert [(item["client"], item["current"]) for item in after["items"]] == [("Phone 1/2", False), ("Laptop", True)]
    seen, begun = after["items"][0], before["items"][1]
    assert (seen["id"], seen["created_at"]) == (begun["id"], begun["created_at"])
    assert datetime.fromisoformat(seen["last_seen"]) > datetime.fromisoformat(begun["last_seen"])  # a text without a fraction sorts last

    status, ended = await laptop.ask("DELETE", f"/v1/me/sessions/{seen['id']}")
    assert (status, ended["id"]) == (200, seen["id"])
    assert await phone.ask("GET", "/v1/me") == REVOKED
    assert await phone.ask("POST", f"/v1/doors/{DOOR}/unlock") == REVOKED
    assert await phone.refreshed() == (401, "refresh_token_unknown")
    assert (await laptop.ask("GET", "/v1/me"))[0] == 200
    again = await laptop.ask("DELETE", f"/v1/me/sessions/{seen['id']}")
    assert again[0] == 200, "a repeat whose answer was lost"
    assert await laptop.session() not in (seen["id"], "")
    assert (await laptop.ask("DELETE", f"/v1/me/sessions/{await laptop.session()}"))[0] == 200
    assert await laptop.ask("GET", "/v1/me/sessions") == REVOKED


async def test_another_persons_session_is_unknown(service: Service, http: httpx.AsyncClient) -> None:
    owner, employee = await signed_in(service, http, "Owner"), await signed_in(service, http, "Employee", "employee")
    theirs = await employee.session()
    assert await owner.ask("DELETE", f"/v1/me/sessions/{theirs}") == (404, "session_unknown")
    assert (await employee.ask("GET", "/v1/me"))[0] == 200
    assert await employee.ask("GET", f"/v1/persons/{service.demo.cast['owner'].id}/sessions") == (403, "role_missing")
    assert await employee.ask("DELETE", f"/v1/persons/{service.demo.cast['owner'].id}/sessions") == (403, "role_missing")
    path = f"/v1/persons/{service.demo.cast['employee'].id}/sessions"
    _, listed = await owner.ask("GET", path)
    assert [(item["id"], item["current"]) for item in listed["items"]] == [(theirs, False)]
    status, ended = await owner.ask("DELETE", path)
    assert (status, ended["ended"]) == (200, 1)
    assert await employee.ask("GET", "/v1/me") == REVOKED
    assert (await owner.ask("DELETE", path))[1]["ended"] == 0
    await owner.ask("POST", "/v1/me/sessions/end-others")


async def test_only_owners_end_sessions_of_owners(service: Service, http: httpx.AsyncClient) -> None:
    owner = await signed_in(service, http, "Owner")
    admin = service.demo.cast["employee"].id
    path = f"/v1/persons/{service.demo.cast['owner'].id}/sessions"
    given = await http.put(f"/v1/persons/{admin}/roles", json={"roles": [{"role": "admin", "sites": None}]}, headers=owner.headers)
    assert given.status_code == 200
    answer = await http.delete(path, headers=service.headers(admin))
    assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")
    assert (await owner.ask("GET", "/v1/me"))[0] == 200


async def test_the_others_end_and_the_one_that_asks_stays(service: Service, http: httpx.AsyncClient) -> None:
    phones = [await signed_in(service, http, f"Phone {number}", "night_guard") for number in range(3)]
    status, ended = await phones[0].ask("POST", "/v1/me/sessions/end-others")
    assert (status, ended["ended"]) == (200, 2)
    assert [(await phone.ask("GET", "/v1/me"))[0] for phone in phones] == [200, 401, 401]
    assert [await phone.refreshed() for phone in phones] == [(200, ""), *2 * [(401, "refresh_token_unknown")]]
    out = await http.post("/v1/sign-out", json={"refresh_token": phones[0].refresh_token})
    assert out.status_code == 204
    assert await phones[0].ask("GET", "/v1/me") == REVOKED, "signed out is out, also for the access token"


async def test_a_refresh_token_shown_twice_ends_its_session_and_connections(service: Service, http: httpx.AsyncClient) -> None:
    phone, other = await signed_in(service, http, "Phone"), await signed_in(service, http, "Other")
    copied = phone.refresh_token
    assert await phone.refreshed() == (200, "")
    _, issued = await phone.ask("POST", "/v1/me/realtime-token")
    async with connect(service.stack.gateway_url, subprotocols=[Subprotocol("nexkey.v1.json")], proxy=None) as socket:
        await socket.send(json.dumps({"type": "authenticate", "token": issued["token"]}))
        assert json.loads(await socket.recv())["type"] == "authenticated"
        thief = await http.post("/v1/refresh", json={"refresh_token": copied})
        returned = time.monotonic()
        assert (thief.status_code, thief.json()["code"]) == (401, "refresh_token_reused")
        assert await phone.ask("GET", "/v1/me") == REVOKED
        assert await phone.refreshed() == (401, "refresh_token_unknown")
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert time.monotonic() - returned < 1.0
        assert (socket.close_code, socket.close_reason) == (4004, "access_revoked")
    assert (await other.ask("GET", "/v1/me"))[0] == 200
    assert (await other.ask("POST", "/v1/me/sessions/end-others"))[0] == 200


async def begun(service: Service, name: str) -> Phone:
    """A session of the owner as a sign-in leaves it, without the cost of argon2."""
    now_ms = time.time_ns() // 1_000_000
    organization, person = service.demo.id, service.demo.cast["owner"].id
    session = Session(name, organization, person, now_ms, now_ms, now_ms + TOKEN_MS, "a test")
    await service.database[COLLECTION].insert_one(session.document())
    token = service.ring.sign_access_token("api", organization, person, "person", name, [], now_ms, now_ms + TOKEN_MS)
    phone = Phone.__new__(Phone)
    phone.name, phone.headers = name, {"Authorization": f"Bearer {token}"}
    return phone


async def test_whoever_asks_after_the_end_has_returned_is_refused_by_every_worker(service: Service) -> None:
    """50 sessions, each ended through the one worker while requests with its token go on at both."""
    late: list[str] = []
    served = 0
    async with service.clients_of_each_worker(each=2) as clients:
        first, third, *_ = next(iter(clients.values()))
        second, fourth, *_ = list(clients.values())[1]
        manager = await begun(service, "manager")
        for number in range(50):
            phone, ended_at = await begun(service, f"race-{number}"), asyncio.Event()

            async def asks(client: httpx.AsyncClient, method: str, path: str, phone: Phone = phone, ended: asyncio.Event = ended_at) -> int:
                count = 0
                for turn in range(50):
                    after = ended.is_set()
                    status, told = await phone.ask(method, path, by=client)
                    if status == 401:
                        assert told == "token_revoked"
                        if after:
                            return count
                    elif after:
                        late.append(f"{phone.name}: {method} {path} got {status} in turn {turn}")
                    count += status < 400
                return count

            asking = [asyncio.create_task(asks(third, "GET", "/v1/me")), asyncio.create_task(asks(second, "GET", "/v1/sites"))]
            asking.append(asyncio.create_task(asks(fourth, "POST", f"/v1/doors/{DOOR}/unlock")))
            answer = await first.delete(f"/v1/me/sessions/{phone.name}", headers=manager.headers)
            assert answer.status_code == 200, answer.text
            ended_at.set()
            served += sum(await asyncio.gather(*asking))
    assert late == []
    assert served > 0, "nobody was ever let in, so nothing was tried"


async def test_a_process_that_starts_later_knows_the_end(service: Service, http: httpx.AsyncClient) -> None:
    manager, phone = await begun(service, "manager-2"), await begun(service, "before-the-start")
    assert (await http.delete("/v1/me/sessions/before-the-start", headers=manager.headers)).status_code == 200
    stored = await service.database["ended_sessions"].find_one({"_id": f"{service.demo.id}:before-the-start"})
    assert stored is not None and stored["forget_at"] == stored["ended_at"] + FORGOTTEN_AFTER_MS
    pids = set(service.worker_pids())
    os.kill(min(pids), signal.SIGKILL)

    async def another_serves() -> bool:
        with contextlib.suppress(httpx.TransportError):  # of the one that was killed
            async with service.clients_of_each_worker() as clients:
                return set(clients) - pids != set()
        return False

    await until(another_serves, 30)
    async with service.clients_of_each_worker() as clients:
        for client, *_ in clients.values():
            assert await phone.ask("GET", "/v1/me", by=client) == REVOKED
            assert (await manager.ask("GET", "/v1/me", by=client))[0] == 200


async def test_a_session_of_before_a_suspension_is_over_and_not_listed(service: Service, http: httpx.AsyncClient) -> None:
    owner, before = await signed_in(service, http, "Desk"), await signed_in(service, http, "Before", "employee")
    person = service.demo.cast["employee"].id
    gone = await before.session()
    for what in ("suspend", "resume"):
        assert (await owner.ask("POST", f"/v1/persons/{person}/{what}"))[0] == 200
        _, listed = await owner.ask("GET", f"/v1/persons/{person}/sessions")
        assert gone not in {item["id"] for item in listed["items"]}, what
    assert await before.refreshed() == REVOKED
    after = await signed_in(service, http, "After", "employee")
    _, listed = await after.ask("GET", "/v1/me/sessions")
    assert [item["id"] for item in listed["items"]] == [await after.session()]
