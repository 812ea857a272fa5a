"""The identity room's doors to the outside: decode, one call, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from py_service.errors import Problem
from py_service.exchange import Operation, Request, Response, Route, decoded, encoded
from py_service.identity.me import DOORS_CURSOR, Myself
from py_service.identity.messages import (
    REFRESH_BODY,
    SIGN_IN_BODY,
    KeySet,
    Me,
    MyDoors,
    RealtimeToken,
    RefreshBody,
    SignedIn,
    SignInBody,
)
from py_service.identity.realtime_token import RealtimeTokens
from py_service.identity.refresh import Refresh
from py_service.identity.sessions import client_name
from py_service.identity.sign_in import SignIn
from py_service.identity.sign_out import SignOut
from py_service.paging import Cursor, Limit, read_limit, read_place

_CREDENTIAL_BYTES_MAX = 4_096
_CURSOR_CHARACTERS_MAX = 128
_NOT_STANDING = ("401 token_revoked", "403 person_suspended", "403 organization_suspended")
SIGN_IN = Operation("Sign in", "Sign-in", {200: SignedIn}, SignInBody, codes=("401 sign_in_failed", *_NOT_STANDING))
REFRESH = Operation(
    "Trade a refresh token for new tokens", "Sign-in", {200: SignedIn}, RefreshBody,
    codes=("401 refresh_token_unknown", "401 refresh_token_expired", "401 refresh_token_reused", *_NOT_STANDING),
)  # fmt: skip
SIGN_OUT = Operation("Sign out", "Sign-in", {204: None}, RefreshBody)
ME = Operation("Who am I", "Me", {200: Me})
MY_DOORS = Operation("My doors, and what each would say now", "Me", {200: MyDoors}, query={"limit": Limit, "cursor": Cursor})
REALTIME_TOKEN = Operation("A token for the gateway's WebSocket", "Me", {200: RealtimeToken}, by_lane=False)
KEYS = Operation("Public keys of access tokens", "Operation", {200: KeySet})


@dataclass(slots=True, frozen=True)
class IdentityHandlers:
    """`jwks` gives the JSON Web Key Set as encoded JSON."""

    sign_in: SignIn
    refresh: Refresh
    sign_out: SignOut
    realtime_tokens: RealtimeTokens
    myself: Myself
    jwks: Callable[[], bytes]

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v1/sign-in",
                self.post_sign_in,
                access="anyone",
                fenced=False,
                body_bytes_max=_CREDENTIAL_BYTES_MAX,
                own_quota="sign-in",
                about=SIGN_IN,
            ),
            Route(
                "POST", "/v1/refresh", self.post_refresh, access="anyone", fenced=False, body_bytes_max=_CREDENTIAL_BYTES_MAX, about=REFRESH
            ),
            Route(
                "POST",
                "/v1/sign-out",
                self.post_sign_out,
                access="anyone",
                fenced=False,
                body_bytes_max=_CREDENTIAL_BYTES_MAX,
                about=SIGN_OUT,
            ),
            Route("GET", "/v1/me", self.get_me, body_bytes_max=0, about=ME),
            Route("GET", "/v1/me/doors", self.get_doors, body_bytes_max=0, about=MY_DOORS),
            Route("POST", "/v1/me/realtime-token", self.post_realtime_token, body_bytes_max=0, about=REALTIME_TOKEN),
            Route("GET", "/.well-known/jwks.json", self.get_jwks, access="anyone", fenced=False, body_bytes_max=0, about=KEYS),
        ]

    async def post_sign_in(self, request: Request) -> Response:
        body = decoded(SIGN_IN_BODY, request.body)
        return encoded(200, await self.sign_in.sign_in(body.email, body.password, _client(request)))

    async def post_refresh(self, request: Request) -> Response:
        token = decoded(REFRESH_BODY, request.body).refresh_token
        return encoded(200, await self.refresh.refresh(token, _client(request)))

    async def post_sign_out(self, request: Request) -> Response:
        await self.sign_out.sign_out(decoded(REFRESH_BODY, request.body).refresh_token)
        return Response(204)

    async def get_me(self, request: Request) -> Response:
        claims = request.person()
        return encoded(200, await self.myself.me(claims.organization, claims.subject))

    async def get_doors(self, request: Request) -> Response:
        claims, query = request.person(), request.query
        if query.keys() - {"limit", "cursor"}:
            raise Problem(400, "query_invalid", "Known here: cursor, limit.")
        after = read_place(DOORS_CURSOR, query["cursor"], _CURSOR_CHARACTERS_MAX) if "cursor" in query else ""
        return encoded(200, self.myself.doors(claims.organization, claims.subject, after, read_limit(query.get("limit"))))

    async def post_realtime_token(self, request: Request) -> Response:
        return encoded(200, self.realtime_tokens.make(request.person(), request))

    async def get_jwks(self, request: Request) -> Response:
        # Shorter than the lead of a new key (keys.py), so that a cache never hides one that signs already.
        return Response(200, self.jwks(), {"cache-control": "public, max-age=30"})


def _client(request: Request) -> str:
    return client_name(request.headers.get("user-agent"))
