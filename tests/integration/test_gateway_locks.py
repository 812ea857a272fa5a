"""The gateway and its locks: commands down, words of the lock up, one connection per lock, and nobody speaks for another lock."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.client import PubSub
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_server import Frame, Gateway, KeyServer, Valkey, receive, say, wait_until

REPORT = "0oRDoQEn"


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    server = KeyServer()
    yield server
    server.stop()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server
    server.stop()


@pytest.fixture
def gateway(valkey: Valkey, keys: KeyServer, tmp_path: Path) -> Iterator[Gateway]:
    server = Gateway(valkey, keys, tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def process(valkey: Valkey) -> Iterator[PubSub]:
    """What the api process that waits hears."""
    listener: PubSub = valkey.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    listener.subscribe("nk:process:api-1")
    wait_until(lambda: dict(valkey.client.pubsub_numsub("nk:process:api-1")) == {"nk:process:api-1": 1})
    yield listener
    listener.close()


def heard(listener: PubSub, seconds: float = 3.0) -> Frame | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = listener.get_message(timeout=0.05)
        if message is not None:
            frame: Frame = json.loads(message["data"])
            return frame
    return None


def command(valkey: Valkey, lock: str = "lock-1", name: str = "command-1", gateway: str = "one", reply_to: str = "api-1") -> int:
    frame = {
        "type": "command", "org": "acme", "lock": lock, "command": name, "reply_to": reply_to, "message": "c2lnbmVk",
        "expires_at": int(time.time() * 1000) + 5_000,
    }  # fmt: skip
    return int(valkey.client.publish(f"nk:gateway:{gateway}", json.dumps(frame)))


def stored(valkey: Valkey) -> list[dict[str, str]]:
    return [fields for _, fields in valkey.client.xrange("nk:reports")]  # type: ignore[union-attr,misc]


async def settled(gateway: Gateway) -> None:
    """Every change of a route that the gateway knew of is on the bus: one task writes them in order, and these two come last."""
    marker = await gateway.lock("marker")
    await marker.close()
    wait_until(lambda: gateway.route("marker") is None)


async def test_a_command_goes_down_and_its_states_come_back(gateway: Gateway, process: PubSub) -> None:
    lock, other = await gateway.lock(), await gateway.lock("lock-2")
    assert command(gateway.valkey) == 1
    frame = await receive(lock)
    assert (frame["type"], frame["command"], frame["message"]) == ("command", "command-1", "c2lnbmVk")
    await say(lock, type="received", command="command-1")
    assert heard(process) == {"type": "received", "org": "acme", "lock": "lock-1", "command": "command-1"}
    await say(lock, type="report", number=7, command="command-1", report=REPORT)
    assert heard(process) == {"type": "report", "org": "acme", "lock": "lock-1", "number": 7, "command": "command-1", "report": REPORT}
    assert stored(gateway.valkey) == []
    await say(lock, type="report", number=7, command="command-1", report=REPORT)
    wait_until(lambda: stored(gateway.valkey) == [{"org": "acme", "lock": "lock-1", "report": REPORT}])
    assert heard(process, 0.2) is None
    gateway.valkey.client.publish("nk:gateway:one", json.dumps({"type": "stored", "org": "acme", "lock": "lock-1", "number": 7}))
    assert await receive(lock) == {"type": "stored", "number": 7}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(other.recv(), 0.2)
    await lock.close()
    await other.close()


async def test_a_lock_is_told_to_ask_whether_its_door_is_held_open(gateway: Gateway) -> None:
    """That one, of that organization, and nobody else."""
    lock, other = await gateway.lock(), await gateway.lock("lock-2")
    theirs = await gateway.authenticated(gateway.keys.token("lock-1", "lock", organization="other"))
    for name in ("absent", "lock-1"):
        gateway.valkey.client.publish("nk:gateway:one", json.dumps({"type": "ask_hold", "org": "acme", "lock": name}))
    assert await receive(lock) == {"type": "ask_hold"}
    for quiet in (other, theirs):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(quiet.recv(), 0.2)
    for websocket in (lock, other, theirs):
        await websocket.close()


async def test_commands_reach_locks_on_every_thread(gateway: Gateway) -> None:
    locks = {f"lock-{number}": await gateway.lock(f"lock-{number}") for number in range(12)}
    for name in locks:
        command(gateway.valkey, name, f"for-{name}")
    for name, websocket in locks.items():
        assert (await receive(websocket))["command"] == f"for-{name}"
        await websocket.close()


async def test_a_lock_cannot_speak_for_another(gateway: Gateway, process: PubSub) -> None:
    lock, liar = await gateway.lock(), await gateway.lock("lock-2")
    command(gateway.valkey)
    await receive(lock)
    await say(liar, type="received", command="command-1", org="acme", lock="lock-1")
    await say(liar, type="report", number=1, command="command-1", report=REPORT, org="acme", lock="lock-1")
    wait_until(lambda: stored(gateway.valkey) == [{"org": "acme", "lock": "lock-2", "report": REPORT}])
    assert heard(process, 0.3) is None
    await lock.close()
    await liar.close()


async def test_the_same_name_in_another_organization_is_another_lock(gateway: Gateway) -> None:
    ours = await gateway.lock()
    theirs = await gateway.authenticated(gateway.keys.token("lock-1", "lock", organization="other"))
    command(gateway.valkey)
    assert (await receive(ours))["command"] == "command-1"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(theirs.recv(), 0.3)
    await ours.close()
    await theirs.close()


async def test_a_report_that_nobody_waits_for_is_kept(gateway: Gateway) -> None:
    lock = await gateway.lock()
    await say(lock, type="report", number=1, command=None, report=REPORT)
    command(gateway.valkey, reply_to="a-process-that-died")
    await receive(lock)
    await say(lock, type="report", number=2, command="command-1", report=REPORT)
    wait_until(lambda: len(stored(gateway.valkey)) == 2)
    await lock.close()


async def test_a_lock_that_connects_again_replaces_itself(gateway: Gateway) -> None:
    connections = [await gateway.lock()]
    for _ in range(6):  # over both threads, sooner or later
        connections.append(await gateway.lock())
        with pytest.raises(ConnectionClosed) as ending:
            await asyncio.wait_for(connections[-2].recv(), 3)
        assert ending.value.rcvd is not None and (ending.value.rcvd.code, ending.value.rcvd.reason) == (4010, "replaced")
    wait_until(lambda: gateway.metric("connections") == 1)
    await settled(gateway)
    assert gateway.route("lock-1") == "one"
    command(gateway.valkey)
    assert (await receive(connections[-1]))["command"] == "command-1"
    await connections[-1].close()
    wait_until(lambda: gateway.route("lock-1") is None)


async def test_a_lock_that_moves_to_another_gateway_is_replaced_there(gateway: Gateway, tmp_path: Path) -> None:
    second = Gateway(gateway.valkey, gateway.keys, tmp_path, name="two").start()
    try:
        before = await gateway.lock()
        after = await second.lock()
        with pytest.raises(ConnectionClosed) as ending:
            await asyncio.wait_for(before.recv(), 3)
        assert ending.value.rcvd is not None and ending.value.rcvd.code == 4010
        wait_until(lambda: gateway.metric("connections") == 0)
        await settled(gateway)
        assert gateway.route("lock-1") == "two"
        await after.close()
    finally:
        second.stop()


async def test_a_route_to_a_lock_that_is_not_there_is_removed(gateway: Gateway) -> None:
    gateway.valkey.client.hset("nk:routes", "acme/ghost", "one")
    gateway.valkey.client.hset("nk:routes", "acme/elsewhere", "two")
    command(gateway.valkey, "ghost")
    command(gateway.valkey, "elsewhere")
    wait_until(lambda: gateway.metric("commands_without_lock_total") == 2)
    await settled(gateway)
    assert gateway.route("ghost") is None
    assert gateway.route("elsewhere") == "two"


async def test_what_a_lock_says_while_redis_is_away_arrives_later(gateway: Gateway) -> None:
    lock = await gateway.lock()
    gateway.valkey.stop()
    wait_until(lambda: gateway.metric("bus_losses_total") == gateway.threads)
    await say(lock, type="report", number=1, command=None, report=REPORT)
    await say(lock, type="ping")
    assert await receive(lock) == {"type": "pong"}  # what was said before it is taken in
    gateway.valkey.start()
    wait_until(lambda: stored(gateway.valkey) == [{"org": "acme", "lock": "lock-1", "report": REPORT}])
    await lock.close()


async def test_rubbish_on_the_bus_changes_nothing(gateway: Gateway) -> None:
    lock, person = await gateway.lock(), await gateway.person()
    topic = "organizations/acme/events"
    await say(person, type="subscribe", topic=topic)
    await receive(person)
    for channel in ("nk:gateway:one", "nk:control", f"nk:topic:{topic}"):
        for payload in (b"", b"\xff\xfe", b"{}", b"x 1", b"x 99999999999999999999 {}", b"x 1 {}", b'{"type":"command"}', b"[" * 100_000):
            gateway.valkey.client.publish(channel, payload)
    gateway.valkey.publish({"real": True})
    frame = await receive(person)
    assert (frame["type"], frame["event"]) == ("event", {"real": True})
    command(gateway.valkey)
    assert (await receive(lock))["command"] == "command-1"
    await lock.close()
    await person.close()
