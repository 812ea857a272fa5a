"""HTTP operations of the directory: the same five for every kind of object, and what only persons have."""

from __future__ import annotations

from functools import partial

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.directory.change import MoveAccount, Patch
from py_service.directory.create import Create
from py_service.directory.document import shown, values_of
from py_service.directory.end import End
from py_service.directory.kinds import BY_NAME, KINDS, Kind
from py_service.directory.operations import RESUME, SET_PIN, SUSPEND, Ended, KindOperations, PinToHold, RolesToHold, set_roles_operation
from py_service.directory.pin import SetPin
from py_service.directory.roles import SetRoles
from py_service.directory.suspend import SetPersonState
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment
from py_service.permissions.change import Actor, Change, Changed, Submitter
from py_service.permissions.match import etag, read_if_match
from py_service.permissions.pages import ListObjects, read_query
from py_service.permissions.pin import Pins
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

_PIN = msgspec.json.Decoder(PinToHold)
_ROLES = msgspec.json.Decoder(RolesToHold)
_PERSON = BY_NAME["person"]


class DirectoryHandlers:
    """The routes of the directory room."""

    def __init__(self, lane: Submitter, index: PermissionIndex, mongo: Mongo, pins: Pins, move_account: MoveAccount) -> None:
        self._move_account = move_account
        self._pins = pins
        self._lane = lane
        self._index = index
        self._mongo = mongo
        self._list = ListObjects(mongo)
        self._operations = {kind.name: KindOperations(kind) for kind in KINDS}

    def routes(self) -> list[Route]:
        routes: list[Route] = []
        for kind in KINDS:
            one, all_of_them = f"/v1/{kind.plural}/{{{kind.name}}}", f"/v1/{kind.plural}"
            told = self._operations[kind.name]
            routes += [
                Route("GET", all_of_them, partial(self.read_list, kind), body_bytes_max=0, about=told.list),
                Route("POST", all_of_them, partial(self.create, kind), fenced=False, about=told.create),
                Route("GET", one, partial(self.read, kind), body_bytes_max=0, about=told.read),
                Route("PATCH", one, partial(self.patch, kind), fenced=False, about=told.patch),
                Route("DELETE", one, partial(self.end, kind), fenced=False, body_bytes_max=0, about=told.end),
            ]
        told = self._operations["person"]
        routes += [
            Route("PUT", "/v1/persons/{person}/roles", self.set_roles, fenced=False, about=set_roles_operation(told.changed)),
            Route("PUT", "/v1/persons/{person}/pin", self.set_pin, fenced=False, body_bytes_max=4_096, about=SET_PIN),
            Route("POST", "/v1/persons/{person}/suspend", self.suspend, fenced=False, body_bytes_max=0, about=SUSPEND),
            Route("POST", "/v1/persons/{person}/resume", self.resume, fenced=False, body_bytes_max=0, about=RESUME),
        ]
        return routes

    async def read_list(self, kind: Kind, request: Request) -> Response:
        """GET /v1/<plural>"""
        claims = request.caller()
        sites = self._reach(request, kind)
        asked = read_query(kind.name, self._operations[kind.name].list.query, request.query, sites)
        documents, cursor = await self._list(claims.organization, kind.name, asked)
        told = self._operations[kind.name]
        return encoded(200, told.page(items=[shown(told.shown, document) for document in documents], next_cursor=cursor))

    async def create(self, kind: Kind, request: Request) -> Response:
        """POST /v1/<plural>"""
        body = decoded(self._operations[kind.name].new, request.body)
        changed = await self._submit(request, Create(kind, body.id, values_of(body)))
        document = changed.result or {}
        return self._shown(kind, 201, document, {"Location": f"/v1/{kind.plural}/{document['id']}"})

    async def read(self, kind: Kind, request: Request) -> Response:
        """GET /v1/<plural>/{id}: also one that was deleted, with its `ended_at`."""
        claims = request.caller()
        sites = self._reach(request, kind)
        identifier = request.parameters[kind.name]
        async with store_errors():
            found = await read_object(self._mongo, claims.organization, kind.name, identifier)
        if found is None or (sites is not None and kind.site_of(found) not in sites):
            raise unknown(kind.name)
        return self._shown(kind, 200, found, {})

    async def patch(self, kind: Kind, request: Request) -> Response:
        """PATCH /v1/<plural>/{id}"""
        body = decoded(self._operations[kind.name].changes, request.body)
        identifier = request.parameters[kind.name]
        if_match = read_if_match(request.headers.get("if-match"))
        return self._changed(kind, await self._submit(request, Patch(kind, identifier, values_of(body), if_match, self._move_account)))

    async def end(self, kind: Kind, request: Request) -> Response:
        """DELETE /v1/<plural>/{id}"""
        identifier = request.parameters[kind.name]
        changed = await self._submit(request, End(kind, identifier, read_if_match(request.headers.get("if-match"))))
        return _ended(identifier, changed)

    async def set_roles(self, request: Request) -> Response:
        """PUT /v1/persons/{person}/roles"""
        roles: list[Document] = msgspec.to_builtins(decoded(_ROLES, request.body).roles)
        change = SetRoles(request.parameters["person"], roles, read_if_match(request.headers.get("if-match")))
        return self._changed(_PERSON, await self._submit(request, change))

    async def set_pin(self, request: Request) -> Response:
        """PUT /v1/persons/{person}/pin"""
        person, pin = request.parameters["person"], decoded(_PIN, request.body).pin
        hashed = None if pin is None else self._pins.hashed(request.caller().organization, person, pin)
        return _ended(person, await self._submit(request, SetPin(person, hashed, read_if_match(request.headers.get("if-match")))))

    async def suspend(self, request: Request) -> Response:
        """POST /v1/persons/{person}/suspend"""
        return await self._set_state(request, "suspended")

    async def resume(self, request: Request) -> Response:
        """POST /v1/persons/{person}/resume"""
        return await self._set_state(request, "active")

    async def _set_state(self, request: Request, state: str) -> Response:
        person, if_match = request.parameters["person"], read_if_match(request.headers.get("if-match"))
        return _ended(person, await self._submit(request, SetPersonState(person, state, if_match)))

    def _reach(self, request: Request, kind: Kind) -> list[str] | None:
        """Sites whose objects of this kind the caller may read; None: all. Raises Problem 403."""
        claims = request.caller()
        decision, sites = self._index.reach(claims.organization, claims.subject, kind.read, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {kind.read}.")
        return sites if kind.at_site else None

    async def _submit(self, request: Request, change: Change) -> Changed:
        actor = Actor.of(request.caller())
        return await self._lane.submit(actor.organization, actor, change)

    def _changed(self, kind: Kind, changed: Changed) -> Response:
        document = {**(changed.result or {}), "effective_by": changed.effective_by_ms}
        return encoded(200, shown(self._operations[kind.name].changed, document), {"ETag": etag(document)})

    def _shown(self, kind: Kind, status: int, document: Document, headers: dict[str, str]) -> Response:
        return encoded(status, shown(self._operations[kind.name].shown, document), {**headers, "ETag": etag(document)})


def _ended(identifier: str, changed: Changed) -> Response:
    return encoded(200, Ended(identifier, changed.revision, moment(changed.effective_by_ms)))
