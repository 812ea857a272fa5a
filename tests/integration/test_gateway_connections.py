"""The gateway's front door over real sockets, with a real Valkey: who may connect, what HTTP says, and which frames are taken."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway_server import TOPIC, Frame, Gateway, KeyServer, Valkey, closed, receive, say, subscribe, wait_until
from tests.integration.long_silence import LongSilence, keep_silent


@pytest.fixture(scope="module", autouse=True)
def long_silence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongSilence | None]:
    """What takes long and needs nobody: a gateway of its own whose clients keep silent, in a thread of its own. It begins with the first
    test of this file, and the last asks for it; None when that isn't among those to run.
    """
    if not any(item.name.startswith("test_a_client_that_does_not_answer_pings") for item in request.session.items):
        yield None
        return
    silence = LongSilence()
    thread = threading.Thread(target=lambda: asyncio.run(keep_silent(silence, tmp_path_factory.mktemp("silence"))), daemon=True)
    thread.start()
    yield silence
    thread.join(10)


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
    await say(renewed, type="authenticate", token=gateway.keys.token())
    assert (await receive(renewed))["type"] == "authenticated"
    other = await gateway.person()
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
        assert gateway.metric("connections") == 2
        assert [gateway.status(path) for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
        await first.close()
        wait_until(lambda: gateway.metric("connections") == 1)
        await (await gateway.person()).close()
        await second.close()
    finally:
        gateway.stop()


async def test_sockets_that_are_no_connection_take_no_place(valkey: Valkey, keys: KeyServer, tmp_path: Path) -> None:
    gateway = Gateway(valkey, keys, tmp_path, connections_max=2).start()
    idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(8)]
    try:
        assert gateway.metric("connections") == 0
        first, second = await gateway.person(), await gateway.person()
        assert gateway.metric("connections") == 2
        assert gateway.status("/healthz") == 200
        await first.close()
        await second.close()
    finally:
        for raw in idle:
            raw.close()
        gateway.stop()


async def test_a_connection_that_is_closing_has_given_up_its_place(valkey: Valkey, keys: KeyServer, tmp_path: Path) -> None:
    gateway = Gateway(valkey, keys, tmp_path, connections_max=2).start()
    try:
        stays, goes = await gateway.person(), await gateway.person()
        goes.transport.pause_reading()  # it doesn't answer the close: the gateway waits for that
        await goes.send(b"\x80")
        wait_until(lambda: gateway.metric("connections") == 1)
        comes = await gateway.person()
        assert gateway.metric("connections") == 2
        goes.transport.resume_reading()
        assert await closed(goes) == (4005, "protocol_error")
        await comes.close()
        await stays.close()
    finally:
        gateway.stop()


# --- frames ---------------------------------------------------------------------------------------------------------


REFUSED_FRAMES = [
    ("{", "frame_malformed"),
    ("[]", "frame_malformed"),
    ("[" * 60_000, "frame_malformed"),
    ('{"type":"subscribe"}', "frame_malformed"),
    ('{"type":"fly"}', "type_unknown"),
    ('{"type":"received","command":"c"}', "type_unknown"),
]


async def test_refused_frames_leave_the_connection(gateway: Gateway) -> None:
    websocket = await gateway.person()
    for frame, code in REFUSED_FRAMES:
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

        async def unpacked() -> Frame:
            data = await asyncio.wait_for(websocket.recv(decode=False), 5)
            return msgspec.msgpack.decode(data, type=Frame)

        async def exchange(**frame: object) -> Frame:
            await websocket.send(msgspec.msgpack.encode(frame))
            return await unpacked()

        assert (await exchange(type="authenticate", token=gateway.keys.token()))["type"] == "authenticated"
        assert (await exchange(type="subscribe", topic=TOPIC))["type"] == "subscribed"
        event = {"id": "log:1:0", "at": 1_700_000_000_000, "detail": {"big": 2**53, "none": None, "text": "Grüße"}}
        gateway.valkey.publish(event)
        position = {"epoch": gateway.valkey.client.get("nk:epoch"), "offset": 1}
        assert await unpacked() == {"type": "event", "topic": TOPIC, "position": position, "event": event}


# --- silence --------------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_answer_pings_is_closed_and_one_that_does_stays(long_silence: LongSilence) -> None:
    """The gateway's times (a ping every 20 s, 45 s of silence) are promises, not settings: it began with the first test of this file."""
    assert long_silence.done.wait(70)
    assert [what for what, _ in long_silence.heard] == ["authenticated", "ping", "ping", "1001 silence"]
    assert [round(seconds) for _, seconds in long_silence.heard] == pytest.approx([0, 20, 40, 45], abs=2)
    assert long_silence.answering_seconds > 45  # the other one has sent nothing but pongs for as long
    assert long_silence.answer == {"type": "pong"}
    assert long_silence.connections == 1
    assert "panic" not in long_silence.log
