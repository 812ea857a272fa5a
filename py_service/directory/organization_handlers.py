"""HTTP operations of what an organization has one of: itself, and the table of its roles."""

from __future__ import annotations

import msgspec

from py_service import _core_rs
from py_service._core_rs import PermissionIndex
from py_service.directory.document import shown, values_of
from py_service.directory.fields import OrganizationPatch, Role
from py_service.directory.organization import READ, WRITE, ChangeOrganization
from py_service.errors import Problem, unknown
from py_service.exchange import Operation, Request, Response, Route, decoded, encoded
from py_service.identifiers import Moment
from py_service.permissions.change import Actor
from py_service.permissions.lane import ChangeLane
from py_service.permissions.match import etag, read_if_match
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

READ_ROLES = "persons.read"


class Organization(msgspec.Struct, kw_only=True):
    """Whether it is active isn't said: one that isn't refuses the question."""

    id: str
    name: str
    revision: int
    created_at: Moment | None
    changed_at: Moment | None


class RoleInTable(msgspec.Struct):
    """What a role allows. Who holds it: `GET /v1/persons?role=`."""

    role: Role
    permissions: list[str]


class RoleTable(msgspec.Struct):
    """The mightiest first."""

    items: list[RoleInTable]


_PATCH = msgspec.json.Decoder(OrganizationPatch)
_READ = Operation("Read the organization", "Organization", {200: Organization}, permission=READ, etag=True)
_CHANGE = Operation(
    "Change the organization", "Organization", {200: Organization}, OrganizationPatch, headers=("If-Match",), permission=WRITE, etag=True,
    codes=("422 name_invalid",), example={"name": "Nordlicht Instruments"},
)  # fmt: skip
_ROLES = Operation("List the roles and what each allows", "Organization", {200: RoleTable}, permission=READ_ROLES)


class OrganizationHandlers:
    """Everybody asks about their own organization: it stands in the token."""

    def __init__(self, lane: ChangeLane, index: PermissionIndex, mongo: Mongo) -> None:
        self._lane = lane
        self._index = index
        self._mongo = mongo

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/organization", self.read, body_bytes_max=0, about=_READ),
            Route("PATCH", "/v1/organization", self.patch, fenced=False, about=_CHANGE),
            Route("GET", "/v1/roles", self.read_roles, body_bytes_max=0, about=_ROLES),
        ]

    async def read(self, request: Request) -> Response:
        """GET /v1/organization"""
        claims = request.caller()
        decision = self._index.check_role(claims.organization, claims.subject, READ, None, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {READ}.")
        async with store_errors():
            found = await read_object(self._mongo, claims.organization, "organization", claims.organization)
        if found is None:
            raise unknown("organization")
        return _shown(found)

    async def patch(self, request: Request) -> Response:
        """PATCH /v1/organization"""
        change = ChangeOrganization(values_of(decoded(_PATCH, request.body)), read_if_match(request.headers.get("if-match")))
        actor = Actor.of(request.caller())
        changed = await self._lane.submit(actor.organization, actor, change)
        return _shown(changed.result or {})

    async def read_roles(self, request: Request) -> Response:
        """GET /v1/roles"""
        claims = request.caller()
        decision, _ = self._index.reach(claims.organization, claims.subject, READ_ROLES, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {READ_ROLES}.")
        table = [{"role": role, "permissions": permissions} for role, permissions in _core_rs.roles()]
        return encoded(200, RoleTable(msgspec.convert(table, list[RoleInTable])))


def _shown(document: Document) -> Response:
    return encoded(200, shown(Organization, document), {"ETag": etag(document)})
