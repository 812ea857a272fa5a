"""Devices prove themselves with their own key; whatever is wrong looks the same from outside."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from functools import partial

import pytest

from py_service._core_rs import DeviceKey, LockVerifier, TokenError
from py_service.devices.assertion import DeviceProof
from py_service.devices.configuration import Configurations
from py_service.devices.handlers import DeviceHandlers
from py_service.devices.hold import HoldLeases
from py_service.devices.time import LockTime
from py_service.devices.token import DeviceTokens
from py_service.errors import Problem, stores_unavailable
from py_service.exchange import Request, Response
from py_service.permissions.standing import held_door
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
    known: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def begin(self, organization: str, lock: str) -> tuple[str, int] | None:
        if not self.begins:
            return None
        hold = f"log:{len(self.known):012d}:000"
        self.known[hold] = (organization, lock)
        return hold, self.clock() + 3  # the T of the group is later than the request

    async def is_of(self, organization: str, lock: str, hold: str) -> bool:
        return self.known.get(hold) == (organization, lock)


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
            HoldLeases(self.holds, partial(held_door, self.permissions.index), self.ring, command_key, self.clock),
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
