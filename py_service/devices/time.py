"""The time, signed for one lock and its nonce (docs/protocols/tokens.md). A lock believes no other clock."""

from __future__ import annotations

from py_service.devices.messages import SignedTime, base64url
from py_service.devices.needs import ClockMs, CommandKey, DeviceSigner


class LockTime:
    def __init__(self, signer: DeviceSigner, command_key: CommandKey, clock_ms: ClockMs) -> None:
        self._signer = signer
        self._command_key = command_key
        self._clock_ms = clock_ms

    async def sign(self, organization: str, lock: str, nonce: bytes) -> SignedTime:
        """The clock is read last: what comes before only widens the round trip that the lock counts as uncertainty."""
        await self._command_key(organization)
        return SignedTime(base64url(self._signer.sign_time(organization, lock, nonce, self._clock_ms())))
