"""HTTP operations that give and take access: decode, one call, encode."""

from __future__ import annotations

from functools import partial

import msgspec

from py_service.access.change import ChangeGrant
from py_service.access.give import GiveGrant
from py_service.access.lockdown import SetLockdown
from py_service.access.messages import ChangeResult, Grant, GrantChanged, GrantPage, GrantPatch, GrantRequest, LockdownResult, patch_values
from py_service.access.operations import CHANGE, GIVE, LIST, LOCK_DOWN, READ, RELEASE, TAKE
from py_service.access.read import ListGrants, ReadGrant
from py_service.access.take import TakeGrant
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.permissions.change import Actor, Change, Changed, Submitter
from py_service.permissions.holders import held_by
from py_service.permissions.match import etag, read_if_match
from py_service.stores.mongo import Document

_GRANT = msgspec.json.Decoder(GrantRequest)
_PATCH = msgspec.json.Decoder(GrantPatch)
PLACES = {"doors": "door", "areas": "area", "sites": "site"}


class AccessHandlers:
    """The routes of the access room."""

    def __init__(self, lane: Submitter, read_grant: ReadGrant, list_grants: ListGrants) -> None:
        self._lane = lane
        self._read_grant = read_grant
        self._list_grants = list_grants

    def routes(self) -> list[Route]:
        """Changes aren't fenced at the edge: their own transaction validates the caller."""
        routes = [
            Route("GET", "/v1/grants", self.read_list, body_bytes_max=0, about=LIST),
            Route("POST", "/v1/grants", self.give, fenced=False, about=GIVE),
            Route("GET", "/v1/grants/{grant}", self.read, body_bytes_max=0, about=READ),
            Route("PATCH", "/v1/grants/{grant}", self.change, fenced=False, about=CHANGE),
            Route("DELETE", "/v1/grants/{grant}", self.take, fenced=False, body_bytes_max=0, about=TAKE),
        ]
        for plural, kind in PLACES.items():
            one = f"/v1/{plural}/{{{kind}}}"
            routes += [
                Route("POST", f"{one}/lockdown", partial(self.lock_down, kind), fenced=False, body_bytes_max=0, about=LOCK_DOWN[kind]),
                Route("POST", f"{one}/release", partial(self.release, kind), fenced=False, body_bytes_max=0, about=RELEASE[kind]),
            ]
        return routes

    async def give(self, request: Request) -> Response:
        """POST /v1/grants"""
        changed = await self._submit(request, GiveGrant(decoded(_GRANT, request.body)))
        grant = _changed(changed)
        return encoded(201, grant, {"Location": f"/v1/grants/{grant.id}", "ETag": etag(changed.result or {})})

    async def read_list(self, request: Request) -> Response:
        """GET /v1/grants"""
        documents, cursor = await self._list_grants(_actor(request), request.query)
        return encoded(200, GrantPage([grant_of(document) for document in documents], cursor))

    async def read(self, request: Request) -> Response:
        """GET /v1/grants/{grant}"""
        document = await self._read_grant(_actor(request), request.parameters["grant"])
        return encoded(200, grant_of(document), {"ETag": etag(document)})

    async def change(self, request: Request) -> Response:
        """PATCH /v1/grants/{grant}"""
        if_match = read_if_match(request.headers.get("if-match"))
        change = ChangeGrant(request.parameters["grant"], patch_values(decoded(_PATCH, request.body)), if_match)
        changed = await self._submit(request, change)
        return encoded(200, _changed(changed), {"ETag": etag(changed.result or {})})

    async def take(self, request: Request) -> Response:
        """DELETE /v1/grants/{grant}"""
        grant = request.parameters["grant"]
        return _result(grant, await self._submit(request, TakeGrant(grant, read_if_match(request.headers.get("if-match")))))

    async def lock_down(self, kind: str, request: Request) -> Response:
        """POST /v1/{doors,areas,sites}/{id}/lockdown"""
        return await self._set_lockdown(kind, request, True)

    async def release(self, kind: str, request: Request) -> Response:
        """POST /v1/{doors,areas,sites}/{id}/release"""
        return await self._set_lockdown(kind, request, False)

    async def _set_lockdown(self, kind: str, request: Request, locked_down: bool) -> Response:
        place = request.parameters[kind]
        if_match = read_if_match(request.headers.get("if-match"))
        changed = await self._submit(request, SetLockdown(kind, place, locked_down, if_match))
        held, by_when = held_by(changed.result or {}), moment(changed.effective_by_ms)
        return encoded(200, LockdownResult(id=place, revision=changed.revision, effective_by=by_when, locked_down=bool(held), held_by=held))

    async def _submit(self, request: Request, change: Change) -> Changed:
        actor = _actor(request)
        return await self._lane.submit(actor.organization, actor, change)


def _actor(request: Request) -> Actor:
    return Actor.of(request.caller())


def _result(identifier: str, changed: Changed) -> Response:
    return encoded(200, ChangeResult(id=identifier, revision=changed.revision, effective_by=moment(changed.effective_by_ms)))


def _changed(changed: Changed) -> GrantChanged:
    """A new one, too: a grant may deny."""
    return GrantChanged(**msgspec.structs.asdict(grant_of(changed.result or {})), effective_by=moment(changed.effective_by_ms))


def grant_of(document: Document) -> Grant:
    """A stored grant as it is read."""
    return Grant(
        id=document["id"],
        effect=document["effect"],
        person=document.get("person"),
        group=document.get("group"),
        door=document.get("door"),
        area=document.get("area"),
        site=document.get("site"),
        schedule=document.get("schedule"),
        valid_from=moment_or_none(document.get("valid_from")),
        valid_until=moment_or_none(document.get("valid_until")),
        pass_=(document.get("pass") or {}).get("id"),
        revision=int(document.get("revision") or 0),
        created_at=moment_or_none(document.get("created_at")),
        changed_at=moment_or_none(document.get("changed_at")),
        ended_at=moment_or_none(document.get("ended_at")),
    )
