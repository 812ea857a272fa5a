"""HTTP operations of API keys: decode, one call, encode."""

from __future__ import annotations

import datetime
from typing import Any, TypeVar

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.identity import api_key_messages as told
from py_service.identity.api_key_messages import (
    ApiKey,
    ApiKeyChanged,
    ApiKeyMade,
    ApiKeyPage,
    ApiKeyPatch,
    ApiKeyRevoked,
    ApiKeySecret,
    NewApiKey,
    Rotation,
)
from py_service.identity.api_key_uses import KeyUses
from py_service.identity.api_keys import KIND, PERMISSION, ChangeKey, MakeKey, RevokeKey, RotateKey
from py_service.permissions.change import Actor, Change, Changed
from py_service.permissions.lane import ChangeLane
from py_service.permissions.match import etag, read_if_match
from py_service.permissions.pages import ListObjects, keeping, read_query
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

_NEW = msgspec.json.Decoder(NewApiKey)
_PATCH = msgspec.json.Decoder(ApiKeyPatch)
_ROTATION = msgspec.json.Decoder(Rotation)
BODY_BYTES_MAX = 16_384
Shown = TypeVar("Shown", bound=ApiKey)


class ApiKeyHandlers:
    """The routes of API keys."""

    def __init__(self, lane: ChangeLane, index: PermissionIndex, mongo: Mongo, uses: KeyUses) -> None:
        self._lane = lane
        self._index = index
        self._mongo = mongo
        self._uses = uses
        self._list = ListObjects(mongo)

    def routes(self) -> list[Route]:
        """Changes aren't fenced at the edge: their own transaction validates the caller."""
        every, one = "/v1/api-keys", "/v1/api-keys/{api_key}"
        return [
            Route("GET", every, self.read_list, body_bytes_max=0, about=told.LIST),
            Route("POST", every, self.make, fenced=False, body_bytes_max=BODY_BYTES_MAX, about=told.MAKE),
            Route("GET", one, self.read, body_bytes_max=0, about=told.READ),
            Route("PATCH", one, self.change, fenced=False, body_bytes_max=BODY_BYTES_MAX, about=told.CHANGE),
            Route("POST", f"{one}/rotate", self.rotate, fenced=False, body_bytes_max=4_096, about=told.ROTATE),
            Route("DELETE", one, self.revoke, fenced=False, body_bytes_max=0, about=told.REVOKE),
        ]

    async def read_list(self, request: Request) -> Response:
        """GET /v1/api-keys"""
        self._require(request)
        organization = request.caller().organization
        asked = read_query(KIND, told.LIST.query, request.query, None, judged=("active",))
        active = asked.judged.get("active")
        keep = None if active is None else keeping(lambda document: bool(document["active"]) == (active == "true"))
        documents, cursor = await self._list(organization, KIND, asked, keep)
        used = await self._uses.last(organization, [str(document["id"]) for document in documents])
        return encoded(200, ApiKeyPage([_shown(document, used, ApiKey) for document in documents], cursor))

    async def make(self, request: Request) -> Response:
        """POST /v1/api-keys"""
        values = _stored(msgspec.structs.asdict(decoded(_NEW, request.body)))
        changed = await self._submit(request, MakeKey(values.pop("id"), values))
        return self._with_key(changed, 201, {"Location": f"/v1/api-keys/{(changed.result or {})['id']}"})

    async def read(self, request: Request) -> Response:
        """GET /v1/api-keys/{api_key}: also one that was revoked, with its `ended_at`."""
        self._require(request)
        organization, key = request.caller().organization, request.parameters[KIND]
        async with store_errors():
            found = await read_object(self._mongo, organization, KIND, key)
        if found is None:
            raise unknown(KIND)
        return encoded(200, _shown(found, await self._uses.last(organization, [key]), ApiKey), {"ETag": etag(found)})

    async def change(self, request: Request) -> Response:
        """PATCH /v1/api-keys/{api_key}"""
        sent = msgspec.structs.asdict(decoded(_PATCH, request.body))
        values = _stored({name: value for name, value in sent.items() if value is not msgspec.UNSET})
        key = request.parameters[KIND]
        changed = await self._submit(request, ChangeKey(key, values, read_if_match(request.headers.get("if-match"))))
        document = changed.result or {}
        used = await self._uses.last(request.caller().organization, [key])
        effective_by = moment(changed.effective_by_ms)
        return encoded(200, _shown(document, used, ApiKeyChanged, effective_by=effective_by), {"ETag": etag(document)})

    async def rotate(self, request: Request) -> Response:
        """POST /v1/api-keys/{api_key}/rotate"""
        rotation = decoded(_ROTATION, request.body or b"{}")
        if_match = read_if_match(request.headers.get("if-match"))
        changed = await self._submit(request, RotateKey(request.parameters[KIND], 1_000 * rotation.overlap_seconds, if_match))
        return self._with_key(changed, 200, {})

    async def revoke(self, request: Request) -> Response:
        """DELETE /v1/api-keys/{api_key}"""
        key = request.parameters[KIND]
        changed = await self._submit(request, RevokeKey(key, read_if_match(request.headers.get("if-match"))))
        return encoded(200, ApiKeyRevoked(key, changed.revision, moment(changed.effective_by_ms)))

    def _require(self, request: Request) -> None:
        caller = request.caller()
        decision = self._index.check_role(caller.organization, caller.subject, PERMISSION, None, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {PERMISSION}.")

    async def _submit(self, request: Request, change: Change) -> Changed:
        actor = Actor.of(request.caller())
        return await self._lane.submit(actor.organization, actor, change)

    def _with_key(self, changed: Changed, status: int, headers: dict[str, str]) -> Response:
        """Made of the change alone, so that a repeat with the same Idempotency-Key shows the same key."""
        document = changed.result or {}
        made = _shown(document, {}, ApiKeyMade, key=document["key"], effective_by=moment(changed.effective_by_ms))
        return encoded(status, made, {**headers, "ETag": etag(document)})


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    """Moments as they are stored, in milliseconds."""
    return {
        name: int(value.timestamp() * 1_000) if isinstance(value, datetime.datetime) else value for name, value in values.items()
    }  # fmt: skip


def _shown(document: Document, used: dict[str, int], kind: type[Shown], **more: Any) -> Shown:
    """A stored key as it is read: never a hash of it."""
    now = now_ms()
    named = {name: document[name] for name in ("id", "name", "scopes", "sites", "active", "created_by")}
    live = [secret for secret in document["secrets"] if secret["ends_at"] is None or secret["ends_at"] > now]
    return kind(
        **named, **more,
        expires_at=moment(document["expires_at"]), created_at=moment(document["created_at"]), changed_at=moment(document["changed_at"]),
        ended_at=moment_or_none(document.get("ended_at")), last_used_at=moment_or_none(used.get(str(document["id"]))),
        secrets=[ApiKeySecret(moment(secret["created_at"]), moment_or_none(secret["ends_at"])) for secret in live],
        revision=int(document["revision"]),
    )  # fmt: skip
