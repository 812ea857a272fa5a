"""Devices prove themselves with their own key; whatever is wrong looks the same from outside."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pytest

from py_service._core_rs import DeviceKey, DoorCommand, LockVerifier, TokenError
from py_service.devices.assertion import DeviceProof
from py_service.devices.configuration import Configurations
from py_service.devices.handlers import DeviceHandlers
from py_service.devices.hold import HoldLeases
from py_service.devices.messages import HoldLease
from py_service.devices.time import LockTime
from py_service.devices.token import DeviceTokens
from py_service.errors import Problem, stores_unavailable
from py_service.exchange import Request, Response
from py_service.permissions.ask_hold import asked_to_hold
from py_service.permissions.image import Image
from py_service.permissions.standing import door_of_lock
from py_service.unlock.hold import Begun
from tests.unit.identity_support import NOW_MS, Clock, MadePermissions, images, make_ring

KEY = DeviceKey.from_seed(bytes([7]) * 32)
STRANGER = DeviceKey.from_seed(bytes([8]) * 32)


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def device(active: bool = True) -> dict[str, object]:
    return {"kind": "lock", "door": "front", "public_key": base64url(KEY.public_key), "active": active}


@dataclass
class MadeHolds:
    """The unlock room's part: which holds began, and whose they are."""

    clock: Clock
    begins: bool = True
    known: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    async def begin(self, organization: str, lock: str) -> Begun | None:
        if not self.begins:
            return None
        hold = f"log:{len(self.known):012d}:000"
        self.known[hold] = (organization, lock, "front")
        return Begun(hold, self.clock() + 3, "front")  # the T of the group is later than the request

    async def is_of(self, organization: str, lock: str, door: str, hold: str) -> bool:
        return self.known.get(hold) == (organization, lock, door)


@dataclass
class Room:
    clock: Clock = field(default_factory=Clock)
    permissions: MadePermissions = field(default_factory=lambda: MadePermissions(images(device__lock1=device())))

    def __post_init__(self) -> None:
        self.ring = make_ring()
        self.holds = MadeHolds(self.clock)

        async def command_key(organization: str) -> str:
            assert organization == "acme"
            return "acme.1"

        self.handlers = DeviceHandlers(
            DeviceProof(self.permissions, self.clock),
            DeviceTokens(self.ring, self.clock),
            LockTime(self.ring, command_key, self.clock),
            Configurations(self.ring, command_key),
            HoldLeases(self.holds, partial(door_of_lock, self.permissions.index), self.ring, command_key, self.clock),
        )

    async def post_token(self, organization: str, lock: str, assertion: str) -> Response:
        body = json.dumps({"organization": organization, "assertion": assertion}).encode()
        return await self.handlers.post_token(request(lock, body))


def request(lock: str, body: bytes = b"", query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Request:
    return Request("POST", "/", {"device": lock}, query or {}, headers or {}, body, "id", time.perf_counter_ns() - 2_000_000_000)


def assertion(key: DeviceKey = KEY, organization: str = "acme", lock: str = "lock1", at_ms: int = NOW_MS) -> str:
    return key.sign_assertion(organization, lock, at_ms, at_ms + 60_000)


async def test_token_for_the_gateway_and_for_nothing_else() -> None:
    room = Room()
    answer = json.loads((await room.post_token("acme", "lock1", assertion())).body)
    assert answer["expires_at"].startswith("2027-01-15T08:04:5")
    claims = room.ring.verify_access_token(answer["token"], "gateway", NOW_MS)
    assert (claims.organization, claims.subject, claims.kind, claims.topics) == ("acme", "lock1", "lock", [])
    assert 299_000 <= claims.expires_at_ms - claims.issued_at_ms <= 300_000  # a token ends with a whole second
    assert NOW_MS - 3_000 < claims.issued_at_ms <= NOW_MS - 2_000  # of the arrival
    assert b'"rev":1' in base64.urlsafe_b64decode(answer["token"].split(".")[1] + "==")
    with pytest.raises(TokenError):
        room.ring.verify_access_token(answer["token"], "api", NOW_MS)


@pytest.mark.parametrize(
    ("organization", "lock", "shown"),
    [
        ("acme", "lock1", assertion(STRANGER)),
        ("acme", "lock2", assertion(lock="lock2")),
        ("acme", "lock1", assertion(lock="lock2")),
        ("other", "lock1", assertion(organization="other")),
        ("acme", "lock1", assertion(organization="other")),
        ("acme", "lock1", assertion(at_ms=NOW_MS - 60_000)),
        ("acme", "lock1", assertion(at_ms=NOW_MS + 60_000)),
        ("acme", "lock1", "nonsense"),
        ("acme", "lock1", assertion()[:-4] + "AAAA"),
        ("ACME", "lock1", assertion()),
        ("acme:x", "lock1", assertion()),
        ("acme", "lock 1", assertion()),
        ("acme", "l" * 65, assertion()),
    ],
)
async def test_every_refusal_looks_the_same(organization: str, lock: str, shown: str) -> None:
    with pytest.raises(Problem) as caught:
        await Room().post_token(organization, lock, shown)
    problem = caught.value
    expected = (401, "assertion_refused", "The device's assertion was refused.", dict[str, object]())
    assert (problem.status, problem.code, problem.detail, problem.members) == expected


async def test_switched_off_device_by_current_permissions() -> None:
    room = Room()
    room.permissions.following = images(device__lock1=device(active=False))
    with pytest.raises(Problem) as caught:
        await room.post_token("acme", "lock1", assertion())
    assert caught.value.code == "assertion_refused"


async def test_a_suspended_organization_is_named_to_its_own_devices_only() -> None:
    room = Room()
    room.permissions.following = images(organization__acme={"active": False}, device__lock1=device())
    with pytest.raises(Problem) as caught:
        await room.post_token("acme", "lock1", assertion())
    assert (caught.value.status, caught.value.code) == (403, "organization_suspended")
    with pytest.raises(Problem) as caught:
        await room.post_token("acme", "lock1", assertion(STRANGER))
    assert caught.value.code == "assertion_refused"


async def test_access_token_of_a_person_is_no_assertion() -> None:
    room = Room()
    token = room.ring.sign_access_token("api", "acme", "lock1", "lock", "s", [], NOW_MS, NOW_MS + 1_000)
    with pytest.raises(Problem) as caught:
        await room.post_token("acme", "lock1", token)
    assert caught.value.code == "assertion_refused"


async def test_store_that_is_away_is_no_allow() -> None:
    room = Room()
    room.permissions.failure = stores_unavailable()
    with pytest.raises(Problem) as caught:
        await room.post_token("acme", "lock1", assertion())
    assert caught.value.code == "stores_unavailable"


async def test_lock_believes_its_configuration_and_its_time() -> None:
    room = Room()
    asked = request("lock1", query={"organization": "acme"}, headers={"x-nexkey-assertion": assertion()})
    configuration = json.loads((await room.handlers.get_configuration(asked)).body)
    public_key = room.ring.public_key("command", "acme", "acme.1")
    assert configuration == {
        "organization": "acme",
        "lock": "lock1",
        "door": "front",
        "key_id": "acme.1",
        "public_key": base64url(public_key),
    }

    lock = LockVerifier("acme", "lock1", configuration["key_id"], public_key, 16)
    nonce = bytes(range(16))
    lock.begin_time(nonce, 1_000)
    body = json.dumps({"organization": "acme", "assertion": assertion(), "nonce": base64url(nonce)}).encode()
    message = json.loads((await room.handlers.post_time(request("lock1", body))).body)["message"]
    lock.accept_time(base64.urlsafe_b64decode(message + "=" * (-len(message) % 4)), 1_000)
    assert lock.now_ms(1_000) == NOW_MS


@pytest.mark.parametrize("query", [{}, {"organization": "acme", "more": "1"}])
async def test_configuration_with_a_bad_query(query: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        await Room().handlers.get_configuration(request("lock1", query=query))
    assert (caught.value.status, caught.value.code) == (400, "query_invalid")


async def test_configuration_without_an_assertion() -> None:
    with pytest.raises(Problem) as caught:
        await Room().handlers.get_configuration(request("lock1", query={"organization": "acme"}))
    assert caught.value.code == "assertion_refused"


@pytest.mark.parametrize("nonce", ["A" * 20, "A" * 21, "A" * 44, "é" * 22, "+" * 22, "A" * 21 + "=", "A" * 25, None, 5])
async def test_bad_nonce(nonce: object) -> None:
    body = json.dumps({"organization": "acme", "assertion": assertion(), "nonce": nonce}).encode()
    with pytest.raises(Problem) as caught:
        await Room().handlers.post_time(request("lock1", body))
    assert (caught.value.status, caught.value.code) == (400, "field_invalid")


# --- a door that is held open ----------------------------------------------------------------


def door(mode: str = "unlocked", **changed: object) -> dict[str, object]:
    plain = {"site": "hq", "area": None, "name": "Front", "lock": "lock1", "mode": mode, "locked_down": False}
    return {**plain, "modes": [], "enters": None, "leaves": None, "two_persons_seconds": None, **changed}


def held_room(**changed: object) -> Room:
    return Room(permissions=MadePermissions(images(device__lock1=device(), door__front=door(**changed))))  # type: ignore[arg-type]


async def ask_hold(room: Room, hold: str | None = None, **shown: str) -> HoldLease:
    body = json.dumps({"organization": "acme", "assertion": shown.get("assertion") or assertion(), "hold": hold}).encode()
    return msgspec.json.decode((await room.handlers.post_hold(request("lock1", body))).body, type=HoldLease)


def lease_of(room: Room, lease: HoldLease) -> DoorCommand:
    """What a lock makes of it: one that was told the time a second before the service's clock."""
    verifier = LockVerifier("acme", "lock1", "acme.1", room.ring.public_key("command", "acme", "acme.1"), 8)
    verifier.begin_time(bytes(16), 0)
    verifier.accept_time(room.ring.sign_time("acme", "lock1", bytes(16), NOW_MS - 1_000), 0)
    message = lease.message or ""
    return verifier.take_lease(base64.urlsafe_b64decode(message + "=" * (-len(message) % 4)), 1_010)


async def test_a_hold_begins_and_its_leases_live_five_seconds() -> None:
    room = held_room()
    first = await ask_hold(room)
    assert first.hold is not None and room.holds.known == {first.hold: ("acme", "lock1", "front")}
    command = lease_of(room, first)
    expected = ("hold", first.hold, "front", NOW_MS + 3, NOW_MS + 5_003)  # from the T of the group that recorded it
    assert (command.action, command.id, command.door, command.issued_at_ms, command.expires_at_ms) == expected
    again = await ask_hold(room, first.hold)
    command = lease_of(room, again)
    assert (again.hold, command.id, command.issued_at_ms, command.expires_at_ms) == (first.hold, first.hold, NOW_MS, NOW_MS + 5_000)
    assert (first.ask_again_in_ms, again.ask_again_in_ms) == (2_000, 2_000) and len(room.holds.known) == 1


async def test_a_lease_counts_from_before_the_permissions_that_it_was_signed_by() -> None:
    """The store is asked for a second: whatever took the hold away meanwhile is seen, and what was signed ends before `effective_by`."""
    room = held_room()
    hold = (await ask_hold(room)).hold
    current = room.permissions.current

    async def slow(organization: str, /) -> int:
        room.clock.now_ms += 1_000
        return await current(organization)

    room.permissions.current = slow  # type: ignore[method-assign]
    assert lease_of(room, await ask_hold(room, hold)).issued_at_ms == NOW_MS


@pytest.mark.parametrize(
    ("changed", "again_in_ms"),
    [
        ({"mode": "locked"}, 300_000),
        ({"mode": "first_person_in"}, 300_000),
        ({"locked_down": True}, 5_000),
        ({"mode": "locked", "modes": [{"schedule": "unknown", "mode": "unlocked"}]}, 5_000),
        ({"lock": "lock2"}, 300_000),
    ],
)
async def test_no_lease_by_current_permissions(changed: dict[str, object], again_in_ms: int) -> None:
    room = held_room()
    hold = (await ask_hold(room)).hold
    room.permissions.following = images(device__lock1=device(), door__front=door(**changed))  # type: ignore[arg-type]
    for asked in (hold, None):
        assert await ask_hold(room, asked) == HoldLease(None, None, again_in_ms)


async def test_a_hold_that_ends_while_it_begins_is_none() -> None:
    room = held_room()
    room.holds.begins = False
    assert await ask_hold(room) == HoldLease(None, None, 5_000)


@pytest.mark.parametrize("hold", ["log:000000000009:000", "log:000000000008:000", "garbage", "x" * 96])
async def test_a_hold_of_nobody_or_of_another_lock_or_door_is_unknown(hold: str) -> None:
    room = held_room()
    room.holds.known |= {"log:000000000009:000": ("acme", "lock2", "front"), "log:000000000008:000": ("acme", "lock1", "back")}
    with pytest.raises(Problem) as caught:
        await ask_hold(room, hold)
    assert (caught.value.status, caught.value.code) == (404, "hold_unknown")


async def test_who_does_not_prove_themselves_gets_no_lease() -> None:
    room = held_room()
    with pytest.raises(Problem) as caught:
        await ask_hold(room, assertion=assertion(STRANGER))
    assert caught.value.code == "assertion_refused" and not room.holds.known


# --- which locks are told to ask -------------------------------------------------------------


def told(permissions: MadePermissions, *changed: Image) -> list[str]:
    return asked_to_hold(permissions.index, "acme", changed)


def test_whose_door_may_open_or_shut_is_told() -> None:
    many = images(device__lock1=device(), door__front=door("locked", lock="lock1"), door__back=door(lock="lock2"), device__lock2=device())
    permissions = MadePermissions(many)
    assert told(permissions, {"kind": "door", "id": "front", "document": door("locked")}) == ["lock1"]
    assert told(permissions, {"kind": "device", "id": "lock9", "document": None}) == ["lock9"]
    assert told(permissions, {"kind": "door", "id": "front", "document": None}) == []
    for kind in ("organization", "site", "area", "schedule", "calendar"):
        assert told(permissions, {"kind": kind, "id": "any", "document": None}) == ["lock2"], kind  # the one door with the mode `unlocked`
    for kind in ("person", "group", "grant", "session", "api_key"):
        assert told(permissions, {"kind": kind, "id": "any", "document": None}) == [], kind
