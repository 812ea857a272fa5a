"""HTTP operations of imports: decode, one call, encode."""

from __future__ import annotations

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded
from py_service.imports import operations as told
from py_service.imports.collect import Begin, PutPart, Start, Stop
from py_service.imports.document import KIND, PARTS_MAX, shown
from py_service.imports.messages import ImportPage, NewImport, PartOfFile, RowResultPage
from py_service.imports.read import ListImports, ReadResults, read_results_query
from py_service.imports.store import get_import
from py_service.paging import read_limit
from py_service.permissions.change import Actor, Change
from py_service.permissions.lane import ChangeLane
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

_NEW = msgspec.json.Decoder(NewImport)
_PART = msgspec.json.Decoder(PartOfFile)
BODY_BYTES_MAX = 1_048_576


class ImportHandlers:
    """The routes of the imports room."""

    def __init__(self, lane: ChangeLane, index: PermissionIndex, mongo: Mongo) -> None:
        self._lane = lane
        self._index = index
        self._mongo = mongo

    def routes(self) -> list[Route]:
        every, one = "/v1/imports", "/v1/imports/{import}"
        return [
            Route("GET", every, self.read_list, body_bytes_max=0, about=told.LIST),
            Route("POST", every, self.begin, fenced=False, body_bytes_max=BODY_BYTES_MAX, about=told.BEGIN),
            Route("GET", one, self.read, body_bytes_max=0, about=told.READ),
            Route("PUT", f"{one}/parts/{{part}}", self.put_part, fenced=False, body_bytes_max=BODY_BYTES_MAX, about=told.PUT_PART),
            Route("POST", f"{one}/start", self.start, fenced=False, body_bytes_max=0, about=told.START),
            Route("POST", f"{one}/stop", self.stop, fenced=False, body_bytes_max=0, about=told.STOP),
            Route("GET", f"{one}/results", self.read_results, body_bytes_max=0, about=told.RESULTS),
        ]

    async def begin(self, request: Request) -> Response:
        """POST /v1/imports"""
        body = decoded(_NEW, request.body)
        asked: Document = {"kind": body.kind, "format": body.format, "all_or_nothing": body.all_or_nothing}
        document = await self._submit(request, Begin(body.id, asked, body.text, request.caller().subject))
        return encoded(201, shown(document), {"Location": f"/v1/imports/{document['id']}"})

    async def put_part(self, request: Request) -> Response:
        """PUT /v1/imports/{import}/parts/{part}"""
        part, text = _part_of(request.parameters["part"]), decoded(_PART, request.body).text
        document = await self._submit(request, PutPart(request.parameters[KIND], part, text, request.caller().subject))
        return encoded(200, shown(document))

    async def start(self, request: Request) -> Response:
        """POST /v1/imports/{import}/start"""
        return encoded(200, shown(await self._submit(request, Start(request.parameters[KIND], request.caller().subject))))

    async def stop(self, request: Request) -> Response:
        """POST /v1/imports/{import}/stop"""
        return encoded(200, shown(await self._submit(request, Stop(request.parameters[KIND]))))

    async def read_list(self, request: Request) -> Response:
        """GET /v1/imports"""
        claims = request.caller()
        kinds = [kind for kind in told.PERMISSIONS if self._may(request, kind)]
        if not kinds and not any(self._may_somewhere(request, permission) for permission in told.PERMISSIONS.values()):
            raise Problem(403, "role_missing", "This needs persons.write or grants.write.")
        if request.query.keys() - told.LIST.query.keys():
            raise Problem(400, "query_invalid", f"Known here: {', '.join(sorted(told.LIST.query))}.")
        limit, cursor = read_limit(request.query.get("limit")), request.query.get("cursor")
        documents, following = await ListImports(self._mongo)(claims.organization, limit, cursor, claims.subject, kinds)
        return encoded(200, ImportPage([shown(document) for document in documents], following))

    async def read(self, request: Request) -> Response:
        """GET /v1/imports/{import}"""
        return encoded(200, shown(await self._seen(request)))

    async def read_results(self, request: Request) -> Response:
        """GET /v1/imports/{import}/results"""
        document = await self._seen(request)
        asked = read_results_query(request.query)
        items, following = await ReadResults(self._mongo)(document, asked)
        return encoded(200, RowResultPage(items, following))

    async def _seen(self, request: Request) -> Document:
        """By who made it, and by whoever may do the same everywhere. Raises Problem 403, 404, 503."""
        claims = request.caller()
        async with store_errors():
            document = await get_import(self._mongo, claims.organization, request.parameters[KIND])
        if document["by"] != claims.subject or not self._may_somewhere(request, told.PERMISSIONS[document["kind"]]):
            permission = told.PERMISSIONS[document["kind"]]
            decision = self._index.check_role(claims.organization, claims.subject, permission, None, now_ms())
            if not decision.allowed:
                raise Problem(403, decision.reason, f"This needs {permission}.")
        return document

    def _may(self, request: Request, kind: str) -> bool:
        claims = request.caller()
        return self._index.check_role(claims.organization, claims.subject, told.PERMISSIONS[kind], None, now_ms()).allowed

    def _may_somewhere(self, request: Request, permission: str) -> bool:
        claims = request.caller()
        return self._index.reach(claims.organization, claims.subject, permission, now_ms())[0].allowed

    async def _submit(self, request: Request, change: Change) -> Document:
        claims = request.caller()
        return (await self._lane.submit(claims.organization, Actor.of(claims), change)).result or {}


def _part_of(text: str) -> int:
    """Raises Problem 404 `part_unknown`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and not text.startswith("0") and int(text) <= PARTS_MAX):
        raise unknown("part")
    return int(text)
