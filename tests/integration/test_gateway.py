"""The gateway over real sockets, with a real Valkey: who may connect, what a person sees, and that nothing is missed in silence."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.integration.gateway_server import TOPIC, Gateway, KeyServer, Valkey, wait_until
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

Frame = dict[str, object]


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


async def receive(websocket: ClientConnection, seconds: float = 5.0) -> Frame:
    frame: Frame = json.loads(await asyncio.wait_for(websocket.recv(), seconds))
    return frame


async def say(websocket: ClientConnection, **frame: object) -> None:
    await websocket.send(json.dumps(frame))


async def subscribe(websocket: ClientConnection, position: object = None, topic: str = TOPIC) -> Frame:
    await say(websocket, type="subscribe", topic=topic, position=position)
    return await receive(websocket)


async def closed(websocket: ClientConnection, seconds: float = 8.0) -> tuple[int, str]:
    """Reads until the server closes; its code and reason."""

    async def drained() -> tuple[int, str]:
        try:
            while True:
                await websocket.recv()
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")

    return await asyncio.wait_for(drained(), seconds)


async def silent(websocket: ClientConnection, seconds: float = 0.3) -> bool:
    try:
        frame = await asyncio.wait_for(websocket.recv(), seconds)
    except TimeoutError:
        return True
    pytest.fail(f"unexpected {frame!r}")


async def offsets(websocket: ClientConnection, count: int) -> list[int]:
    frames = [await receive(websocket) for _ in range(count)]
    assert [frame["type"] for frame in frames] == ["event"] * count
    return [frame["position"]["offset"] for frame in frames]  # type: ignore[index]


# --- who may connect ------------------------------------------------------------------------------------------------


async def test_a_valid_token_authenticates(gateway: Gateway) -> None:
    async with gateway.connect() as websocket:
        await say(websocket, type="authenticate", token=gateway.keys.token())
        answer = await receive(websocket)
        assert (answer["type"], answer["subject"], answer["kind"]) == ("authenticated", "ada", "person")
        assert time.time() * 1000 < float(str(answer["expires_at"])) < time.time() * 1000 + 300_000
        await say(websocket, type="ping")
        assert await receive(websocket) == {"type": "pong"}


async def test_silence_ends_with_4001(gateway: Gateway) -> None:
    async with gateway.connect() as websocket:
        started = time.monotonic()
        assert await closed(websocket) == (4001, "authentication_timeout")
        assert 4.5 < time.monotonic() - started < 6.5


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"audience": "api"}, "token_audience"),
        ({"issued_ago_ms": 250_000}, "token_expired"),
        ({"issued_ago_ms": -60_000}, "token_not_yet_valid"),
    ],
)
async def test_a_token_that_does_not_stand_ends_with_4002(gateway: Gateway, change: dict[str, object], code: str) -> None:
    async with gateway.connect() as websocket:
        await say(websocket, type="authenticate", token=gateway.keys.token(**change))  # type: ignore[arg-type]
        assert await closed(websocket) == (4002, f"authentication_failed {code}")


async def test_a_forged_token_ends_with_4002(gateway: Gateway) -> None:
    head, payload, signature = gateway.keys.token().split(".")
    other = KeyServer()
    other.stop()
    forged = [f"{head}.{payload}.{signature[:-4]}AAAA", other.token(), "nonsense", ""]
    for token, code in zip(forged, ["token_signature", "token_signature", "token_malformed", "token_malformed"], strict=True):
        async with gateway.connect() as websocket:
            await say(websocket, type="authenticate", token=token)
            assert await closed(websocket) == (4002, f"authentication_failed {code}")
    assert gateway.metric("authentications_failed_total") == len(forged)


async def test_a_rotated_key_is_fetched_when_a_token_names_it(valkey: Valkey, tmp_path: Path) -> None:
    keys = KeyServer()
    gateway = Gateway(valkey, keys, tmp_path).start()
    try:
        keys.ring.generate("access", "", "second")
        keys.ring.activate("access", "", "second")
        websocket = await gateway.person()
        assert keys.fetches == 2
        await websocket.close()
    finally:
        gateway.stop()
        keys.stop()


async def test_the_first_frame_must_authenticate(gateway: Gateway) -> None:
    for frame in ('{"type":"ping"}', "not json", '{"type":"subscribe","topic":"x"}'):
        async with gateway.connect() as websocket:
            await websocket.send(frame)
            assert await closed(websocket) == (4005, "protocol_error")


async def test_the_token_ends_unless_it_is_renewed(gateway: Gateway) -> None:
    short = await gateway.person(gateway.keys.token(life_ms=2_000))
    renewed = await gateway.person(gateway.keys.token(life_ms=2_000))
    other = await gateway.person(gateway.keys.token(life_ms=2_000))
    await say(renewed, type="authenticate", token=gateway.keys.token())
    assert (await receive(renewed))["type"] == "authenticated"
    await say(other, type="authenticate", token=gateway.keys.token("eve"))
    assert await closed(other) == (4002, "authentication_failed subject_changed")
    assert await closed(short) == (4003, "authentication_expired")
    await say(renewed, type="ping")
    assert await receive(renewed) == {"type": "pong"}
    await renewed.close()


# --- HTTP -----------------------------------------------------------------------------------------------------------


async def test_http_before_the_websocket(gateway: Gateway) -> None:
    assert [gateway.status(path) for path in ("/healthz", "/readyz", "/metrics", "/v1/realtime", "/nowhere")] == [200, 200, 200, 426, 404]
    with pytest.raises(InvalidStatus) as refusal:
        await gateway.connect("unknown.v9")
    assert refusal.value.response.status_code == 400


@pytest.mark.parametrize(
    "request_bytes", [b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2_000, b"POST /healthz HTTP/1.1\r\n\r\n"]
)
def test_bad_requests_are_refused(gateway: Gateway, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=8) as raw:
        raw.sendall(request_bytes)
        assert raw.recv(64).startswith(b"HTTP/1.1 4")
    assert gateway.status("/healthz") == 200


async def test_connections_are_bounded(valkey: Valkey, keys: KeyServer, tmp_path: Path) -> None:
    gateway = Gateway(valkey, keys, tmp_path, connections_max=2).start()
    try:
        first, second = await gateway.person(), await gateway.person()
        with pytest.raises(InvalidStatus) as refusal:
            await gateway.person()
        assert refusal.value.response.status_code == 503
        assert gateway.status("/healthz") == 200
        await first.close()
        wait_until(lambda: gateway.metric("connections") == 1)
        await (await gateway.person()).close()
        await second.close()
    finally:
        gateway.stop()


# --- frames ---------------------------------------------------------------------------------------------------------


async def test_refused_frames_leave_the_connection(gateway: Gateway) -> None:
    websocket = await gateway.person()
    for frame, code in [
        ("{", "frame_malformed"), ("[]", "frame_malformed"), ('{"type":"subscribe"}', "frame_malformed"), ('{"type":"fly"}', "type_unknown"),
        ('{"type":"received","command":"c"}', "type_unknown"), ("[" * 60_000, "frame_malformed"),
    ]:  # fmt: skip
        await websocket.send(frame)
        answer = await receive(websocket)
        assert (answer["type"], answer["code"]) == ("error", code), frame[:50]
    await say(websocket, type="ping")
    assert await receive(websocket) == {"type": "pong"}
    await websocket.close()


async def test_a_frame_that_is_too_large_ends_with_4009(gateway: Gateway) -> None:
    websocket = await gateway.person()
    await websocket.send("x" * (64 * 1024 + 1))
    assert await closed(websocket) == (4009, "frame_too_large")
    whole = await gateway.person()
    await whole.send("x" * (64 * 1024))
    assert (await receive(whole))["code"] == "frame_malformed"
    await whole.send(["y" * 40_000, "y" * 40_000])
    assert await closed(whole) == (4009, "frame_too_large")


async def test_the_wrong_kind_of_frame_ends_with_4005(gateway: Gateway) -> None:
    websocket = await gateway.person()
    await websocket.send(b"\x80")
    assert await closed(websocket) == (4005, "protocol_error")


async def test_topics_need_the_token(gateway: Gateway) -> None:
    foreign = "organizations/other/events"
    websocket = await gateway.person(gateway.keys.token(topics=[TOPIC, foreign]))
    for topic in (foreign, "organizations/acme/persons/bob/events", "organizations/acme", "nk:control", TOPIC + "/"):
        answer = await subscribe(websocket, topic=topic)
        assert (answer["type"], answer["code"], answer["detail"]) == ("error", "topic_forbidden", topic)
    assert (await subscribe(websocket))["type"] == "subscribed"
    lock = await gateway.lock()
    assert (await subscribe(lock))["code"] == "topic_forbidden"
    await websocket.close()
    await lock.close()


async def test_msgpack_carries_the_same(gateway: Gateway) -> None:
    async with gateway.connect("nexkey.v1.msgpack") as websocket:

        async def exchange(**frame: object) -> Frame:
            await websocket.send(msgspec.msgpack.encode(frame))
            return msgspec.msgpack.decode(await websocket.recv(), type=Frame)

        assert (await exchange(type="authenticate", token=gateway.keys.token()))["type"] == "authenticated"
        assert (await exchange(type="subscribe", topic=TOPIC))["type"] == "subscribed"
        event = {"id": "log:1:0", "at": 1_700_000_000_000, "detail": {"big": 2**53, "none": None, "text": "Grüße"}}
        gateway.valkey.publish(event)
        frame = msgspec.msgpack.decode(await asyncio.wait_for(websocket.recv(), 5), type=Frame)
        assert frame == {
            "type": "event",
            "topic": TOPIC,
            "position": {"epoch": gateway.valkey.client.get("nk:epoch"), "offset": 1},
            "event": event,
        }


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
    assert 0.7 < time.monotonic() - started < 2.0
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
    revoked = [await gateway.person(gateway.keys.token(issued_ago_ms=5_000)) for _ in range(4)]
    others = [await gateway.person(gateway.keys.token("bob")), await gateway.person()]
    cut = int(time.time() * 1000) - 2_000
    started = time.monotonic()
    gateway.valkey.client.publish("nk:control", json.dumps({"type": "revoked", "org": "acme", "subject": "ada", "valid_after": cut}))
    assert [await closed(websocket) for websocket in revoked] == [(4004, "access_revoked")] * 4
    assert time.monotonic() - started < 1.0
    for websocket in others:
        await say(websocket, type="ping")
        assert await receive(websocket) == {"type": "pong"}
        await websocket.close()
    again = await gateway.connect()
    await say(again, type="authenticate", token=gateway.keys.token(issued_ago_ms=5_000))
    assert await closed(again) == (4004, "access_revoked")


async def test_a_suspended_organization_is_closed_whole(gateway: Gateway) -> None:
    person, lock, other = await gateway.person(), await gateway.lock(), await gateway.person(gateway.keys.token(organization="other"))
    gateway.valkey.client.publish("nk:control", json.dumps({"type": "organization_suspended", "org": "acme"}))
    assert await closed(person) == await closed(lock) == (4004, "access_revoked")
    assert await silent(other)
    await other.close()


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
    at, gaps = 0, 0
    with pytest.raises(ConnectionClosed) as ending:
        while True:
            frame = await receive(slow)
            offset: int = frame["position"]["offset"]  # type: ignore[index]
            assert frame["type"] == "gap" or offset == at + 1, "never a silent gap"
            gaps += frame["type"] == "gap"
            at = offset
    assert ending.value.rcvd is not None and ending.value.rcvd.code == 4006
    assert gaps >= 1
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
