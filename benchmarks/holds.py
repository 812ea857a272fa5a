"""What a door that is held open costs: leases renewed, beside the time asked for by the same locks, which is proved and signed as well.

    renew     POST /v1/devices/{device}/hold with the hold that the lock keeps: proof, fence read, does the door stand open, a signature
    time      POST /v1/devices/{device}/time: proof, fence read, a signature; the ceiling for anything that a device asks

A closed loop over raw connections, so that the client costs little. Every lease is verified by a lock's own verifier, and has to be of this
lock's hold; then all doors are locked, and every lock is told to let go. Everything runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import msgspec
import uvloop

from loadtests.plan import PlannedLock
from loadtests.stack import RunningStack, running_stack
from loadtests.tokens import TokenMint
from py_service._core_rs import DeviceKey, LockVerifier
from py_service.simulators.device_api import ASSERTION_MS, DeviceApi, HoldLease, decode_base64url, encode_base64url
from py_service.simulators.lock import monotonic_ms

LINES = 32
SECONDS, QUICK_SECONDS, ROUNDS = 5.0, 1.5, 3
RATIO_MIN = 0.5
RENEWED_EVERY_SECONDS = 2.0


@dataclass(slots=True)
class Held:
    """One lock whose door is held open."""

    api: DeviceApi
    verifier: LockVerifier
    hold: str
    renew: bytes
    ask_time: bytes


async def hold(http: httpx.AsyncClient, host: str, organization: str, planned: PlannedLock) -> Held:
    """Enrolled, told the time, and with a hold of its own."""
    identity = planned.identity()
    key = DeviceKey.from_seed(identity.seed)
    api = DeviceApi(http, organization, identity.lock, key)
    pinned = await api.configuration()
    verifier = LockVerifier(organization, identity.lock, pinned.key_id, decode_base64url(pinned.public_key), 16)
    nonce = os.urandom(16)
    verifier.begin_time(nonce, monotonic_ms())
    verifier.accept_time(await api.time(nonce), monotonic_ms())
    begun = (await api.hold(None)).hold
    assert begun is not None, f"{planned.door} isn't held open"
    now_ms = time.time_ns() // 1_000_000
    proof = {"organization": organization, "assertion": key.sign_assertion(organization, identity.lock, now_ms, now_ms + 2 * ASSERTION_MS)}
    path = f"/v1/devices/{identity.lock}"
    renew = request(host, f"{path}/hold", {**proof, "hold": begun})
    return Held(api, verifier, begun, renew, request(host, f"{path}/time", {**proof, "nonce": encode_base64url(nonce)}))


def request(host: str, path: str, body: object) -> bytes:
    encoded = msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
    return head.encode() + encoded


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> bytes:
    """The body of a 200."""
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.split(b":")[1]))


async def load(
    url: str, locks: list[Held], sent_by: Callable[[Held], bytes], seconds: float, look: Callable[[Held, bytes], None]
) -> list[float]:
    """Milliseconds of each answer; `look` sees every one."""
    parts, taken = urlsplit(url), list[float]()
    until = time.monotonic() + seconds

    async def line(own: list[Held]) -> None:
        turn = itertools.cycle(own)  # a lock asks one question at a time, as in life
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while time.monotonic() < until:
            held = next(turn)
            began = time.perf_counter_ns()
            body = await exchange(reader, writer, sent_by(held))
            taken.append((time.perf_counter_ns() - began) / 1e6)
            look(held, body)
        writer.close()

    await asyncio.gather(*(line(locks[number::LINES]) for number in range(LINES)))
    return taken


def lease_is_good(held: Held, body: bytes) -> None:
    answer = msgspec.json.decode(body, type=HoldLease)
    assert answer.message is not None and answer.hold == held.hold, answer
    command = held.verifier.take_lease(decode_base64url(answer.message), monotonic_ms())
    assert (command.action, command.id) == ("hold", held.hold)


def time_is_told(held: Held, body: bytes) -> None:
    assert b"message" in body


async def set_mode(http: httpx.AsyncClient, mint: TokenMint, running: RunningStack, mode: str) -> None:
    for lock in running.locks:
        headers = {"Authorization": f"Bearer {mint.token(running.cast.manager)}"}
        (await http.patch(f"/v1/doors/{lock.door}", json={"mode": mode}, headers=headers)).raise_for_status()


async def measure(quick: bool) -> int:
    """0 when every lease was good and renewals kept pace with the ceiling."""
    seconds = QUICK_SECONDS if quick else SECONDS
    async with running_stack() as running, httpx.AsyncClient(base_url=running.stack.api_url, timeout=10.0, trust_env=False) as http:
        mint, url = TokenMint(running.keys, running.cast.organization), running.stack.api_url
        await set_mode(http, mint, running, "unlocked")
        locks = [await hold(http, urlsplit(url).netloc, running.cast.organization, planned) for planned in running.locks]
        renewed, told = list[list[float]](), list[list[float]]()
        for _ in range(ROUNDS):
            renewed.append(await load(url, locks, lambda held: held.renew, seconds, lease_is_good))
            told.append(await load(url, locks, lambda held: held.ask_time, seconds, time_is_told))
        await set_mode(http, mint, running, "locked")
        faults = [held.hold for held in locks if (await held.api.hold(held.hold)).message is not None]
        faults += running.deaths
    per_second, ceiling = (statistics.median(len(found) / seconds for found in rounds) for rounds in (renewed, told))
    every = sorted(itertools.chain.from_iterable(renewed))
    p50, p99 = statistics.median(every), every[len(every) * 99 // 100]
    print(f"renewals: {per_second:,.0f}/s (median of {ROUNDS}), p50 {p50:.1f} ms, p99 {p99:.1f} ms with {LINES} at once")
    print(f"the time: {ceiling:,.0f}/s; ratio {per_second / ceiling:.2f}; {len(every):,} leases verified by a lock")
    print(f"renewed every {RENEWED_EVERY_SECONDS:g} s: {per_second * RENEWED_EVERY_SECONDS:,.0f} doors would take all of this machine")
    if per_second < RATIO_MIN * ceiling:
        faults.append(f"renewals are {per_second / ceiling:.2f} of the ceiling, {RATIO_MIN:g} is wanted")
    for fault in faults[:5]:
        print(f"MISSED: {fault}")
    if not faults:
        print(f"at least {RATIO_MIN:g} of the ceiling: met; no door was held once its mode was `locked`")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Leases of doors that are held open, renewed over HTTP.")
    parser.add_argument("--quick", action="store_true", help="shorter rounds")
    sys.exit(uvloop.run(measure(parser.parse_args().quick)))
