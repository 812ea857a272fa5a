"""Fan-out: how many events a second the gateway delivers to WebSockets, in turns with a peer and a ceiling, all read by the same reader.

The peer is Valkey's own pub/sub to plain sockets: fan-out in C, on one thread, without authentication, positions or bounded queues.
The ceiling is a process that writes the finished bytes of the gateway's frames: what this reader and this kernel can take at all.
Every connection's bytes are held against the expected stream by length and checksum, so a lost, repeated or altered event fails the run.
Rounds alternate and medians are compared, because a busy machine favours whoever is lucky or has more threads; CPU seconds stand beside.
What doesn't live here: the unlock; and latency under load, which is the load test's.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import sys
import tempfile
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.integration.gateway_server import PUBLISH, TOPIC, Gateway, KeyServer, Valkey

CONNECTIONS = 200
EVENTS = 4_000
GROUP = 32  # events of one commit group, published in one call
ROUNDS = 5
IDLE_CONNECTIONS = 1_000
LATENCY_EVENTS = 200
DELIVERIES_PER_SECOND_MIN = 100_000
EVENT = {"kind": "unlocked", "org": "acme", "at": 1_700_000_000_000, "attempt": "log-1:000000000042:003", "door": "front", "person": "ada"}
BODY = json.dumps(EVENT, separators=(",", ":"))
PUBLISH_GROUP = f"local function one(KEYS, ARGV) {PUBLISH} end for _ = 1, ARGV[5] do one(KEYS, ARGV) end return 1"


def main() -> int:
    """0 when every event arrived everywhere and the target is met."""
    valkey, keys = Valkey(), KeyServer()
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(valkey, keys, Path(folder)).start()
        try:
            print(f"{CONNECTIONS} connections, {EVENTS} events of {len(BODY)} bytes in groups of {GROUP}, {ROUNDS} rounds in turns")
            print(
                f"memory of an idle subscriber   {memory(gateway) / 1024:.1f} KiB, over the first {IDLE_CONNECTIONS:,} of a fresh gateway"
            )
            print(f"latency, one watcher           {latency(gateway)}")
            delivered = rounds(gateway)
        finally:
            gateway.stop()
            keys.stop()
            valkey.stop()
    if delivered < DELIVERIES_PER_SECOND_MIN:
        print(f"below the target of {DELIVERIES_PER_SECOND_MIN:,}")
        return 1
    return 0


def rounds(gateway: Gateway) -> float:
    """All three, in turns; prints the rates and what they cost, and returns the gateway's median."""
    assert gateway.valkey.process is not None
    processes = {"peer": gateway.valkey.process.pid, "gateway": gateway.process.pid}
    runs: dict[str, Callable[[], float]] = {
        "ceiling": finished,
        "peer": lambda: direct(gateway.valkey),
        "gateway": lambda: fan_out(gateway),
    }
    found: dict[str, list[float]] = {name: [] for name in runs}
    seconds = dict.fromkeys(processes, 0.0)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            before = processor_seconds(processes[name]) if name in processes else 0.0
            found[name].append(run())
            if name in processes:
                seconds[name] += processor_seconds(processes[name]) - before
    median = {name: statistics.median(rates) for name, rates in found.items()}
    millions = ROUNDS * CONNECTIONS * EVENTS / 1e6
    for name, rates in found.items():
        cost = f", {seconds[name] / millions:.2f} CPU s a million" if name in seconds else ""
        print(f"{name:<10} {median[name]:>10,.0f} deliveries/s ({min(rates):,.0f} to {max(rates):,.0f}){cost}")
    print(f"gateway / peer {median['gateway'] / median['peer']:.2f}, gateway / ceiling {median['gateway'] / median['ceiling']:.2f}")
    return median["gateway"]


def fan_out(gateway: Gateway) -> float:
    """Deliveries a second through the gateway."""
    sockets = [subscribed(gateway) for _ in range(CONNECTIONS)]
    epoch = str(gateway.valkey.client.get("nk:epoch"))
    first = int(str(gateway.valkey.client.hget("nk:offsets", TOPIC) or 0)) + 1
    return rate(sockets, b"".join(frames(epoch, first)), publisher(gateway.valkey))


def frames(epoch: str, first: int) -> list[bytes]:
    """What a connection has to get, event by event."""
    head = f'{{"type":"event","topic":"{TOPIC}","position":{{"epoch":"{epoch}","offset":'
    return [frame(f'{head}{offset}}},"event":{BODY}}}') for offset in range(first, first + EVENTS)]


def finished() -> float:
    """Deliveries a second of a process that only writes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
    events = frames("0" * 16, 1)
    writer = multiprocessing.get_context("fork").Process(target=write_finished, args=(listener, events), daemon=True)
    writer.start()
    sockets = [socket.create_connection(listener.getsockname()) for _ in range(CONNECTIONS)]
    listener.close()
    words = iter(sockets)  # the writer starts when all have said it, which is inside the measured time
    try:
        return rate(sockets, b"".join(events), lambda: [connection.send(b"g") for connection in words])
    finally:
        writer.join(10)


def write_finished(listener: socket.socket, events: list[bytes]) -> None:
    """Waits for everybody's word, then writes group by group to all."""
    connections = [listener.accept()[0] for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.recv(1)
    for index in range(0, EVENTS, GROUP):
        group = b"".join(events[index : index + GROUP])
        for connection in connections:
            connection.sendall(group)


def direct(valkey: Valkey) -> float:
    """Deliveries a second of Valkey alone."""
    channel = f"nk:topic:{TOPIC}"
    sockets = []
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", valkey.port))
        connection.sendall(f"SUBSCRIBE {channel}\r\n".encode())
        connection.recv(4_096)
        sockets.append(connection)
    valkey.client.set("nk:epoch", "0" * 16, nx=True)
    epoch = str(valkey.client.get("nk:epoch"))
    first = int(str(valkey.client.hget("nk:offsets", TOPIC) or 0)) + 1
    texts = [f"{epoch} {offset} {BODY}" for offset in range(first, first + EVENTS)]
    head = f"*3\r\n$7\r\nmessage\r\n${len(channel)}\r\n{channel}\r\n"
    return rate(sockets, "".join(f"{head}${len(text)}\r\n{text}\r\n" for text in texts).encode(), publisher(valkey))


def rate(sockets: Sequence[socket.socket], expected: bytes, publish: Callable[[], object]) -> float:
    """Publishes and reads everything; raises when any connection got anything else than `expected`."""
    checksum = zlib.crc32(expected)
    got = {connection.fileno(): [0, 0] for connection in sockets}
    by_number = {connection.fileno(): connection for connection in sockets}
    selector = selectors.DefaultSelector()
    for connection in sockets:
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    left, published, started = len(sockets), 0, time.perf_counter()
    while left:
        if published < EVENTS:
            publish()
            published += GROUP
        for key, _ in selector.select(0 if published < EVENTS else 10):
            chunk = by_number[key.fd].recv(1 << 18)
            state = got[key.fd]
            state[0] += len(chunk)
            state[1] = zlib.crc32(chunk, state[1])
            if not chunk or state[0] >= len(expected):
                selector.unregister(key.fileobj)
                left -= 1
    seconds = time.perf_counter() - started
    for number, (length, found) in got.items():
        by_number[number].close()
        if (length, found) != (len(expected), checksum):
            raise SystemExit(f"a connection got {length} bytes of {len(expected)}, or others")
    return len(sockets) * EVENTS / seconds


def publisher(valkey: Valkey) -> Callable[[], object]:
    """Publishes one group."""
    script = valkey.client.register_script(PUBLISH_GROUP)
    return lambda: script(args=[TOPIC, BODY, "0" * 16, "1", GROUP])


def subscribed(gateway: Gateway) -> socket.socket:
    """A plain socket that has authenticated and subscribed, byte by byte as the protocol says."""
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b64encode(bytes(16)).decode()
    connection.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: nexkey.v1.json\r\n\r\n".encode())
    receive_until(connection, b"\r\n\r\n")
    connection.sendall(masked(json.dumps({"type": "authenticate", "token": gateway.keys.token()})))
    receive_until(connection, b"}")
    connection.sendall(masked(json.dumps({"type": "subscribe", "topic": TOPIC})))
    receive_until(connection, b'"no_position"}')
    return connection


def receive_until(connection: socket.socket, end: bytes) -> None:
    """Reads until the bytes end so."""
    received = b""
    while not received.endswith(end):
        chunk = connection.recv(4_096)
        if not chunk:
            raise SystemExit("the gateway closed the connection")
        received += chunk


def frame(text: str) -> bytes:
    """A text frame of the server (RFC 6455, section 5.2)."""
    data = text.encode()
    return b"\x81" + (bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")) + data


def masked(text: str) -> bytes:
    """A text frame of a client, masked with zeros."""
    plain = frame(text)
    size = 2 if plain[1] < 126 else 4
    return bytes([plain[0], plain[1] | 0x80]) + plain[2:size] + bytes(4) + plain[size:]


def latency(gateway: Gateway) -> str:
    """From the call that publishes to the frame at one watcher, one event at a time, in words."""
    seconds: list[float] = []

    async def watch() -> None:
        async with gateway.connect() as websocket:
            await websocket.send(json.dumps({"type": "authenticate", "token": gateway.keys.token()}))
            await websocket.recv()
            await websocket.send(json.dumps({"type": "subscribe", "topic": TOPIC}))
            await websocket.recv()
            for _ in range(LATENCY_EVENTS):
                started = time.perf_counter()
                gateway.valkey.publish(EVENT)
                await websocket.recv()
                seconds.append(time.perf_counter() - started)

    asyncio.run(watch())
    milliseconds = sorted(1_000 * value for value in seconds)
    return f"median {statistics.median(milliseconds):.2f} ms, p99 {milliseconds[int(len(milliseconds) * 0.99)]:.2f} ms"


def memory(gateway: Gateway) -> float:
    """Bytes that one more idle subscriber costs the gateway."""
    before = resident(gateway.process.pid)
    sockets = [subscribed(gateway) for _ in range(IDLE_CONNECTIONS)]
    grown = resident(gateway.process.pid) - before
    for connection in sockets:
        connection.close()
    return grown / IDLE_CONNECTIONS


def processor_seconds(process: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> int:
    """Bytes of memory that are in use."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    sys.exit(main())
