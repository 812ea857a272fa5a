"""The devices room's doors to the outside: decode, prove, one call, encode."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.devices.assertion import DeviceProof
from py_service.devices.configuration import Configurations
from py_service.devices.hold import HoldLeases
from py_service.devices.messages import (
    HOLD_BODY,
    TIME_BODY,
    TOKEN_BODY,
    Configuration,
    GatewayToken,
    HoldBody,
    HoldLease,
    OrganizationId,
    SignedTime,
    TimeBody,
    TokenBody,
    nonce_of,
)
from py_service.devices.time import LockTime
from py_service.devices.token import DeviceTokens
from py_service.errors import Problem
from py_service.exchange import Operation, Request, Response, Route, decoded, encoded

_BODY_BYTES_MAX = 8_192
_REFUSED = ("401 assertion_refused", "403 organization_suspended")
TOKEN = Operation("A token for the gateway", "Devices at work", {200: GatewayToken}, TokenBody, codes=_REFUSED)
TIME = Operation("The time, signed for one lock", "Devices at work", {200: SignedTime}, TimeBody, codes=_REFUSED)
HOLD = Operation(
    "A lease to keep the door open, if its mode says so", "Devices at work", {200: HoldLease}, HoldBody,
    codes=(*_REFUSED, "404 hold_unknown"),
)  # fmt: skip
CONFIGURATION = Operation(
    "What a lock pins at its enrolment", "Devices at work", {200: Configuration}, query={"organization": OrganizationId},
    needed=("organization",), headers=("X-Nexkey-Assertion",), codes=_REFUSED,
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class DeviceHandlers:
    proof: DeviceProof
    tokens: DeviceTokens
    time: LockTime
    configurations: Configurations
    holds: HoldLeases

    def routes(self) -> list[Route]:
        return [
            Route(
                "POST",
                "/v1/devices/{device}/token",
                self.post_token,
                access="anyone",
                fenced=False,
                body_bytes_max=_BODY_BYTES_MAX,
                about=TOKEN,
            ),
            Route(
                "POST",
                "/v1/devices/{device}/time",
                self.post_time,
                access="anyone",
                fenced=False,
                body_bytes_max=_BODY_BYTES_MAX,
                about=TIME,
            ),
            Route(
                "POST",
                "/v1/devices/{device}/hold",
                self.post_hold,
                access="anyone",
                fenced=False,
                body_bytes_max=_BODY_BYTES_MAX,
                about=HOLD,
            ),
            Route(
                "GET",
                "/v1/devices/{device}/configuration",
                self.get_configuration,
                access="anyone",
                fenced=False,
                body_bytes_max=0,
                about=CONFIGURATION,
            ),
        ]

    async def post_token(self, request: Request) -> Response:
        body = decoded(TOKEN_BODY, request.body)
        device, revision = await self.proof.prove_as_of(body.organization, request.parameters["device"], body.assertion)
        return encoded(200, self.tokens.make(body.organization, device.id, revision, request))

    async def post_time(self, request: Request) -> Response:
        body = decoded(TIME_BODY, request.body)
        nonce = nonce_of(body.nonce)
        device = await self.proof.prove(body.organization, request.parameters["device"], body.assertion)
        return encoded(200, await self.time.sign(body.organization, device.id, nonce))

    async def post_hold(self, request: Request) -> Response:
        body = decoded(HOLD_BODY, request.body)
        arrived_ms = self.holds.now_ms()  # before the fence: what is signed is no older than the permissions that it is signed by
        device = await self.proof.prove(body.organization, request.parameters["device"], body.assertion)
        return encoded(200, await self.holds.lease(body.organization, device.id, body.hold, arrived_ms))

    async def get_configuration(self, request: Request) -> Response:
        organization = _organization(request)
        assertion = request.headers.get("x-nexkey-assertion", "")
        device = await self.proof.prove(organization, request.parameters["device"], assertion)
        return encoded(200, await self.configurations.make(organization, device))


def _organization(request: Request) -> str:
    unknown = request.query.keys() - {"organization"}
    if unknown:
        raise Problem(400, "query_invalid", "Only `organization` is taken here.")
    organization = request.query.get("organization")
    if organization is None:
        raise Problem(400, "query_invalid", "`organization` is needed.")
    return organization
