"""HTTP operations of passes: decode, one call, encode."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.passes import operations as told
from py_service.passes.accept import AcceptPass
from py_service.passes.change import ChangePass
from py_service.passes.give import GivePass, PassOn
from py_service.passes.link import RenewLink, link_of, qr_svg
from py_service.passes.messages import (
    NewPass,
    Pass,
    PassAcceptance,
    PassAccepted,
    PassAcceptedByGuest,
    PassChanged,
    PassedOn,
    PassGiven,
    PassLink,
    PassPage,
    PassPatch,
    PassSent,
    PassTaken,
    PassToken,
    Receiver,
)
from py_service.passes.page import page_route
from py_service.passes.read import ReadPasses
from py_service.passes.state import state_of
from py_service.passes.take import TakePass
from py_service.permissions.change import Actor, Change, Changed, Submitter
from py_service.permissions.match import etag, read_if_match
from py_service.stores.mongo import Document, now_ms

_BODY_BYTES_MAX = 4_096
_NEW = msgspec.json.Decoder(NewPass)
_PASSED_ON = msgspec.json.Decoder(PassedOn)
_PATCH = msgspec.json.Decoder(PassPatch)
_TOKEN = msgspec.json.Decoder(PassToken)
_ACCEPT = msgspec.json.Decoder(PassAcceptance)
Shown = TypeVar("Shown", bound=Pass)


class SignedIn(Protocol):
    """What the sign-in of a guest comes to."""

    @property
    def access_token(self) -> str: ...
    @property
    def expires_at(self) -> datetime.datetime: ...
    @property
    def refresh_token(self) -> str: ...


SignIn = Callable[[str, str, str | None], Awaitable[SignedIn]]
"""`(organization, person, user_agent)`: tokens for somebody who has proved who they are. Raises Problem 401, 403, 503."""


class PassHandlers:
    """`public_url`: what links begin with."""

    def __init__(self, lane: Submitter, read: ReadPasses, sign_in: SignIn, public_url: str) -> None:
        self._lane = lane
        self._read = read
        self._sign_in = sign_in
        self._public_url = public_url

    def routes(self) -> list[Route]:
        """Changes aren't fenced at the edge: their own transaction validates the caller."""
        every, one, bytes_max = "/v1/passes", "/v1/passes/{pass}", _BODY_BYTES_MAX
        return [
            Route("GET", every, self.read_list, body_bytes_max=0, about=told.LIST),
            Route("POST", every, self.give, fenced=False, body_bytes_max=bytes_max, about=told.GIVE),
            Route(
                "POST",
                f"{every}/accept",
                self.accept,
                access="anyone",
                fenced=False,
                body_bytes_max=bytes_max,
                own_quota="sign-in",
                about=told.ACCEPT,
            ),
            Route("GET", one, self.read, body_bytes_max=0, about=told.READ),
            Route("PATCH", one, self.change, fenced=False, body_bytes_max=bytes_max, about=told.CHANGE),
            Route("DELETE", one, self.take, fenced=False, body_bytes_max=0, about=told.TAKE),
            Route("POST", f"{one}/link", self.renew_link, fenced=False, body_bytes_max=0, about=told.RENEW),
            Route("POST", f"{one}/resend", self.resend, fenced=False, body_bytes_max=0, about=told.RESEND),
            Route("POST", f"{one}/pass-on", self.pass_on, fenced=False, body_bytes_max=bytes_max, about=told.PASS_ON),
            Route("GET", "/v1/me/passes", self.read_mine, body_bytes_max=0, about=told.MINE),
            Route("POST", "/v1/me/passes", self.accept_mine, fenced=False, body_bytes_max=bytes_max, about=told.ACCEPT_MINE),
            page_route(),
        ]

    async def read_list(self, request: Request) -> Response:
        """GET /v1/passes"""
        return await self._page(request, *await self._read.at_sites(Actor.of(request.caller()), request.query))

    async def read_mine(self, request: Request) -> Response:
        """GET /v1/me/passes"""
        return await self._page(request, *await self._read.of_person(Actor.of(request.caller()), request.query))

    async def read(self, request: Request) -> Response:
        """GET /v1/passes/{pass}"""
        document = await self._read.one(Actor.of(request.caller()), request.parameters["pass"])
        return await self._answer(request, 200, document, Pass)

    async def give(self, request: Request) -> Response:
        """POST /v1/passes"""
        return await self._given(request, GivePass(_values(decoded(_NEW, request.body))))

    async def pass_on(self, request: Request) -> Response:
        """POST /v1/passes/{pass}/pass-on"""
        return await self._given(request, PassOn(request.parameters["pass"], _values(decoded(_PASSED_ON, request.body))))

    async def change(self, request: Request) -> Response:
        """PATCH /v1/passes/{pass}"""
        values = _values(decoded(_PATCH, request.body))
        change = ChangePass(request.parameters["pass"], values, read_if_match(request.headers.get("if-match")))
        changed = await self._submit(request, change)
        return await self._answer(request, 200, changed.result or {}, PassChanged, effective_by=moment(changed.effective_by_ms))

    async def take(self, request: Request) -> Response:
        """DELETE /v1/passes/{pass}"""
        identifier = request.parameters["pass"]
        changed = await self._submit(request, TakePass(identifier, read_if_match(request.headers.get("if-match"))))
        ended, by_when = int((changed.result or {})["passes"]), moment(changed.effective_by_ms)
        return encoded(200, PassTaken(id=identifier, revision=changed.revision, effective_by=by_when, passes=ended))

    async def renew_link(self, request: Request) -> Response:
        """POST /v1/passes/{pass}/link"""
        document = await self._renewed(request, by_mail=False)
        answer = PassLink(id=str(document["id"]), revision=int(document["revision"]), **self._linked(document))
        return encoded(200, answer, {"ETag": etag(document)})

    async def resend(self, request: Request) -> Response:
        """POST /v1/passes/{pass}/resend"""
        document = await self._renewed(request, by_mail=True)
        answer = PassSent(id=str(document["id"]), revision=int(document["revision"]), delivery="email")
        return encoded(202, answer, {"ETag": etag(document)})

    async def accept(self, request: Request) -> Response:
        """POST /v1/passes/accept"""
        body = decoded(_ACCEPT, request.body)
        link = await self._read.link(body.token)
        organization = link.organization
        change = AcceptPass(link, body.name, request.headers.get("idempotency-key"))
        nobody: Actor | None = None
        document = (await self._lane.submit(organization, nobody, change)).result or {}
        person = str(document["accepted_by"])
        signed_in = await self._sign_in(organization, person, request.headers.get("user-agent"))
        shown = await self._shown(organization, document, Pass)
        answer = PassAcceptedByGuest(
            pass_=shown, person=person, organization=organization, access_token=signed_in.access_token, expires_at=signed_in.expires_at,
            refresh_token=signed_in.refresh_token,
        )  # fmt: skip
        return encoded(200, answer)

    async def accept_mine(self, request: Request) -> Response:
        """POST /v1/me/passes"""
        token, actor = decoded(_TOKEN, request.body).token, Actor.of(request.caller())
        link = await self._read.link(token, actor.organization)
        document = (await self._submit(request, AcceptPass(link))).result or {}
        shown = await self._shown(actor.organization, document, Pass)
        return encoded(200, PassAccepted(pass_=shown, person=actor.subject, organization=actor.organization))

    async def _renewed(self, request: Request, by_mail: bool) -> Document:
        change = RenewLink(request.parameters["pass"], by_mail, read_if_match(request.headers.get("if-match")))
        return (await self._submit(request, change)).result or {}

    async def _given(self, request: Request, change: Change) -> Response:
        document = (await self._submit(request, change)).result or {}
        headers = {"Location": f"/v1/passes/{document['id']}"}
        return await self._answer(request, 201, document, PassGiven, headers, **self._linked(document))

    def _linked(self, document: Document) -> dict[str, Any]:
        if "token" not in document:
            return {"link": None, "qr_svg": None, "delivery": "email"}
        link = link_of(self._public_url, str(document["token"]))
        return {"link": link, "qr_svg": qr_svg(link), "delivery": "link"}

    async def _page(self, request: Request, documents: list[Document], cursor: str | None) -> Response:
        left = await self._read.uses_left(request.caller().organization, documents)
        return encoded(200, PassPage([shown(document, uses, Pass) for document, uses in zip(documents, left, strict=True)], cursor))

    async def _answer(
        self, request: Request, status: int, document: Document, kind: type[Shown], headers: dict[str, str] | None = None, **more: Any
    ) -> Response:
        answer = await self._shown(request.caller().organization, document, kind, **more)
        return encoded(status, answer, {**(headers or {}), "ETag": etag(document)})

    async def _shown(self, organization: str, document: Document, kind: type[Shown], **more: Any) -> Shown:
        (left,) = await self._read.uses_left(organization, [document])
        return shown(document, left, kind, **more)

    async def _submit(self, request: Request, change: Change) -> Changed:
        actor = Actor.of(request.caller())
        return await self._lane.submit(actor.organization, actor, change)


def _values(body: msgspec.Struct) -> Document:
    """The fields that were sent, as they are stored: times in ms."""
    sent: Document = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET}
    plain: Document = msgspec.to_builtins(sent, builtin_types=(datetime.datetime,))
    return {name: int(value.timestamp() * 1_000) if isinstance(value, datetime.datetime) else value for name, value in plain.items()}


def shown(document: Document, uses_left: int | None, kind: type[Shown], **more: Any) -> Shown:
    """A stored pass as it is read; without a receiver where it has none to show."""
    named = ("id", "name", "doors", "schedule", "uses", "passes_on_max", "given_by", "parent", "accepted_by")
    values: dict[str, Any] = {name: document[name] for name in named}
    values |= {name: moment_or_none(document.get(name)) for name in ("accepted_at", "created_at", "changed_at", "ended_at")}
    values |= {name: moment(int(document[name])) for name in ("valid_from", "valid_until")}
    values |= {"receiver": document["receiver"] and Receiver(**document["receiver"]), "revision": int(document.get("revision") or 0)}
    return kind(**values, uses_left=uses_left, state=state_of(document, uses_left, now_ms()), **more)
