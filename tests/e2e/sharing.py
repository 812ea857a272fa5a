"""What the tests of passes ask for: a running service, and the requests of whoever gives, accepts and uses a pass."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.e2e.running import Service

SITE = "berlin"
TRIES_MAX, LATE = 4, ("door_unreachable", "command_expired")
SOON = datetime.now(UTC).replace(microsecond=0)


def at(hours: float) -> str:
    """From now, on the full second."""
    return (SOON + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Passes:
    """The running service, a client, and who is asked for what."""

    service: Service
    http: httpx.AsyncClient
    doors: list[str]

    async def ask(
        self, method: str, path: str, person: str | None = None, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """By the owner, unless somebody else is named."""
        known = self.service.owner() if person is None else self.service.headers(person)
        return await self.http.request(method, path, json=body, headers=known | (headers or {}))

    async def give(self, person: str | None = None, path: str = "/v1/passes", **terms: object) -> dict[str, Any]:
        """A new pass. Raises AssertionError when it is refused."""
        answer = await self.ask("POST", path, person, {"name": "A visit", "doors": self.doors[:1], "valid_until": at(24)} | terms)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        assert answer.headers["location"] == f"/v1/passes/{told['id']}"
        return told

    async def accept(self, given: dict[str, Any], person: str | None = None, key: str | None = None, **body: object) -> httpx.Response:
        """By a guest, unless a person is named."""
        headers = {} if key is None else {"Idempotency-Key": key}
        body |= {"token": given["link"].rpartition("#")[2]}
        if person is None:
            return await self.http.post("/v1/passes/accept", json=body, headers=headers)
        return await self.http.post("/v1/me/passes", json=body, headers=headers | self.service.headers(person))

    async def held(self, given: dict[str, Any], person: str | None = None) -> dict[str, Any]:
        """Accepted: what the receiver is told. Raises AssertionError when it is refused."""
        answer = await self.accept(given, person)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def unlock(self, person: str, door: str, http: httpx.AsyncClient | None = None) -> tuple[int, str]:
        """Status, and what came of it. A door that a busy machine didn't reach in time is asked again: its use was given back."""
        headers = self.service.headers(person) | {"Prefer": "wait=5"}
        for tries in itertools.count(1):
            answer = await (http or self.http).post(f"/v1/doors/{door}/unlock", headers=headers)
            told = answer.json()
            state = str(told.get("code") or told["state"])
            if state != "unlocked.failed" or told["reason"] not in LATE or tries == TRIES_MAX:
                return answer.status_code, state
            await asyncio.sleep(0.3)
        raise AssertionError("counted to its end")

    async def read(self, identifier: str, person: str | None = None) -> dict[str, Any]:
        answer = await self.ask("GET", f"/v1/passes/{identifier}", person)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def revision(self) -> int:
        found = await self.service.database["revisions"].find_one({"_id": self.service.demo.id})
        assert found is not None
        return int(found["revision"])


OPENED, NO_GRANT = (200, "unlocked"), (403, "no_grant")


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json().get("code"))


async def doors_of(service: Service, site: str) -> list[str]:
    """Those of the demonstration's doors at this site whose locks are there."""
    found = service.database["doors"].find({"org": service.demo.id})
    return sorted([str(door["id"]) async for door in found if door["site"] == site])
