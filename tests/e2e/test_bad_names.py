"""Names that deceive or break what shows them, wherever a name fits: generated from the document of the running service.

Every string of every body that isn't known to be something else is a name: a new field is tried from its first day. Each bad one is
refused with the code that is documented, as a change and in a preview of it, and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from py_service.permissions.text import NAME_CHARACTERS_MAX
from tests.e2e.conformance import conformance_of
from tests.e2e.described import KIND, Described, made_objects, operations, placed, resolved
from tests.e2e.evidence import projected, standing
from tests.e2e.running import Service, device_key, random_key, running_service
from tests.e2e.sharing import Passes, doors_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SURROGATE = "\ud800"  # alone: JSON has an escape for it, and UTF-8 has none
BAD = {
    "a bell": "a\u0007b",
    "NUL": "a\u0000b",
    "a line feed": "a\nb",
    "an override of the reading direction": "a\u202eb",
    "nothing to be seen": "\u200b",
    "blanks": "   ",
    "one character too many": "x" * (NAME_CHARACTERS_MAX + 1),
}
# Strings that aren't names: by their field, or by operation and field where the word alone says too little.
NO_NAMES = {
    "email": "an address has a form of its own: 422 email_invalid",
    "time_zone": "one of those that there are: 422 time_zone_unknown",
    "token": "a secret, looked up by its hash",
    "refresh_token": "a secret, looked up by its hash",
    "password": "a secret: only its hash is kept, and any character makes it better",
    "PUT /v1/me/password old": "a secret",
    "PUT /v1/me/password new": "a secret",
    "assertion": "a signed proof",
    "nonce": "bytes, in base64url",
    "POST /v1/devices/{device}/hold hold": "the command of a hold, which is looked up",
    "POST /v1/access/preview changes/0/if_match": "an ETag, compared",
    "POST /v1/imports text": "a file with line feeds: the names in its rows are judged row by row",
    "PUT /v1/imports/{import}/parts/{part} text": "likewise",
}
OBJECTS = {
    "areas": "area", "calendars": "calendar", "devices": "device", "doors": "door", "floors": "floor", "groups": "group",
    "persons": "person", "schedules": "schedule", "sites": "site", "api-keys": "api_key", "lockdown-plans": "lockdown_plan",
    "passes": "pass", "operator/organizations": "organization",
}  # fmt: skip
KNOWN = {
    *((f"POST /v1/{objects}", "name") for objects in OBJECTS),
    *((f"PATCH /v1/{objects}/{{{kind}}}", "name") for objects, kind in OBJECTS.items()),
    ("POST /v1/sites", "address"), ("PATCH /v1/sites/{site}", "address"), ("PATCH /v1/organization", "name"),
    ("POST /v1/operator/organizations", "owner/name"), ("POST /v1/invitations", "name"), ("POST /v1/passes/accept", "name"),
    ("POST /v1/passes/{pass}/pass-on", "name"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """Where a string stands in a body. `way`: as in `owner/name`; `characters_max`: of its schema."""

    described: Described
    way: str
    characters_max: int

    @property
    def key(self) -> tuple[str, str]:
        return self.described.name, self.way


@dataclass(frozen=True, slots=True)
class Namers:
    """A service, an owner of the operator's organization that has objects of every kind, and what each operation needs beside that."""

    service: Service
    http: httpx.AsyncClient
    operations: list[Described]
    known: dict[str, str]
    held: dict[str, str]  # `pass` and `person`: of a pass that this person has accepted
    token: str  # of a pass that nobody has accepted

    def names(self) -> list[Field]:
        return [field for described in self.operations for field in strings_of(described) if not said_of(field)]

    async def send(self, field: Field, text: str) -> httpx.Response:
        """The good request with this text in that field. The body is ASCII: a lone surrogate is an escape."""
        asking = field.described.good(self.known)
        headers = self.service.owner()
        body = fresh(asking.body)
        if field.described.name == "POST /v1/passes/accept":
            headers, body = {}, {**body, "token": self.token}
        elif field.described.path.endswith("/pass-on"):
            headers = self.service.headers(self.held["person"])
            asking.identifiers["pass"] = self.held["pass"]
        content = json.dumps(placed(body, field.way, text))
        path = asking.path.format(**asking.identifiers)
        return await self.http.request(asking.method, path, content=content, headers=headers | {"Content-Type": "application/json"})

    async def preview(self, field: Field, text: str) -> httpx.Response:
        asking = field.described.good(self.known)
        body = placed(fresh(asking.body), field.way, text)
        change = {"method": asking.method, "path": asking.path.format(**asking.identifiers), "body": body}
        headers = self.service.owner() | {"Content-Type": "application/json"}
        return await self.http.post("/v1/access/preview", content=json.dumps({"changes": [change]}), headers=headers)


def fresh(body: dict[str, Any]) -> dict[str, Any]:
    """With another identifier, address and key than the example's, which are an object's already."""
    anew = {"email": f"{random_key()}@nordlicht.example", "public_key": device_key()}
    return {name: anew.get(name, value) for name, value in body.items() if name != "id"}


def strings_of(described: Described) -> Iterator[Field]:
    """Every string of the body that may hold any text: no pattern, no format, no choice, no identifier."""
    for media in described.operation.get("requestBody", {}).get("content", {}).values():
        for way, schema in strings_in(described, media["schema"], ""):
            yield Field(described, way, schema.get("maxLength", 0))


def strings_in(described: Described, schema: Any, way: str) -> Iterator[tuple[str, dict[str, Any]]]:
    schema = resolved(described.document, schema)
    types = schema.get("type", ())
    if "string" in ([types] if isinstance(types, str) else types) and not schema.keys() & {"pattern", "format", "enum", "const", KIND}:
        yield way.strip("/"), schema
    for member, inner in schema.get("properties", {}).items():
        yield from strings_in(described, inner, f"{way}/{member}")
    if "items" in schema:
        yield from strings_in(described, schema["items"], f"{way}/0")
    for inner in (*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])):
        yield from strings_in(described, inner, way)


def said_of(field: Field) -> str | None:
    """Under which key it is told that this is no name; None: it is one."""
    keys = (f"{field.described.name} {field.way}", field.way.rpartition("/")[2])
    return next((key for key in keys if key in NO_NAMES), None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def namers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Namers]:
    folder = tmp_path_factory.mktemp("bad-names")
    async with running_service(folder, locks=False, doors=4, persons=12, strangers=1, operator_organization="nordlicht") as service:
        conformance = await conformance_of(service)
        described = operations(conformance.document)
        async with service.client(hook=conformance.hook) as http:
            known = dict[str, str]()
            await made_objects(http, described, service.owner(), known)
            passes = Passes(service, http, await doors_of(service, "berlin"))
            held = await passes.give(passes_on_max=1, uses=5)
            await passes.held(held, "stranger-0")
            open_pass = await passes.give()
            await projected(service)
            token = open_pass["link"].rpartition("#")[2]
            yield Namers(service, http, described, known, {"pass": held["id"], "person": "stranger-0"}, token)


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(namers: Namers) -> AsyncIterator[None]:
    """Whatever the test asks for: everything that is stored stays as it is, byte for byte."""
    before = await standing(namers.service)
    assert {"persons", "sites", "passes", "api_keys", "invitations", "organizations", "changes"} <= before.keys()
    yield
    after = await standing(namers.service)
    assert [collection for collection in before.keys() | after.keys() if before.get(collection) != after.get(collection)] == []


async def test_what_is_said_to_be_no_name_is_there(namers: Namers) -> None:
    """And every name says how long it may be."""
    said = {said_of(field) for described in namers.operations for field in strings_of(described)} - {None}
    assert said == NO_NAMES.keys()
    assert [field.key for field in namers.names() if field.characters_max < NAME_CHARACTERS_MAX] == []


async def test_a_bad_name_is_refused_wherever_a_name_fits(namers: Namers, unchanged: None) -> None:
    """Every field of every operation, the rest of whose body is good: the refusal names the field."""
    tried = set()
    for field in namers.names():
        for what, text in BAD.items():
            answer = await namers.send(field, text)
            told = (answer.status_code, answer.json().get("code"))
            assert told == (422, "name_invalid"), (field.key, what, answer.text)
            assert answer.json()["detail"].startswith(f"{field.way.replace('/', '.')} "), (field.key, what, answer.text)
        answer = await namers.send(field, "x" * (field.characters_max + 1))
        assert (answer.status_code, answer.json().get("code")) == (400, "field_invalid"), (field.key, answer.text)
        assert f"`$.{field.way.replace('/', '.')}`" in answer.json()["detail"], (field.key, answer.text)
        answer = await namers.send(field, f"a{SURROGATE}b")
        assert (answer.status_code, answer.json().get("code")) == (400, "body_malformed"), (field.key, answer.text)
        tried.add(field.key)
    assert tried >= KNOWN, KNOWN - tried


async def test_a_preview_of_a_bad_name_is_refused_as_the_change_is(namers: Namers, unchanged: None) -> None:
    """A preview's schema takes any body, so the document doesn't show the names in it."""
    tried = set()
    for field in namers.names():
        good = await namers.preview(field, "A good name")
        if good.json().get("code") == "not_previewable":
            continue
        assert good.status_code == 200, (field.key, good.text)
        for what, text in (*BAD.items(), ("far too many characters", "x" * (field.characters_max + 1)), ("half a pair", f"a{SURROGATE}b")):
            answer = await namers.preview(field, text)
            code = {"far too many characters": "field_invalid", "half a pair": "body_malformed"}.get(what, "name_invalid")
            status = 422 if code == "name_invalid" else 400
            assert (answer.status_code, answer.json().get("code")) == (status, code), (field.key, what, answer.text)
        tried.add(field.key)
    assert len(tried) >= 23, sorted(tried)


async def test_a_good_name_is_taken_wherever_a_name_fits(namers: Namers) -> None:
    """So that what is refused is refused for its name: the same requests, the longest name there is."""
    for field in namers.names():
        answer = await namers.send(field, "\u00e4" * NAME_CHARACTERS_MAX)
        assert answer.is_success, (field.key, answer.text)
