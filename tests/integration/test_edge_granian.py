"""What the made-up exchange of the unit tests takes for granted, held against the real server: bodies, headers, and the end of a worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.store_server import free_port

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # the packages of this very run
HEAD = b"POST /v1/wishes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Served:
    port: int
    process: subprocess.Popen[str]
    worker: int

    def ask(self, sent: bytes, later: bytes = b"", wait_seconds: float = 0.0) -> tuple[int, dict[str, str], dict[str, object]]:
        """Status, headers and decoded body of the first answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(sent)
            if later:
                time.sleep(wait_seconds)
                connection.sendall(later)
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65_536)
            head, _, body = received.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            while len(body) < int(headers.get("content-length", "0")):
                body += connection.recv(65_536)
        return int(lines[0].split()[1]), headers, json.loads(body) if body else {}

    def refused(self, sent: bytes, later: bytes = b"", wait_seconds: float = 0.0) -> tuple[int, object]:
        status, headers, problem = self.ask(sent, later, wait_seconds)
        assert headers["content-type"] == "application/problem+json"
        return status, problem["code"]


def start() -> Served:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tests.integration.edge_served", str(port)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return Served(port, process, worker)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = start()
    yield made
    made.process.terminate()
    made.process.wait(10)


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_bodies_that_are_right(served: Served) -> None:
    body = b'{"name":"a"}'
    assert served.ask(HEAD + b"Content-Length: 12\r\n\r\n" + body)[::2] == (201, {"name": "a", "count": 0})
    assert served.ask(CHUNKED + chunk(body[:5]), chunk(body[5:]) + chunk(b""), 0.05)[0] == 201


def test_body_too_large(served: Served) -> None:
    assert served.refused(HEAD + b"Content-Length: 257\r\n\r\n") == (413, "body_too_large")
    assert served.refused(CHUNKED + chunk(b"a" * 200) * 2) == (413, "body_too_large")


def test_slow_body(served: Served) -> None:
    began = time.monotonic()
    assert served.refused(HEAD + b"Content-Length: 12\r\n\r\n{") == (408, "body_timeout")
    assert served.refused(CHUNKED + chunk(b"{")) == (408, "body_timeout")
    assert time.monotonic() - began < 3


def test_header_that_is_no_text_does_not_vanish(served: Served) -> None:
    unlock = b"POST /v1/doors/d1/unlock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
    assert served.ask(unlock + b"\r\n")[0] == 200
    assert served.refused(unlock + b"Idempotency-Key: \xff\xfe\r\n\r\n") == (400, "header_invalid")
    assert served.refused(unlock + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n") == (400, "header_invalid")


def test_paths_as_they_arrive(served: Served) -> None:
    def path(text: bytes) -> tuple[int, object]:
        return served.refused(b"POST " + text + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")

    assert path(b"/v1/doors/a%2Fb/unlock") == (404, "route_unknown")
    assert served.ask(b"POST /v1/doors/d1%2Funlock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")[0] == 200  # it is a slash
    assert path(b"/v1/doors//unlock") == (404, "route_unknown")
    assert path(b"*") == (404, "route_unknown")
    assert path(b"/v1/me") == (405, "method_not_allowed")


def test_client_that_goes_away_disturbs_nobody(served: Served) -> None:
    for sent in (HEAD + b"Content-Length: 12\r\n\r\n{", CHUNKED + chunk(b"{"), HEAD + b'Content-Length: 12\r\n\r\n{"name":"a"}'):
        with socket.create_connection(("127.0.0.1", served.port), 5) as connection:
            connection.sendall(sent)
    assert served.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200


def test_worker_dies_with_its_server() -> None:
    made = start()
    assert made.worker != made.process.pid
    made.process.send_signal(signal.SIGKILL)
    made.process.wait(5)
    deadline = time.monotonic() + 5
    while _runs(made.worker):
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.02)


def _runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    return status.rpartition(")")[2].split()[0] != "Z"  # one that nobody waits for yet is dead all the same
