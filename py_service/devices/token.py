"""A token for the gateway: the only thing a device may do with it is be connected. The api refuses it."""

from __future__ import annotations

from py_service.devices.messages import GatewayToken
from py_service.devices.needs import ClockMs, DeviceSigner
from py_service.exchange import Request, moment

TOKEN_MS = 300_000


class DeviceTokens:
    def __init__(self, signer: DeviceSigner, clock_ms: ClockMs) -> None:
        self._signer = signer
        self._clock_ms = clock_ms

    def make(self, organization: str, device: str, revision: int, request: Request) -> GatewayToken:
        """For a device that has proved itself as of that revision: to switch it off later voids this token, too.

        It has no session of its own, so its name stands there.
        """
        now_ms = request.arrived_ms(self._clock_ms())
        token = self._signer.sign_access_token("gateway", organization, device, "lock", device, [], now_ms, now_ms + TOKEN_MS, revision)
        return GatewayToken(token, moment(now_ms + TOKEN_MS))
