"""What persons see over real sockets, with a real Valkey: live events, what was missed, revokes, slow readers and the end of a gateway."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from py_service.stores.bus import Bus
from tests.integration.gateway_server import TOPIC, Gateway, KeyServer, Valkey, closed, offsets, receive, say, silent, subscribe, wait_until


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
    assert "panic" not in server.log_path.read_text()


# --- what a person sees ---------------------------------------------------------------------------------------------


async def test_live_events_arrive_in_order_on_every_connection(gateway: Gateway) -> None:
    watchers = [await gateway.person() for _ in range(6)]
    for websocket in watchers:
        answer = await subscribe(websocket)
        epoch = gateway.valkey.client.get("nk:epoch")
        assert answer == {
            "type": "subscribed", "topic": TOPIC, "position": {"epoch": epoch, "offset": 0}, "recovered": False, "reason": "no_position",
        }  # fmt: skip
    for number in range(50):
        gateway.valkey.publish({"number": number})
    for websocket in watchers:
        frames = [await receive(websocket) for _ in range(50)]
        assert [frame["event"] for frame in frames] == [{"number": number} for number in range(50)]
        assert [frame["position"]["offset"] for frame in frames] == list(range(1, 51))  # type: ignore[index]
        await websocket.close()
    wait_until(lambda: gateway.metric("topics") == 0)


async def test_a_missed_announcement_is_read_from_the_stream(gateway: Gateway) -> None:
    websocket = await gateway.person()
    await subscribe(websocket)
    gateway.valkey.publish({}, announced=False)
    gateway.valkey.publish({}, announced=False)
    assert await silent(websocket)
    gateway.valkey.publish({})
    assert await offsets(websocket, 3) == [1, 2, 3]
    await websocket.close()


async def test_resume_recovers_what_was_missed(gateway: Gateway) -> None:
    for _ in range(20):
        gateway.valkey.publish({})
    position = {"epoch": gateway.valkey.client.get("nk:epoch"), "offset": 5}
    websocket = await gateway.person()
    answer = await subscribe(websocket, position)
    assert (answer["recovered"], answer["reason"], answer["position"]) == (True, None, position)
    assert await offsets(websocket, 15) == list(range(6, 21))
    gateway.valkey.publish({})
    assert await offsets(websocket, 1) == [21]
    again = await subscribe(websocket, {**position, "offset": 19})
    assert again["recovered"] is True
    assert await offsets(websocket, 2) == [20, 21]
    await websocket.close()


async def test_resume_says_why_it_cannot(gateway: Gateway) -> None:
    for _ in range(1_100):
        gateway.valkey.publish({})
    epoch = gateway.valkey.client.get("nk:epoch")
    websocket = await gateway.person()

    async def reason(position: object) -> tuple[object, object, object]:
        answer = await subscribe(websocket, position)
        return answer["recovered"], answer["reason"], answer["position"]

    end = {"epoch": epoch, "offset": 1_100}
    assert await reason(None) == (False, "no_position", end)
    assert await reason({"epoch": "another", "offset": 3}) == (False, "epoch_changed", end)
    assert await reason({"epoch": epoch, "offset": 2_000}) == (False, "epoch_changed", end)
    assert await reason({"epoch": epoch, "offset": 50}) == (False, "too_many", end)
    gateway.valkey.client.xtrim(f"nk:stream:{TOPIC}", maxlen=10, approximate=False)
    assert await reason({"epoch": epoch, "offset": 1_080}) == (False, "too_old", end)
    assert await reason(end) == (True, None, end)
    await websocket.close()


async def test_a_restarted_redis_is_an_explicit_gap(gateway: Gateway) -> None:
    websocket = await gateway.person()
    await subscribe(websocket)
    gateway.valkey.publish({})
    assert await offsets(websocket, 1) == [1]
    before = gateway.valkey.client.get("nk:epoch")
    gateway.valkey.stop()
    gateway.valkey.start()
    gap = await receive(websocket)
    after = gateway.valkey.client.get("nk:epoch")
    assert before != after
    assert gap == {"type": "gap", "topic": TOPIC, "position": {"epoch": after, "offset": 0}, "reason": "epoch_changed"}
    gateway.valkey.publish({})
    assert await offsets(websocket, 1) == [1]
    await websocket.close()


async def test_without_redis_persons_go_and_locks_stay(gateway: Gateway) -> None:
    person, lock = await gateway.person(), await gateway.lock()
    gateway.valkey.stop()
    started = time.monotonic()
    assert await closed(person) == (4008, "bus_unavailable")
    assert time.monotonic() - started > 0.7
    assert gateway.status("/readyz") == 503
    late = await gateway.connect()
    await say(late, type="authenticate", token=gateway.keys.token())
    assert await closed(late) == (4008, "bus_unavailable")
    await say(lock, type="ping")
    assert await receive(lock) == {"type": "pong"}
    gateway.valkey.start()
    wait_until(lambda: gateway.route("lock-1") == "one")
    assert gateway.valkey.client.exists("nk:gateway:one")
    wait_until(lambda: gateway.status("/readyz") == 200)
    await (await gateway.person()).close()
    await lock.close()


async def test_revoked_means_closed_within_a_second(gateway: Gateway) -> None:
    """Which tokens are void is a matter of revisions: when they were issued, and by whose clock, doesn't count."""
    revoked = [await gateway.person() for _ in range(4)]
    others = [await gateway.person(gateway.keys.token("bob")), await gateway.person(gateway.keys.token(revision=8))]
    started = time.monotonic()
    async with speaking(gateway) as bus:
        await bus.cut("acme", "ada", 8)
    assert [await closed(websocket) for websocket in revoked] == [(4004, "access_revoked")] * 4
    assert time.monotonic() - started < 1.0
    for websocket in others:
        await say(websocket, type="ping")
        assert await receive(websocket) == {"type": "pong"}
        await websocket.close()
    again = await gateway.connect()
    await say(again, type="authenticate", token=gateway.keys.token())
    assert await closed(again) == (4004, "access_revoked")


async def test_a_gateway_that_starts_later_knows_what_was_revoked(gateway: Gateway, keys: KeyServer) -> None:
    """Also what nobody listened to. More than it reads at once, so that it has to read on."""
    old = [keys.token(), keys.token("lock-1", "lock"), keys.token("eve", organization="other")]
    others = [keys.token("bob"), keys.token(revision=8), keys.token("lock-1", "lock", revision=9), keys.token("eve")]
    gateway.stop(signal.SIGKILL)
    async with speaking(gateway) as bus:
        for number in range(1_100):
            await bus.cut("acme", f"somebody-{number}", 8)
        for subject in ("ada", "lock-1"):
            await bus.cut("acme", subject, 8)
        await bus.cut("other", None, 8)
    gateway.start()
    for token in old:
        assert await refused(gateway, token) == (4004, "access_revoked")
    for token in others:
        await (await gateway.authenticated(token)).close()


async def test_where_redis_has_forgotten_what_was_revoked_older_tokens_are_not_taken(gateway: Gateway, keys: KeyServer) -> None:
    old = [keys.token(), keys.token("lock-1", "lock")]
    gateway.stop(signal.SIGKILL)
    gateway.valkey.stop()
    gateway.valkey.start()
    gateway.start()
    for token in old:
        assert await refused(gateway, token) == (4004, "access_revoked")
    await (await gateway.person()).close()
    await (await gateway.lock()).close()


async def test_what_was_revoked_while_a_gateway_was_without_redis_is_read(gateway: Gateway) -> None:
    """It is gone for less time than ends everybody's connections, and nobody says the word again."""
    websocket = await gateway.person()
    word = json.dumps({"type": "revoked", "org": "acme", "subject": "ada", "revision": 8})
    gateway.valkey.client.xadd("nk:cuts", {"word": word})
    gateway.valkey.client.client_kill_filter(_type="pubsub")
    assert await closed(websocket) == (4004, "access_revoked")


async def test_nobody_is_let_in_before_the_gateway_knows_what_was_revoked(gateway: Gateway, keys: KeyServer) -> None:
    gateway.stop(signal.SIGKILL)
    gateway.valkey.stop()
    gateway.start(ready=False)
    for token in (keys.token(), keys.token("lock-1", "lock")):
        assert await refused(gateway, token) == (4008, "bus_unavailable")
    gateway.valkey.start()
    wait_until(lambda: gateway.status("/readyz") == 200)
    await (await gateway.person()).close()


async def refused(gateway: Gateway, token: str) -> tuple[int, str]:
    websocket = await gateway.connect()
    await say(websocket, type="authenticate", token=token)
    return await closed(websocket)


@contextlib.asynccontextmanager
async def speaking(gateway: Gateway) -> AsyncIterator[Bus]:
    """As a process of the service does."""
    bus = Bus(gateway.valkey.url, 1_000)
    try:
        yield bus
    finally:
        await bus.close()


async def test_a_suspended_organization_is_closed_whole(gateway: Gateway) -> None:
    person, lock, other = await gateway.person(), await gateway.lock(), await gateway.person(gateway.keys.token(organization="other"))
    async with speaking(gateway) as bus:
        await bus.cut("acme", None, 8)
    assert await closed(person) == await closed(lock) == (4004, "access_revoked")
    assert await silent(other)
    resumed = await gateway.person(gateway.keys.token(revision=9))  # the word is said again, and isn't about it
    async with speaking(gateway) as bus:
        await bus.cut("acme", None, 8)
    assert await silent(resumed)
    for websocket in (other, resumed):
        await websocket.close()


async def gaps_until_closed(websocket: ClientConnection) -> tuple[int, int]:
    """Reads to the end: how many gaps were told, and the close code. Fails on a silent one."""
    at, gaps = 0, 0
    try:
        while True:
            frame = await receive(websocket)
            offset: int = frame["position"]["offset"]  # type: ignore[index]
            assert frame["type"] == "gap" or offset == at + 1, "never a silent gap"
            gaps += frame["type"] == "gap"
            at = offset
    except ConnectionClosed as ending:
        return gaps, ending.rcvd.code if ending.rcvd else 1006


async def test_a_slow_consumer_gets_a_gap_and_then_4006(gateway: Gateway) -> None:
    slow, quick = await gateway.person(), await gateway.person()
    await subscribe(slow)
    await subscribe(quick)
    slow.transport.pause_reading()
    seen = 0
    for _ in range(12):  # far more than the sockets' buffers and the queue
        for _ in range(40):
            gateway.valkey.publish({"filler": "x" * 30_000})
        assert await offsets(quick, 40) == list(range(seen + 1, seen + 41))
        seen += 40
    wait_until(lambda: gateway.metric("slow_consumers_total") == 1)
    slow.transport.resume_reading()
    assert await gaps_until_closed(slow) == (1, 4006)
    await quick.close()


# --- the end --------------------------------------------------------------------------------------------------------


async def test_a_drain_spreads_the_reconnects(valkey: Valkey, keys: KeyServer, tmp_path: Path) -> None:
    gateway = Gateway(valkey, keys, tmp_path, drain_seconds=2).start()
    websockets = [await gateway.person(keys.token(f"person-{number}")) for number in range(20)]
    lock = await gateway.lock()
    gateway.process.terminate()
    started = time.monotonic()

    async def end(websocket: ClientConnection) -> tuple[float, int, str]:
        code, reason = await closed(websocket)
        return time.monotonic() - started, code, reason

    ends = await asyncio.gather(*map(end, [*websockets, lock]))
    assert {code for _, code, _ in ends} == {4007}
    waits = [int(reason.removeprefix("draining reconnect_after_ms=")) for _, _, reason in ends]
    assert all(0 <= wait < 1_000 for wait in waits) and len(set(waits)) > 10
    times = [at for at, _, _ in ends]
    assert max(times) - min(times) > 0.5 and max(times) < 2.5
    assert gateway.process.wait(timeout=5) == 0
    assert gateway.route("lock-1") is None
    assert not valkey.client.exists("nk:gateway:one")


def test_nothing_secret_is_logged(gateway: Gateway) -> None:
    async def talk() -> str:
        token = gateway.keys.token()
        websocket = await gateway.person(token)
        await say(websocket, type="authenticate", token="x" + token)
        await closed(websocket)
        return token

    token = asyncio.run(talk())
    gateway.stop()
    log = gateway.log_path.read_text()
    assert token not in log and gateway.valkey.url not in log
    assert [json.loads(line)["event"] for line in log.splitlines()][-2:] == ["draining", "stopped"]
