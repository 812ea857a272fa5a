"""HTTP operations of invitations: decode, one call, encode."""

from __future__ import annotations

from typing import Any

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.identity import invitation_messages as told
from py_service.identity.invitation_messages import Invitation, InvitationPage, InvitationState, InvitationTakenBack, NewInvitation
from py_service.identity.invitations import KIND, LETTER, PERMISSION, Accept, CreatePerson, Invite, SendAgain, TakeBack, WithRoles
from py_service.identity.mailed_tokens import MailedTokens
from py_service.identity.password_messages import NewPasswordBody
from py_service.identity.passwords import Passwords, check_new_password
from py_service.identity.sessions import client_name
from py_service.identity.sign_in import SignIn
from py_service.identity.store import Account
from py_service.permissions.change import Actor, Change, Changed
from py_service.permissions.lane import ChangeLane
from py_service.permissions.match import etag, read_if_match
from py_service.permissions.pages import ListObjects, keeping, read_query
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

_NEW = msgspec.json.Decoder(NewInvitation)
_ACCEPT = msgspec.json.Decoder(NewPasswordBody)
_OF_A_PERSON = ("email", "name", "kind", "groups")


class InvitationHandlers:
    """`create_person` and `with_roles` are the directory's: persons are its noun."""

    def __init__(
        self,
        lane: ChangeLane,
        index: PermissionIndex,
        mongo: Mongo,
        tokens: MailedTokens,
        passwords: Passwords,
        sign_in: SignIn,
        create_person: CreatePerson,
        with_roles: WithRoles,
    ) -> None:
        self._lane = lane
        self._index = index
        self._mongo = mongo
        self._tokens = tokens
        self._passwords = passwords
        self._sign_in = sign_in
        self._create_person = create_person
        self._with_roles = with_roles
        self._list = ListObjects(mongo)

    def routes(self) -> list[Route]:
        """Changes aren't fenced at the edge: their own transaction validates the caller."""
        every, one = "/v1/invitations", "/v1/invitations/{invitation}"
        return [
            Route("GET", every, self.read_list, body_bytes_max=0, about=told.LIST),
            Route("POST", every, self.invite, fenced=False, body_bytes_max=16_384, about=told.INVITE),
            Route(
                "POST", f"{every}/accept", self.accept, access="anyone", fenced=False, body_bytes_max=4_096, own_quota="sign-in",
                about=told.ACCEPT,
            ),
            Route("GET", one, self.read, body_bytes_max=0, about=told.READ),
            Route("POST", f"{one}/resend", self.resend, fenced=False, body_bytes_max=0, about=told.RESEND),
            Route("DELETE", one, self.take_back, fenced=False, body_bytes_max=0, about=told.TAKE_BACK),
        ]  # fmt: skip

    async def read_list(self, request: Request) -> Response:
        """GET /v1/invitations"""
        self._require(request)
        asked = read_query(KIND, told.LIST.query, request.query, None, judged=("state",))
        state = asked.judged.get("state")
        keep = None if state is None else keeping(lambda document: _state(document) == state)
        documents, cursor = await self._list(request.caller().organization, KIND, asked, keep)
        return encoded(200, InvitationPage([_shown(document) for document in documents], cursor))

    async def invite(self, request: Request) -> Response:
        """POST /v1/invitations"""
        body = decoded(_NEW, request.body)
        values: Document = {name: value for name in _OF_A_PERSON if (value := getattr(body, name)) is not msgspec.UNSET}
        roles: list[Document] | None = msgspec.to_builtins(body.roles)
        change = Invite(body.id, body.person, values, roles, self._create_person, self._with_roles)
        document = (await self._submit(request, change)).result or {}
        return encoded(201, _shown(document), {"Location": f"/v1/invitations/{document['id']}", "ETag": etag(document)})

    async def read(self, request: Request) -> Response:
        """GET /v1/invitations/{invitation}"""
        self._require(request)
        async with store_errors():
            found = await read_object(self._mongo, request.caller().organization, KIND, request.parameters[KIND])
        if found is None:
            raise unknown(KIND)
        return encoded(200, _shown(found), {"ETag": etag(found)})

    async def resend(self, request: Request) -> Response:
        """POST /v1/invitations/{invitation}/resend"""
        change = SendAgain(request.parameters[KIND], read_if_match(request.headers.get("if-match")))
        document = (await self._submit(request, change)).result or {}
        return encoded(200, _shown(document), {"ETag": etag(document)})

    async def take_back(self, request: Request) -> Response:
        """DELETE /v1/invitations/{invitation}"""
        invitation = request.parameters[KIND]
        changed = await self._submit(request, TakeBack(invitation, read_if_match(request.headers.get("if-match"))))
        return encoded(200, InvitationTakenBack(invitation, changed.revision, moment(changed.effective_by_ms)))

    async def accept(self, request: Request) -> Response:
        """POST /v1/invitations/accept"""
        body = decoded(_ACCEPT, request.body)
        token = await self._tokens.find(LETTER, body.token)
        async with store_errors():
            found = None if token is None else await read_object(self._mongo, token.org, KIND, token.about)
        if token is None or found is None:
            raise unknown(KIND)
        check_new_password(body.password, str(found["email"]), str(found["name"]))
        hashed, nobody = await self._passwords.hash(body.password), None
        document = (await self._lane.submit(token.org, nobody, Accept(token.id, hashed))).result or {}
        account = Account(token.org, str(document["person"]), hashed)
        client = client_name(request.headers.get("user-agent"))
        return encoded(200, await self._sign_in.begin_with(str(document["email"]), account, client))

    def _require(self, request: Request) -> None:
        caller = request.caller()
        decision = self._index.check_role(caller.organization, caller.subject, PERMISSION, None, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {PERMISSION}.")

    async def _submit(self, request: Request, change: Change) -> Changed:
        actor = Actor.of(request.caller())
        return await self._lane.submit(actor.organization, actor, change)


def _state(document: Document) -> InvitationState:
    if document.get("ended_at") is not None:
        return "taken_back"
    if document["accepted_at"] is not None:
        return "accepted"
    return "expired" if document["expires_at"] <= now_ms() else "waiting"


def _shown(document: Document) -> Invitation:
    """A stored invitation as it is read."""
    named: dict[str, Any] = {name: document[name] for name in ("id", "person", "name", "email", "sent", "invited_by")}
    return Invitation(
        **named,
        state=_state(document),
        expires_at=moment(document["expires_at"]),
        accepted_at=moment_or_none(document["accepted_at"]),
        revision=int(document["revision"]),
        created_at=moment(document["created_at"]),
        changed_at=moment(document["changed_at"]),
        ended_at=moment_or_none(document.get("ended_at")),
    )
