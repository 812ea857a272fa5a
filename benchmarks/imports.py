"""Bulk import over HTTP through every process: rows a second, and what unlocks and other changes wait meanwhile.

    before      unlocks at 50/s and changes of persons at 5/s of the same organization, nothing else
    batches     the same, while 10,000 persons (CSV, with an address and two groups each) are imported by the worker
    staged      the same, all or nothing: none of them shows before the end, and all of them do from one revision on

Latency counts from the moment at which a request was due. Afterwards every row's result is read, and the persons are counted in the store.
`--rows 100000` takes as many rows as an import may have.

What doesn't live here: the form of rows (`tests/property/test_import_rows.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import uvloop

from loadtests.gate import figures
from loadtests.stack import RunningStack, running_stack
from loadtests.tokens import TokenMint
from py_service.imports.messages import TEXT_CHARACTERS_MAX
from py_service.stores.mongo import find_by_ids

ROWS = 10_000
ROWS_PER_SECOND_MIN = 500.0
UNLOCK_P99_MS_MAX = 250.0  # of those beside an import; without one the gate is that of unlock_http.py
UNLOCKS_PER_SECOND, CHANGES_PER_SECOND = 50.0, 5.0
BEFORE_SECONDS = 5.0
POLL_SECONDS = 0.1
IMPORT_SECONDS_MAX = 600.0
STORED_AT_ONCE = 1_000
COMMITTED = {200, 202}


@dataclass(slots=True)
class Beside:
    """What goes on while rows are imported. `faults`: answers that were not right."""

    unlocks_ms: list[float] = field(default_factory=list)
    changes_ms: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def told(self) -> str:
        """In one line."""
        unlocks, changes = figures(self.unlocks_ms), figures(self.changes_ms)
        return (
            f"unlocks p50 {unlocks.median:.1f} ms, p99 {unlocks.p99:.1f}; "
            f"changes p50 {changes.median:.1f} ms, p99 {changes.p99:.1f}, worst {max(self.changes_ms, default=0.0):.1f}; "
            f"{len(self.faults)} failed of {len(self.unlocks_ms) + len(self.changes_ms)}"
        )


@dataclass(slots=True)
class Client:
    """The manager and the residents of the load test's organization."""

    running: RunningStack
    http: httpx.AsyncClient
    mint: TokenMint

    async def ask(self, method: str, path: str, person: str, json: object = None) -> httpx.Response:
        return await self.http.request(method, path, json=json, headers={"Authorization": f"Bearer {self.mint.token(person)}"})

    async def manage(self, method: str, path: str, json: object = None) -> dict[str, Any]:
        """Raises httpx.HTTPStatusError."""
        answer = (await self.ask(method, path, self.running.cast.manager, json)).raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    async def unlock(self, number: int) -> str | None:
        """What was wrong, or None."""
        cast = self.running.cast
        door = cast.doors[number % len(cast.doors)]
        answer = await self.ask("POST", f"/v1/doors/{door}/unlock", cast.residents[number % len(cast.residents)])
        return None if answer.status_code in COMMITTED else answer.text

    async def change(self, number: int) -> str | None:
        """What was wrong, or None."""
        person = self.running.cast.strangers[number % len(self.running.cast.strangers)]
        answer = await self.ask("PATCH", f"/v1/persons/{person}", self.running.cast.manager, {"name": f"Stranger {number}"})
        return None if answer.status_code == 200 else answer.text


async def beside(client: Client, until: asyncio.Event) -> Beside:
    """Both kinds of requests, each when it is due, until the event is set."""
    found = Beside()
    under_way: set[asyncio.Task[None]] = set()

    async def timed(due: float, number: int, unlocks: bool) -> None:
        try:
            fault = await (client.unlock(number) if unlocks else client.change(number))
        except httpx.HTTPError as error:
            fault = repr(error)
        (found.unlocks_ms if unlocks else found.changes_ms).append((time.perf_counter() - due) * 1_000)
        if fault is not None:
            found.faults.append(fault)

    async def in_time(per_second: float, unlocks: bool) -> None:
        began = time.perf_counter()
        for number in count():
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if until.is_set():
                return
            task = asyncio.create_task(timed(due, number, unlocks))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    await asyncio.gather(in_time(UNLOCKS_PER_SECOND, True), in_time(CHANGES_PER_SECOND, False))
    await asyncio.gather(*under_way)
    return found


def persons(prefix: str, rows: int) -> str:
    """CSV."""
    return "id,name,email,groups\n" + "".join(
        f"{prefix}-{number},Person {prefix} {number},{prefix}-{number}@import.example,bench-a;bench-b\n" for number in range(rows)
    )


async def import_all(client: Client, prefix: str, rows: int, all_or_nothing: bool) -> tuple[float, dict[str, Any]]:
    """Seconds from the start of the import to its end, and the import. Raises TimeoutError."""
    text = persons(prefix, rows)
    begun = await client.manage("POST", "/v1/imports", {"kind": "persons", "format": "csv", "all_or_nothing": all_or_nothing})
    one = f"/v1/imports/{begun['id']}"
    for number, start in enumerate(range(0, len(text), TEXT_CHARACTERS_MAX), 1):
        await client.manage("PUT", f"{one}/parts/{number}", {"text": text[start : start + TEXT_CHARACTERS_MAX]})
    began = time.perf_counter()
    await client.manage("POST", f"{one}/start")
    async with asyncio.timeout(IMPORT_SECONDS_MAX):
        while True:
            with contextlib.suppress(httpx.RemoteProtocolError):  # a connection that was idle is closed by the server as it is used again
                found = await client.manage("GET", one)
                if found["ended_at"] is not None:
                    return time.perf_counter() - began, found
            await asyncio.sleep(POLL_SECONDS)  # as an administrator's page would ask


async def is_whole(client: Client, found: dict[str, Any], prefix: str, rows: int) -> list[str]:
    """What is wrong with what was imported: every row's result, and the persons in the store."""
    faults = [] if (found["state"], found["rows_applied"], found["rows_refused"]) == ("ended", rows, 0) else [str(found)]
    created: list[object] = []
    cursor = ""
    while True:
        page = await client.manage("GET", f"/v1/imports/{found['id']}/results?limit=200{cursor}")
        created += [item["id"] for item in page["items"] if item["outcome"] == "created"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    if created != [f"{prefix}-{number}" for number in range(rows)]:
        faults.append(f"{prefix}: {len(created)} results of rows that were created, in the order of the file")
    stored = 0
    for start in range(0, rows, STORED_AT_ONCE):
        ids = [f"{client.running.cast.organization}:{prefix}-{number}" for number in range(start, min(start + STORED_AT_ONCE, rows))]
        stored += len(await find_by_ids(client.running.mongo.database, "persons", ids))
    return faults if stored == rows else [*faults, f"{prefix}: {stored} persons in the store"]


async def measure(rows: int) -> int:
    """0 when rows are quick enough, unlocks don't wait, and everything is there."""
    async with running_stack() as running, httpx.AsyncClient(base_url=running.stack.api_url, timeout=30.0, trust_env=False) as http:
        client = Client(running, http, TokenMint(running.keys, running.cast.organization))
        for group in ("bench-a", "bench-b"):
            await client.manage("POST", "/v1/groups", {"id": group, "name": group})
        quiet = asyncio.Event()
        asyncio.get_running_loop().call_later(BEFORE_SECONDS, quiet.set)
        before = await beside(client, quiet)
        print(f"before: {before.told()}")
        faults = list(before.faults)
        per_second, worst_p99_ms = float("inf"), 0.0
        for prefix, whole in (("batch", False), ("whole", True)):
            over = asyncio.Event()
            meanwhile = asyncio.create_task(beside(client, over))
            try:
                seconds, found = await import_all(client, prefix, rows, whole)
            finally:
                over.set()
                told = await meanwhile
            how = "all or nothing" if whole else "in batches"
            print(f"{rows:,} persons {how}: {seconds:.1f} s, {rows / seconds:,.0f} rows/s; {told.told()}")
            faults += told.faults + await is_whole(client, found, prefix, rows)
            per_second, worst_p99_ms = min(per_second, rows / seconds), max(worst_p99_ms, figures(told.unlocks_ms).p99)
        faults += running.deaths
    for fault in faults[:5]:
        print(f"FAULT: {fault}")
    print(f"asked: {ROWS_PER_SECOND_MIN:,.0f} rows/s in batches, unlocks meanwhile at p99 {UNLOCK_P99_MS_MAX:.0f} ms at most")
    return 0 if not faults and per_second >= ROWS_PER_SECOND_MIN and worst_p99_ms <= UNLOCK_P99_MS_MAX else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    sys.exit(uvloop.run(measure(parser.parse_args().rows)))
