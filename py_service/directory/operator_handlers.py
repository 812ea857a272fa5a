"""HTTP operations of whoever runs the service for many organizations: which there are, found one, suspend it, archive it.

The operator is an organization like any other, named by a setting, and its owners may do this: they sign in, are suspended and lose their
role as everybody does. Nothing here shows or changes what is inside another organization; to put somebody into one, or to take a
lost one over, takes the store's address (`nexkey organization appoint-owner`).

Each operation is fenced at the edge: a role that was taken away is seen by every request that arrives later. The change itself is one of
the other organization, whose permissions say nothing of the caller.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, get_args

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.directory import operator_messages as told
from py_service.directory.document import values_of
from py_service.directory.fields import OrganizationPatch
from py_service.directory.operator_messages import (
    ManagedOrganization,
    ManagedOrganizationChanged,
    ManagedOrganizationPage,
    NewOrganization,
    OrganizationCreated,
)
from py_service.directory.organization import (
    ArchiveOrganization,
    ChangeOrganization,
    FoundOrganization,
    LetIn,
    OrganizationState,
    SetOrganizationState,
    identifier_of_name,
    state_of,
)
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.identifiers import IDENTIFIER_CHARACTERS_MAX
from py_service.paging import read_limit, read_place, write_cursor
from py_service.permissions.change import Change, Changed, Submitter
from py_service.permissions.match import etag, read_if_match
from py_service.permissions.store import begin_organization, read_object
from py_service.permissions.text import clean_email, clean_name
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

KIND = "organization"
OWNER_ROLE = "owner"
READ_AT_ONCE = 1_000  # of one page: with a filter it may have fewer items than `limit`, and a cursor
AFTER_ALL = "{"  # the character after z
_CURSOR_CHARACTERS_MAX = -(-4 * (len(KIND) + 1 + IDENTIFIER_CHARACTERS_MAX) // 3)
_NEW = msgspec.json.Decoder(NewOrganization)
_PATCH = msgspec.json.Decoder(OrganizationPatch)


class Organizations(Protocol):
    """The permissions of organizations, as this process follows them."""

    @property
    def index(self) -> PermissionIndex: ...
    async def current(self, organization: str) -> int: ...


class OperatorHandlers:
    """`operator`: the id of the operator's organization; None: nobody is the operator.

    `make_command_key` makes the key that signs for an organization's locks. `invite` is the identity room's.
    """

    def __init__(
        self,
        operator: str | None,
        lane: Submitter,
        organizations: Organizations,
        mongo: Mongo,
        make_command_key: Callable[[str], Awaitable[str]],
        invite: LetIn,
    ) -> None:
        self._operator = operator
        self._lane = lane
        self._organizations = organizations
        self._mongo = mongo
        self._make_command_key = make_command_key
        self._invite = invite

    def routes(self) -> list[Route]:
        every, one = "/v1/operator/organizations", "/v1/operator/organizations/{organization}"
        return [
            Route("GET", every, self.read_list, body_bytes_max=0, about=told.LIST),
            Route("POST", every, self.create, body_bytes_max=16_384, about=told.CREATE),
            Route("GET", one, self.read, body_bytes_max=0, about=told.READ),
            Route("PATCH", one, self.patch, body_bytes_max=16_384, about=told.CHANGE),
            Route("DELETE", one, self.archive, body_bytes_max=0, about=told.ARCHIVE),
            Route("POST", f"{one}/suspend", self.suspend, body_bytes_max=0, about=told.SUSPEND),
            Route("POST", f"{one}/resume", self.resume, body_bytes_max=0, about=told.RESUME),
        ]

    async def read_list(self, request: Request) -> Response:
        """GET /v1/operator/organizations"""
        self._operators_person(request, _operator_needed())
        query = request.query
        if query.keys() - told.LIST.query.keys() or query.get("sort", "id") not in ("id", "-id"):
            raise Problem(400, "query_invalid", "Known here: limit, cursor, sort (id or -id) and state.")
        state = query.get("state")
        if state not in (None, *get_args(OrganizationState)):
            raise Problem(400, "query_invalid", f"state is one of {', '.join(get_args(OrganizationState))}.")
        limit, cursor = read_limit(query.get("limit")), query.get("cursor")
        after = None if cursor is None else read_place(KIND, cursor, _CURSOR_CHARACTERS_MAX)
        page, end = await self._page(limit, after, state, descending=query.get("sort") == "-id")
        return encoded(200, ManagedOrganizationPage([_shown(one) for one in page], None if end is None else write_cursor(KIND, end)))

    async def _page(self, limit: int, after: str | None, state: str | None, *, descending: bool) -> tuple[list[Document], str | None]:
        """By id, and the place at which the next page begins. Raises Problem 503."""
        at_once = limit + 1 if state is None else READ_AT_ONCE
        bounds = {"$gt": "", "$lt": after or AFTER_ALL} if descending else {"$gt": after or "", "$lt": AFTER_ALL}
        async with store_errors():
            found = self._mongo.database["organizations"].find({"org": bounds}).sort("org", -1 if descending else 1).limit(at_once)
            read = await found.to_list()
        page = [one for one in read if state in (None, state_of(one))]
        if len(page) > limit:
            return page[:limit], str(page[limit - 1]["_id"])
        return page, str(read[-1]["_id"]) if len(read) == at_once else None

    async def create(self, request: Request) -> Response:
        """POST /v1/operator/organizations

        What comes before the change itself is no organization yet: a repeat finds it, and who isn't repeated stays `unfinished`.
        """
        operator = self._operators_person(request, _operator_needed())
        body = decoded(_NEW, request.body)
        name, owner_name, email = clean_name(body.name), clean_name(body.owner.name, "owner.name"), clean_email(body.owner.email)
        identifier = body.id or identifier_of_name(name)
        await self._make_command_key(identifier)
        async with store_errors():
            await begin_organization(self._mongo, identifier)
        await self._organizations.current(identifier)
        owner = f"person_{secrets.token_hex(8)}"
        change = FoundOrganization(name, owner, owner_name, email, self._invite, operator)
        document = (await self._lane.submit(identifier, None, change)).result or {}
        answer = OrganizationCreated(**_fields(document), person=document["person"], invitation=document["invitation"])
        return encoded(201, answer, {"Location": f"/v1/operator/organizations/{identifier}", "ETag": etag(document)})

    async def read(self, request: Request) -> Response:
        """GET /v1/operator/organizations/{organization}"""
        self._operators_person(request, unknown(KIND))
        document = await self._get(request.parameters[KIND])
        return encoded(200, _shown(document), {"ETag": etag(document)})

    async def patch(self, request: Request) -> Response:
        """PATCH /v1/operator/organizations/{organization}"""
        operator = self._operators_person(request, unknown(KIND))
        values = values_of(decoded(_PATCH, request.body))
        return await self._carried_out(request, ChangeOrganization(values, _if_match(request), operator))

    async def suspend(self, request: Request) -> Response:
        """POST /v1/operator/organizations/{organization}/suspend"""
        operator = self._operators_person(request, unknown(KIND))
        self._not_itself(request)
        return await self._carried_out(request, SetOrganizationState(active=False, if_match=_if_match(request), operator=operator))

    async def resume(self, request: Request) -> Response:
        """POST /v1/operator/organizations/{organization}/resume"""
        operator = self._operators_person(request, unknown(KIND))
        return await self._carried_out(request, SetOrganizationState(active=True, if_match=_if_match(request), operator=operator))

    async def archive(self, request: Request) -> Response:
        """DELETE /v1/operator/organizations/{organization}"""
        operator = self._operators_person(request, unknown(KIND))
        self._not_itself(request)
        return await self._carried_out(request, ArchiveOrganization(_if_match(request), operator))

    def _operators_person(self, request: Request, refusal: Problem) -> str:
        """The caller, an owner of the operator's organization. Raises `refusal` to everybody of another; Problem 403 `role_missing`."""
        claims = request.person()
        if claims.organization != self._operator:
            raise refusal
        decision = self._organizations.index.check_role(claims.organization, claims.subject, OWNER_ROLE, None, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, "This needs the role owner.")
        return claims.subject

    def _not_itself(self, request: Request) -> None:
        """Nobody could take it back over HTTP. Raises Problem 409."""
        if request.parameters[KIND] == self._operator:
            raise Problem(409, "conflict", "The operator's own organization stays as it is.")

    async def _get(self, organization: str) -> Document:
        """Raises Problem 404, 503."""
        async with store_errors():
            document = await read_object(self._mongo, organization, KIND, organization)
        if document is None:
            raise unknown(KIND)
        return document

    async def _carried_out(self, request: Request, change: Change) -> Response:
        """Of one that there is: a change makes nothing of a name that nobody has. Raises Problem."""
        organization = request.parameters[KIND]
        await self._get(organization)
        await self._organizations.current(organization)  # one that can't be loaded is told so here, and holds up nobody else's changes
        changed: Changed = await self._lane.submit(organization, None, change)
        document = changed.result or {}
        answer = ManagedOrganizationChanged(**_fields(document), effective_by=moment(changed.effective_by_ms))
        return encoded(200, answer, {"ETag": etag(document)})


def _operator_needed() -> Problem:
    return Problem(403, "operator_needed", "This is for whoever runs the service.")


def _if_match(request: Request) -> int | None:
    return read_if_match(request.headers.get("if-match"))


def _fields(document: Document) -> dict[str, Any]:
    moments = {name: moment_or_none(document.get(name)) for name in ("created_at", "changed_at", "archived_at")}
    return {
        "id": document["id"],
        "name": document["name"],
        "state": state_of(document),
        "revision": int(document.get("revision") or 0),
        **moments,
    }


def _shown(document: Document) -> ManagedOrganization:
    return ManagedOrganization(**_fields(document))
