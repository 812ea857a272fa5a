"""HTTP operations of lockdown plans: decode, one call, encode."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.access import plan_messages as told
from py_service.access.engage import SetEngaged
from py_service.access.lockdown_plan import KIND, ChangePlan, CreatePlan, EndPlan
from py_service.access.messages import ChangeResult
from py_service.access.plan_messages import LockdownPlan, LockdownPlanPage, LockdownPlanPatch, LockdownPlanSet, NewLockdownPlan
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.permissions.change import Actor, Change, Changed, Submitter
from py_service.permissions.match import etag, read_if_match
from py_service.permissions.pages import ListObjects, read_query
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

_NEW = msgspec.json.Decoder(NewLockdownPlan)
_PATCH = msgspec.json.Decoder(LockdownPlanPatch)
Shown = TypeVar("Shown", bound=LockdownPlan)


class LockdownPlanHandlers:
    """A role for some sites sees the plans all of whose sites are among them."""

    def __init__(self, lane: Submitter, index: PermissionIndex, mongo: Mongo) -> None:
        self._lane = lane
        self._index = index
        self._mongo = mongo
        self._list = ListObjects(mongo)

    def routes(self) -> list[Route]:
        every, one = "/v1/lockdown-plans", "/v1/lockdown-plans/{lockdown_plan}"
        return [
            Route("GET", every, self.read_list, body_bytes_max=0, about=told.LIST),
            Route("POST", every, self.create, fenced=False, about=told.CREATE),
            Route("GET", one, self.read, body_bytes_max=0, about=told.READ),
            Route("PATCH", one, self.change, fenced=False, about=told.CHANGE),
            Route("DELETE", one, self.end, fenced=False, body_bytes_max=0, about=told.END),
            Route("POST", f"{one}/engage", self.engage, fenced=False, body_bytes_max=0, about=told.ENGAGE),
            Route("POST", f"{one}/release", self.release, fenced=False, body_bytes_max=0, about=told.RELEASE),
        ]

    async def read_list(self, request: Request) -> Response:
        """GET /v1/lockdown-plans"""
        sites = self._reach(request)
        asked = read_query(KIND, told.LIST.query, request.query, sites)
        documents, cursor = await self._list(request.caller().organization, KIND, asked)
        return encoded(200, LockdownPlanPage([_plan(document, LockdownPlan) for document in documents], cursor))

    async def create(self, request: Request) -> Response:
        """POST /v1/lockdown-plans"""
        values = msgspec.structs.asdict(decoded(_NEW, request.body))
        identifier = values.pop("id")
        changed = await self._submit(request, CreatePlan(identifier, values))
        document = changed.result or {}
        return _shown(document, 201, {"Location": f"/v1/lockdown-plans/{document['id']}"})

    async def read(self, request: Request) -> Response:
        """GET /v1/lockdown-plans/{lockdown_plan}"""
        sites = self._reach(request)
        async with store_errors():
            found = await read_object(self._mongo, request.caller().organization, KIND, request.parameters[KIND])
        if found is None or (sites is not None and not set(found["at_sites"]) <= set(sites)):
            raise unknown(KIND)
        return _shown(found, 200, {})

    async def change(self, request: Request) -> Response:
        """PATCH /v1/lockdown-plans/{lockdown_plan}"""
        sent = msgspec.structs.asdict(decoded(_PATCH, request.body))
        values = {name: value for name, value in sent.items() if value is not msgspec.UNSET}
        change = ChangePlan(request.parameters[KIND], values, read_if_match(request.headers.get("if-match")))
        return _shown((await self._submit(request, change)).result or {}, 200, {})

    async def end(self, request: Request) -> Response:
        """DELETE /v1/lockdown-plans/{lockdown_plan}"""
        identifier = request.parameters[KIND]
        changed = await self._submit(request, EndPlan(identifier, read_if_match(request.headers.get("if-match"))))
        return encoded(200, ChangeResult(id=identifier, revision=changed.revision, effective_by=moment(changed.effective_by_ms)))

    async def engage(self, request: Request) -> Response:
        """POST /v1/lockdown-plans/{lockdown_plan}/engage"""
        return await self._set_engaged(request, True)

    async def release(self, request: Request) -> Response:
        """POST /v1/lockdown-plans/{lockdown_plan}/release"""
        return await self._set_engaged(request, False)

    async def _set_engaged(self, request: Request, engaged: bool) -> Response:
        if_match = read_if_match(request.headers.get("if-match"))
        return _set(await self._submit(request, SetEngaged(request.parameters[KIND], engaged, if_match)))

    def _reach(self, request: Request) -> list[str] | None:
        claims = request.caller()
        decision, sites = self._index.reach(claims.organization, claims.subject, told.READ_PERMISSION, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {told.READ_PERMISSION}.")
        return sites

    async def _submit(self, request: Request, change: Change) -> Changed:
        actor = Actor.of(request.caller())
        return await self._lane.submit(actor.organization, actor, change)


def _shown(document: Document, status: int, headers: dict[str, str]) -> Response:
    return encoded(status, _plan(document, LockdownPlan), {**headers, "ETag": etag(document)})


def _set(changed: Changed) -> Response:
    document = changed.result or {}
    plan = _plan(document, LockdownPlanSet, effective_by=moment(changed.effective_by_ms))
    return encoded(200, plan, {"ETag": etag(document)})


def _plan(document: Document, kind: type[Shown], **more: Any) -> Shown:
    """A stored plan as it is read."""
    named = ("id", "name", "doors", "areas", "sites", "engaged", "engaged_by")
    moments: dict[str, Any] = {name: moment_or_none(document.get(name)) for name in ("engaged_at", "created_at", "changed_at", "ended_at")}
    return kind(**{name: document[name] for name in named}, **moments, revision=int(document.get("revision") or 0), **more)
