"""The identity room's doors to the outside: decode, one call, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from py_service.exchange import Request, Response, Route, decoded, encoded
from py_service.identity.me import Myself
from py_service.identity.messages import REFRESH_BODY, SIGN_IN_BODY
from py_service.identity.realtime_token import RealtimeTokens
from py_service.identity.refresh import Refresh
from py_service.identity.sign_in import SignIn
from py_service.identity.sign_out import SignOut

_CREDENTIAL_BYTES_MAX = 4_096


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
            Route("POST", "/v1/sign-in", self.post_sign_in, access="anyone", fenced=False, body_bytes_max=_CREDENTIAL_BYTES_MAX),
            Route("POST", "/v1/refresh", self.post_refresh, access="anyone", fenced=False, body_bytes_max=_CREDENTIAL_BYTES_MAX),
            Route("POST", "/v1/sign-out", self.post_sign_out, access="anyone", fenced=False, body_bytes_max=_CREDENTIAL_BYTES_MAX),
            Route("GET", "/v1/me", self.get_me, body_bytes_max=0),
            Route("GET", "/v1/me/doors", self.get_doors, body_bytes_max=0),
            Route("POST", "/v1/me/realtime-token", self.post_realtime_token, body_bytes_max=0),
            Route("GET", "/.well-known/jwks.json", self.get_jwks, access="anyone", fenced=False, body_bytes_max=0),
        ]

    async def post_sign_in(self, request: Request) -> Response:
        body = decoded(SIGN_IN_BODY, request.body)
        return encoded(200, await self.sign_in.sign_in(body.email, body.password))

    async def post_refresh(self, request: Request) -> Response:
        return encoded(200, await self.refresh.refresh(decoded(REFRESH_BODY, request.body).refresh_token))

    async def post_sign_out(self, request: Request) -> Response:
        await self.sign_out.sign_out(decoded(REFRESH_BODY, request.body).refresh_token)
        return Response(204)

    async def get_me(self, request: Request) -> Response:
        claims = request.person()
        return encoded(200, await self.myself.me(claims.organization, claims.subject))

    async def get_doors(self, request: Request) -> Response:
        claims = request.person()
        return encoded(200, self.myself.doors(claims.organization, claims.subject))

    async def post_realtime_token(self, request: Request) -> Response:
        return encoded(200, self.realtime_tokens.make(request.person()))

    async def get_jwks(self, request: Request) -> Response:
        # Shorter than the lead of a new key (keys.py), so that a cache never hides one that signs already.
        return Response(200, self.jwks(), {"cache-control": "public, max-age=30"})
