"""The unlock through every process: each answer that a person can get, and what the bolt, the journal and the feed say to it."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from py_service._core_rs import DeviceKey
from py_service.demo.round import outside_schedule
from py_service.simulators.lock import LockIdentity
from py_service.stores.mongo import Document
from tests.e2e.conformance import conformance_of
from tests.e2e.evidence import faults_in_the_books, projected, read_journal, read_projection, unauthorized_moves
from tests.e2e.mute_lock import mute_lock
from tests.e2e.running import Service, metric, random_key, running_service, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOOR = "berlin-main-entrance"
PHASES = ["authenticated", "authorized", "committed", "commanded", "unlocked"]
ABSENT = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(tmp_path_factory.mktemp("unlock"), strangers=4, absent=ABSENT) as running:
        running.hook = (await conformance_of(running)).hook
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def phone(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as client:
        yield client


def moves_of(service: Service, command: str) -> list[str]:
    return [move.lock for move in service.moves() if move.command == command]


def milliseconds_between(body: dict[str, str], first: str, second: str) -> float:
    return (datetime.fromisoformat(body[second]) - datetime.fromisoformat(body[first])).total_seconds() * 1_000


async def unlock(phone: httpx.AsyncClient, headers: dict[str, str], door: str = DOOR, **more: str) -> httpx.Response:
    return await phone.post(f"/v1/doors/{door}/unlock", headers=headers | {name.replace("_", "-"): value for name, value in more.items()})


async def change(service: Service, phone: httpx.AsyncClient, path: str) -> int:
    """Made by the owner; the new revision."""
    answer = await phone.post(path, headers=service.owner())
    assert answer.status_code == 200, answer.text
    return int(answer.json()["revision"])


def role_holder(service: Service, role: str) -> str:
    """A person of the demonstration who holds this role."""
    for person in service.demo.documents["persons"]:
        roles: list[dict[str, object]] = person["roles"]  # type: ignore[assignment]
        if any(held["role"] == role for held in roles):
            return str(person["id"])
    raise AssertionError(role)


async def test_granted_and_waited_for(service: Service, phone: httpx.AsyncClient) -> None:
    answer = await unlock(phone, service.owner(), Prefer="wait=3")
    body = answer.json()
    assert (answer.status_code, body["state"], body["reason"]) == (200, "unlocked", None), body
    assert [phase["phase"] for phase in body["phases"]] == PHASES
    assert all(phase["ok"] and phase["reason"] is None for phase in body["phases"])
    times = [phase["milliseconds"] for phase in body["phases"]]
    assert times == sorted(times) and times[0] > 0 and times[-1] < 3_000
    assert milliseconds_between(body, "decided_at", "expires_at") == 3_000
    assert moves_of(service, body["id"]) == [f"lock-{DOOR}"]
    await projected(service)
    assert (await read_journal(service)).kinds_of(body["id"]) == ["authorized", "unlocked"]


async def test_commands_that_reach_a_lock_are_counted(service: Service) -> None:
    async with service.client(connections=1) as one:  # one connection, so one api worker
        before = await metric(one, "nexkey_commands_received_total")
        assert (await unlock(one, service.owner(), Prefer="wait=3")).json()["state"] == "unlocked"
        assert await metric(one, "nexkey_commands_received_total") == before + 1


async def test_without_wait_the_answer_comes_when_the_command_is_out(service: Service, phone: httpx.AsyncClient) -> None:
    answer = await unlock(phone, service.owner())
    body = answer.json()
    assert (answer.status_code, body["state"]) == (202, "commanded"), body
    assert [phase["phase"] for phase in body["phases"]] == PHASES[:-1]
    assert milliseconds_between(body, "decided_at", "expires_at") == 5_000
    await until(lambda: moves_of(service, body["id"]))
    await read_as(service, phone, body["id"], "unlocked", None)
    assert moves_of(service, body["id"]) == [f"lock-{DOOR}"]


async def read_as(service: Service, phone: httpx.AsyncClient, attempt: str, state: str, reason: str | None) -> None:
    """The owner reads this of the attempt, as soon as its outcome is projected."""

    async def known() -> bool:
        read = (await phone.get(f"/v1/attempts/{attempt}", headers=service.owner())).json()
        return bool((read["state"], read["reason"]) == (state, reason))

    await until(known)


async def refused(service: Service, phone: httpx.AsyncClient, person: str, door: str, reason: str) -> None:
    """Refused for this reason, in the answer, in the journal, to whoever reads the attempt; and the bolt stays."""
    answer = await unlock(phone, service.headers(person), door, Prefer="wait=1")
    body = answer.json()
    assert (answer.status_code, body["code"], body["state"]) == (403, reason, "authorized.failed"), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["phases"][1] | {"milliseconds": 0} == {"phase": "authorized", "ok": False, "reason": reason, "milliseconds": 0}
    event = (await read_journal(service)).events[body["id"]]
    assert (event["kind"], event["reason"], event["door"], event["person"]) == ("authorized.failed", reason, door, person)
    read = await phone.get(f"/v1/attempts/{body['id']}", headers=service.owner())
    assert (read.status_code, read.json()["state"], read.json()["reason"]) == (200, "authorized.failed", reason)
    assert not moves_of(service, body["id"])


async def test_refused_without_a_grant_and_outside_the_schedule(service: Service, phone: httpx.AsyncClient) -> None:
    await refused(service, phone, "stranger-0", DOOR, "no_grant")
    part, door = outside_schedule(datetime.now(ZoneInfo("Europe/Berlin")))
    await refused(service, phone, service.demo.cast[part].id, door, "outside_schedule")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (f"doors/{DOOR}", "door_locked_down"),
        ("areas/berlin-lobby", "area_locked_down"),
        ("sites/berlin", "site_locked_down"),
    ],
)
async def test_a_lockdown_holds_until_its_release(service: Service, phone: httpx.AsyncClient, place: str, reason: str) -> None:
    owner = service.demo.cast["owner"].id
    first = await change(service, phone, f"/v1/{place}/lockdown")
    await refused(service, phone, owner, DOOR, reason)
    assert await change(service, phone, f"/v1/{place}/release") == first + 1
    answer = await unlock(phone, service.owner(), Prefer="wait=3")
    assert answer.json()["state"] == "unlocked", answer.text


async def test_a_suspended_person_is_out_and_needs_a_new_token_afterwards(service: Service, phone: httpx.AsyncClient) -> None:
    facility = service.demo.cast["facility"].id
    before = service.headers(facility)
    assert (await unlock(phone, before, Prefer="wait=3")).json()["state"] == "unlocked"
    await change(service, phone, f"/v1/persons/{facility}/suspend")
    await refused(service, phone, facility, DOOR, "person_suspended")
    assert (await unlock(phone, before)).json()["code"] == "person_suspended"
    for path in ("/v1/me", "/v1/me/doors"):
        read = await phone.get(path, headers=before)
        assert (read.status_code, read.json()["code"]) == (403, "person_suspended")
    await change(service, phone, f"/v1/persons/{facility}/resume")
    for answer in (await unlock(phone, before), await phone.get("/v1/me", headers=before)):
        assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked"), answer.text
    assert (await unlock(phone, service.headers(facility), Prefer="wait=3")).json()["state"] == "unlocked"


async def test_a_token_of_the_very_millisecond_of_the_cut_goes_too(service: Service, phone: httpx.AsyncClient) -> None:
    cleaner = service.demo.cast["cleaner"].id
    for verb in ("suspend", "resume"):
        await change(service, phone, f"/v1/persons/{cleaner}/{verb}")
    journal = await read_journal(service)
    [cut_ms] = [
        event["at"] for event in journal.events.values() if event["kind"] == "management.person_suspended" and event["subject"] == cleaner
    ]
    codes = {}
    for issued_at_ms in (cut_ms - 1, cut_ms, cut_ms + 1):
        token = service.token(cleaner, issued_at_ms=issued_at_ms)
        codes[issued_at_ms - cut_ms] = (await phone.get("/v1/me", headers={"Authorization": f"Bearer {token}"})).status_code
    assert codes == {-1: 401, 0: 401, 1: 200}


async def test_a_door_whose_lock_is_away_is_unreachable_at_once(service: Service, phone: httpx.AsyncClient) -> None:
    door = service.demo.locks[-1].door
    answer = await unlock(phone, service.owner(), door, Prefer="wait=2")
    body = answer.json()
    assert (answer.status_code, body["state"], body["reason"]) == (200, "unlocked.failed", "door_unreachable"), body
    assert body["phases"][-1]["phase"] == "commanded" and not body["phases"][-1]["ok"]
    assert answer.elapsed.total_seconds() < 2
    await projected(service)
    assert (await read_journal(service)).kinds_of(body["id"]) == ["authorized", "unlocked.failed"]
    read = await phone.get(f"/v1/attempts/{body['id']}", headers=service.owner())
    assert (read.json()["state"], read.json()["reason"]) == ("unlocked.failed", "door_unreachable")


async def test_parallel_repeats_of_one_key_are_one_attempt_and_one_move(service: Service) -> None:
    key = random_key()
    headers = service.owner() | {"Idempotency-Key": key, "Prefer": "wait=3"}
    async with service.clients_of_each_worker(each=6) as workers:
        clients = [client for own in workers.values() for client in own]
        answers = await asyncio.gather(*(client.post(f"/v1/doors/{DOOR}/unlock", headers=headers) for client in clients))
        again = [await own[0].post(f"/v1/doors/{DOOR}/unlock", headers=headers) for own in workers.values()]
    assert len(workers) == 2 and len(clients) >= 12
    counted = Counter(answer.status_code for answer in answers)
    assert set(counted) <= {200, 202, 409} and counted[200] >= 1, counted
    assert all(answer.json()["code"] == "idempotency_key_in_flight" for answer in answers if answer.status_code == 409)
    decided = {answer.json()["id"] for answer in (*answers, *again) if answer.status_code != 409}
    assert len(decided) == 1
    for answer in again:  # by either worker, and each waits for what the lock said
        assert (answer.status_code, answer.json()["state"]) == (200, "unlocked"), answer.text
        assert answer.headers["idempotent-replayed"] == "true"
    events = [event for event in (await read_journal(service)).events.values() if event.get("key") == key]
    assert len(events) == 1
    assert moves_of(service, decided.pop()) == [f"lock-{DOOR}"]


async def test_a_repeat_waits_for_what_the_lock_said(service: Service) -> None:
    """The lock has answered, and the outcome isn't projected yet: the repeat waits for it, whichever worker takes it."""
    headers = service.owner() | {"Idempotency-Key": random_key(), "Prefer": "wait=3"}
    worker = service.supervisor.pid("worker")
    async with service.clients_of_each_worker() as workers:
        clients = [own[0] for own in workers.values()]
        os.kill(worker, signal.SIGSTOP)
        try:
            first = await clients[0].post(f"/v1/doors/{DOOR}/unlock", headers=headers)
            asked = [asyncio.create_task(client.post(f"/v1/doors/{DOOR}/unlock", headers=headers)) for client in clients]
            await asyncio.sleep(0.5)
        finally:
            os.kill(worker, signal.SIGCONT)
        repeats = await asyncio.gather(*asked)
    assert first.json()["state"] == "unlocked"
    for repeat in repeats:
        assert (repeat.status_code, repeat.json()["state"], repeat.json()["id"]) == (200, "unlocked", first.json()["id"]), repeat.text


async def test_a_refusal_is_replayed_as_a_refusal_and_a_key_belongs_to_its_person(service: Service, phone: httpx.AsyncClient) -> None:
    key = random_key()
    first = await unlock(phone, service.headers("stranger-0"), Idempotency_Key=key)
    again = await unlock(phone, service.headers("stranger-0"), Idempotency_Key=key)
    assert [answer.status_code for answer in (first, again)] == [403, 403]
    assert first.json()["id"] == again.json()["id"]
    other = await unlock(phone, service.headers("stranger-1"), Idempotency_Key=key)
    assert other.status_code == 403 and other.json()["id"] != first.json()["id"]


async def test_a_key_that_was_used_for_another_door_is_refused(service: Service, phone: httpx.AsyncClient) -> None:
    key = random_key()
    assert (await unlock(phone, service.owner(), Idempotency_Key=key)).status_code == 202
    count = len(service.moves())
    other = await unlock(phone, service.owner(), "new-york-main-entrance", Idempotency_Key=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert not [move for move in service.moves()[count:] if move.lock == "lock-new-york-main-entrance"]


async def test_a_repeat_after_access_was_taken_tells_the_first_answer_and_commands_nothing(service: Service) -> None:
    """The answer is older than the take, and says so; whoever asks anew is refused."""
    headers = service.headers("stranger-0") | {"Idempotency-Key": random_key(), "Prefer": "wait=3"}
    async with service.clients_of_each_worker() as workers:
        clients = [own[0] for own in workers.values()]
        given = await clients[0].post("/v1/grants", json={"person": "stranger-0", "door": DOOR}, headers=service.owner())
        first = await clients[0].post(f"/v1/doors/{DOOR}/unlock", headers=headers)
        assert (first.status_code, first.json()["state"]) == (200, "unlocked"), first.text
        assert (await clients[0].delete(f"/v1/grants/{given.json()['id']}", headers=service.owner())).status_code == 200
        count = len(service.moves())
        for client in clients:
            again = await client.post(f"/v1/doors/{DOOR}/unlock", headers=headers)
            assert (again.status_code, again.json()["id"]) == (200, first.json()["id"]), again.text
            assert again.headers["idempotent-replayed"] == "true"
            anew = await client.post(f"/v1/doors/{DOOR}/unlock", headers=service.headers("stranger-0"))
            assert (anew.status_code, anew.json()["code"]) == (403, "no_grant")
    assert len(service.moves()) == count


async def test_a_key_that_was_used_with_another_pin_is_refused(service: Service) -> None:
    """By whichever process; what is kept to tell it says nothing about the PIN, and isn't in the events."""
    key, plain = random_key(), random_key()

    async def ask(client: httpx.AsyncClient, pin: str | None, with_key: str) -> tuple[int, str]:
        headers = service.owner() | {"Idempotency-Key": with_key}
        answer = await client.post(f"/v1/doors/{DOOR}/unlock", headers=headers, json=None if pin is None else {"pin": pin})
        return answer.status_code, str(answer.json().get("id") or answer.json()["code"])

    async with service.clients_of_each_worker() as workers:
        clients = [own[0] for own in workers.values()]
        status, first = await ask(clients[0], "47114711", key)
        assert status == 202
        assert (await ask(clients[0], None, plain))[0] == 202
        for client in clients:
            assert (await ask(client, "47114711", key))[1] == first
            for other in ("47114712", "4711", None):
                assert await ask(client, other, key) == (422, "idempotency_key_reused")
            assert await ask(client, "4711", plain) == (422, "idempotency_key_reused")
            # A stolen token, and a key that was read in the events, don't lead to the PIN.
            assert await ask(client, "0000", key) == (422, "idempotency_key_reused")
            assert await ask(client, "47114711", key) == (429, "rate_limited")
            assert (await ask(client, None, plain))[0] in (200, 202)
    journal = await read_journal(service)
    assert not [name for name, document in journal.documents.items() if "47114711" in str({**document, "hash": 0, "prev": 0})]
    assert "pin" not in str(journal.events[first])


async def test_an_attempt_is_read_by_its_person_and_by_who_may_read_events(service: Service, phone: httpx.AsyncClient) -> None:
    facility = service.demo.cast["facility"].id
    identifier = (await unlock(phone, service.headers(facility), Prefer="wait=3")).json()["id"]
    await projected(service)
    for person in (facility, service.demo.cast["owner"].id, role_holder(service, "auditor")):
        read = await phone.get(f"/v1/attempts/{identifier}", headers=service.headers(person))
        assert (read.status_code, read.json()["id"], read.json()["state"]) == (200, identifier, "unlocked"), person
    # The site manager's role holds in New York, and the door is in Berlin.
    strangers = [service.headers("stranger-0"), service.headers(role_holder(service, "site_manager"))]
    neighbour = service.headers(service.neighbour.cast["owner"].id, service.neighbour.id)
    for headers in (*strangers, neighbour):
        read = await phone.get(f"/v1/attempts/{identifier}", headers=headers)
        assert (read.status_code, read.json()["code"]) == (404, "attempt_unknown")
    last = identifier[:-3] + "255"
    assert (await phone.get(f"/v1/attempts/{last}", headers=service.owner())).status_code == 404


@pytest.mark.parametrize("place", [{"door": "new-york-main-entrance"}, {"area": "new-york-lobby"}, {"site": "new-york"}])
async def test_who_may_give_a_grant_may_read_and_take_it(service: Service, phone: httpx.AsyncClient, place: dict[str, str]) -> None:
    """A manager of one site, wherever in it the grant is; one of another site neither reads nor takes it."""
    manager, reception = service.headers(role_holder(service, "site_manager")), service.headers(role_holder(service, "reception"))
    body = {"person": "stranger-3", "valid_until": "2001-01-01T00:00:00Z"} | place
    given = await phone.post("/v1/grants", headers=manager, json=body)
    assert given.status_code == 201, given.text
    path = given.headers["location"]
    for ask in (phone.get, phone.delete):
        answer = await ask(path, headers=reception)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")
    for ask in (phone.get, phone.delete):
        answer = await ask(path, headers=manager)
        assert answer.status_code == 200, answer.text
    assert (await phone.get(path, headers=manager)).json()["ended_at"] is not None


async def test_the_feed_pages_through_everything_while_more_arrives(service: Service, phone: httpx.AsyncClient) -> None:
    await asyncio.gather(*(unlock(phone, service.headers(f"stranger-{n % 4}")) for n in range(30)))
    await projected(service)
    before: list[Document] = sorted(await read_projection(service), key=lambda event: -event["position"])
    expected = [event["id"] for event in before if event["org"] == service.demo.id]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        await unlock(phone, service.headers("stranger-2"))  # arrives between two pages
        parameters = {"limit": "7"} | ({} if cursor is None else {"cursor": cursor})
        page = await phone.get("/v1/events", params=parameters, headers=service.owner())
        assert page.status_code == 200, page.text
        seen += [item["id"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        assert len(page.json()["items"]) == 7 or cursor is None
        if cursor is None:
            break
    assert len(expected) > 21
    assert len(seen) == len(set(seen))
    # What arrived after the count stands before it, and nothing is missing behind.
    assert seen[seen.index(expected[0]) :] == expected
    await projected(service)
    whole = await phone.get("/v1/events", params={"limit": "200"}, headers=service.owner())
    # A lock's numbers are above 2^31: they come back as numbers.
    assert any(item.get("detail", {}).get("number", 0) > 2**40 for item in whole.json()["items"])
    assert [item["id"] for item in whole.json()["items"]][-len(expected) :] == expected
    neighbours = await phone.get("/v1/events", headers=service.headers(service.neighbour.cast["owner"].id, service.neighbour.id))
    assert neighbours.json() == {"items": [], "next_cursor": None}


async def test_a_command_that_a_lock_swallows_is_unconfirmed_and_closed_by_the_worker(service: Service, phone: httpx.AsyncClient) -> None:
    identity = service.demo.locks[-2]
    async with mute_lock(service, identity) as heard:
        answer = await unlock(phone, service.owner(), identity.door, Prefer="wait=1")
        body = answer.json()
        assert (answer.status_code, body["state"]) == (202, "unconfirmed"), body
        assert [frame.command for frame in heard] == [body["id"]]

        async def closed() -> bool:
            found = [event for event in await read_projection(service) if event.get("attempt") == body["id"]]
            return ("unlocked.failed", "unconfirmed") in [(event["kind"], event.get("reason")) for event in found]

        await until(closed, 10)
    read = await phone.get(f"/v1/attempts/{body['id']}", headers=service.owner())
    assert (read.json()["state"], read.json()["reason"]) == ("unlocked.failed", "unconfirmed")
    assert not moves_of(service, body["id"])
    closing = (await read_journal(service)).of_attempt(body["id"])[-1]
    assert closing["at"] >= datetime.fromisoformat(body["expires_at"]).timestamp() * 1_000 + 2_000
    assert await service.database["open_attempts"].find_one({"_id": body["id"]}) is None


async def test_until_it_expires_a_command_is_commanded_whichever_worker_is_asked(service: Service) -> None:
    identity = service.demo.locks[-2]
    async with mute_lock(service, identity), service.clients_of_each_worker() as workers:
        clients = [own[0] for own in workers.values()]
        body = (await unlock(clients[0], service.owner(), identity.door)).json()
        assert body["state"] == "commanded"
        reads = [(await client.get(f"/v1/attempts/{body['id']}", headers=service.owner())).json() for client in clients]
        assert len(reads) == 2
        assert [(read["state"], read["expires_at"]) for read in reads] == [("commanded", body["expires_at"])] * 2
        expires_at = datetime.fromisoformat(body["expires_at"])

        async def not_known_any_more() -> bool:
            read = (await clients[1].get(f"/v1/attempts/{body['id']}", headers=service.owner())).json()
            assert read["state"] == "commanded" or datetime.now(UTC) >= expires_at
            return bool(read["state"] == "unconfirmed")

        await until(not_known_any_more)


async def test_a_command_that_comes_too_late_opens_nothing(service: Service, phone: httpx.AsyncClient) -> None:
    """The gateway stands still until the command has expired; then it hands it over, and the lock refuses."""
    gateway = service.supervisor.pid("gateway")
    os.kill(gateway, signal.SIGSTOP)
    try:
        answer = await unlock(phone, service.owner(), Prefer="wait=1")
        await asyncio.sleep(0.3)
    finally:
        os.kill(gateway, signal.SIGCONT)
    body = answer.json()
    assert (answer.status_code, body["state"]) == (202, "unconfirmed"), body
    await read_as(service, phone, body["id"], "unlocked.failed", "command_expired")
    assert not moves_of(service, body["id"])


async def left_for_the_worker(service: Service, lock: LockIdentity, *reports: tuple[int, str, str]) -> list[Document]:
    """Reports (number, result, command) that the lock's own key signed, past the gateway; the lock's new events once all are taken."""
    known = (await read_journal(service)).events.keys()
    now_ms = time.time_ns() // 1_000_000
    redis = Redis.from_url(service.stack.settings.redis_url or "")
    try:
        for number, result, command in reports:
            signed = DeviceKey.from_seed(lock.seed).sign_report(lock.lock, number, "outcome", command, result, None, now_ms)
            text = base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
            await redis.xadd("nk:reports", {"org": service.demo.id, "lock": lock.lock, "report": text})

        async def all_taken() -> bool:
            return int(await redis.xlen("nk:reports")) == 0

        await until(all_taken)
    finally:
        await redis.aclose()
    events = (await read_journal(service)).events
    return [event for name, event in events.items() if name not in known and event.get("lock") == lock.lock]


async def test_a_grant_explains_one_move_and_a_lock_that_says_more_is_an_alarm(service: Service, phone: httpx.AsyncClient) -> None:
    lock = service.demo.locks[0]
    command = (await unlock(phone, service.owner(), lock.door, Prefer="wait=3")).json()["id"]
    await projected(service)
    said = [(1, "done", command), (1, "done", command), (2, "refused", command), (3, "refused", "garbage"), (4, "done", "garbage")]
    events = await left_for_the_worker(service, lock, *said)
    assert sorted((event["detail"]["number"], event["kind"], event["detail"]["command"]) for event in events) == [
        (1, "report.unmatched", command), (2, "command.refused", command), (3, "command.refused", "garbage"),
        (4, "report.unmatched", "garbage"),
    ]  # fmt: skip
    ended = [event for event in (await read_journal(service)).of_attempt(command) if event["kind"] == "unlocked"]
    assert len(ended) == 1
    # The lock says its own report again: still only a duplicate.
    assert await left_for_the_worker(service, lock, (ended[0]["detail"]["number"], "done", command)) == []


async def test_a_switched_off_lock_ends_no_attempt(service: Service, phone: httpx.AsyncClient) -> None:
    lock = service.demo.locks[-1]
    for active in (False, True):
        answer = await phone.patch(f"/v1/devices/{lock.lock}", headers=service.owner(), json={"active": active})
        assert answer.status_code == 200, answer.text
        [event] = await left_for_the_worker(service, lock, (10 + active, "done", "garbage"))
        assert (event["kind"], event["detail"].get("lock_off", False)) == ("report.unmatched", not active)


async def test_after_all_this_the_books_hold(service: Service) -> None:
    async def hold() -> bool:  # the worker still closes attempts of the tests before, and projects what it wrote of that
        return await faults_in_the_books(service) == []

    await projected(service)
    await until(hold, 10)
    assert await unauthorized_moves(service) == []
