"""Examples, made from the examples of the fields. A test holds every one against its schema, and every body against its decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_service.edge.openapi.schemas import Schema, Schemas

# For fields whose type has no example of its own: by name, as they would stand in an answer of the demonstration's organization.
BY_NAME: dict[str, object] = {
    "name": "Main entrance",
    "email": "nora.lind@nordlicht.example",
    "address": "Invalidenstrasse 44, 10115 Berlin",
    "time_zone": "Europe/Berlin",
    "person": "p-0002",
    "door": "berlin-main-entrance",
    "site": "berlin",
    "area": "berlin-lobby",
    "lock": "lock-berlin-main-entrance",
    "organization": "nordlicht",
    "actor": "p-0001",
    "subject": "p-0002",
    "attempt": "unlocks-6bf1c2a09d3e4f58:000000000042:000",
    "reason": "granted",
    "used_by": "grant",
    "missing": "mongo",
    "rule": "g-0002",
    "state": "unlocked",
    "phase": "committed",
    "step": "site_locked_down",
    "detail": "berlin is not locked down",
    "local_time": "2027-01-31T19:00:00+01:00[Europe/Berlin]",
    "role": "reception",
    "process": "api-71-3f9c2d4e",
    "password": "correct horse battery staple",
    "token": "eyJhbGciOiJFZERTQSIsImtpZCI6ImFjY2Vzcy4xIiwidHlwIjoiSldUIn0.eyJ...",
    "access_token": "eyJhbGciOiJFZERTQSIsImtpZCI6ImFjY2Vzcy4xIiwidHlwIjoiSldUIn0.eyJ...",
    "assertion": "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJ...",
    "refresh_token": "rZ0Jf1mB0nHqkzv0qg1Zk1c1Hk0u4yE8o9mFZC1vA2w",
    "nonce": "AAECAwQFBgcICQoLDA0ODw",
    "message": "0oRYKKMBJwN4HGFwcGxpY2F0aW9uL25leGtleS10aW1lK2N3dA...",
    "topics": "organizations/nordlicht/persons/p-0002/events",
    "next_cursor": "bjE6bWFpbiBlbnRyYW5jZTpiZXJsaW4tbWFpbi1lbnRyYW5jZQ",
    "key_id": "nordlicht.1",
    "kid": "access.1",
    "kty": "OKP",
    "crv": "Ed25519",
    "alg": "EdDSA",
    "use": "sig",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "public_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kind": "authorized",
    "revision": 1_804,
    "milliseconds": 4.217,
    "level": 1,
}
NOT_YET = {"ended_at"}  # what a living thing does not have


def example_of(schemas: Schemas, schema: Schema, given: Mapping[str, object] | None = None, name: str = "") -> Any:
    """A value of this schema. `given`: members that are known already; `name`: of the field where it stands."""
    schema = schemas.resolved(schema)
    if "properties" in schema:
        known = given or {}
        return {
            member: known[member] if member in known else example_of(schemas, inner, None, member)
            for member, inner in schema["properties"].items()
        }
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return BY_NAME[name] if BY_NAME.get(name) in schema["enum"] else schema["enum"][0]
    if "anyOf" in schema:
        if name in NOT_YET:
            return None
        return example_of(schemas, next(choice for choice in schema["anyOf"] if choice.get("type") != "null"), None, name)
    return _plain(schemas, schema, name)


def _plain(schemas: Schemas, schema: Schema, name: str) -> object:
    kind = schema.get("type")
    if kind == "array":
        return [example_of(schemas, schema["items"], None, name)] if schema.get("maxItems") != 0 else []
    if kind == "boolean":
        return schema.get("default", True)
    if kind in ("integer", "number"):
        found = BY_NAME.get(name)
        return found if isinstance(found, int | float) else schema.get("minimum", 1)
    if kind == "string":
        return str(BY_NAME.get(name, name or "text"))
    return {}
