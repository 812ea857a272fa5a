"""Somebody who manages an organization over HTTP, for tests: calls as one person, and what a person meets at a door."""

from __future__ import annotations

import httpx

from tests.e2e.running import Service, random_key

DOOR = "berlin-main-entrance"


class Manager:
    """Calls as one person, of the demonstration's organization if no other is said."""

    def __init__(self, service: Service, http: httpx.AsyncClient, person: str, organization: str | None = None) -> None:
        self.service, self.http, self.person, self.organization = service, http, person, organization

    @property
    def headers(self) -> dict[str, str]:
        """With a fresh token."""
        return self.service.headers(self.person, self.organization)

    async def __call__(
        self, method: str, path: str, status: int, json: object = None, code: str | None = None, **headers: str
    ) -> dict[str, object]:
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.request(method, path, json=json, headers=sent)
        body: dict[str, object] = answer.json()
        assert (answer.status_code, body.get("code")) == (status, code), f"{method} {path}: {answer.status_code} {answer.text}"
        self.etag = answer.headers.get("etag", "")
        return body

    async def names(self, path: str) -> list[str]:
        """Names of a list, page after page of two."""
        found: list[str] = []
        cursor = ""
        while True:
            page = await self("GET", f"{path}{'&' if '?' in path else '?'}limit=2{cursor}", 200)
            items = page["items"]
            assert isinstance(items, list) and len(items) <= 2
            found += [item["name"] for item in items]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"


def stranger(number: int) -> str:
    return f"stranger-{number}"


async def unlocks(service: Service, http: httpx.AsyncClient, person: str, door: str = DOOR) -> str:
    """`granted`, or the reason."""
    headers = service.headers(person) | {"Prefer": "wait=3", "Idempotency-Key": random_key()}
    answer = await http.post(f"/v1/doors/{door}/unlock", headers=headers)
    body = answer.json()
    return "granted" if answer.status_code in (200, 202) else str(body["code"])
