"""A device proves itself. Whatever is wrong (organization, device, key, time, signature, switched off) looks the same from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_service._core_rs import DeviceAssertionError, verify_device_assertion
from py_service.devices.needs import ClockMs, Permissions
from py_service.errors import Problem, not_standing
from py_service.telemetry import logger

if TYPE_CHECKING:
    from py_service._core_rs import DeviceRecord

_IDENTIFIER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
# The base point of Ed25519: a valid key that nobody holds, so that an unknown device costs the same work as a known one.
_NOBODY = bytes([0x58]) + bytes([0x66]) * 31
SUSPENDED = "organization_suspended"
_LOG = logger("devices")


class DeviceProof:
    def __init__(self, permissions: Permissions, clock_ms: ClockMs, *, fence: bool = True) -> None:
        """Without `fence` memory is taken as it is: only to show that the revoke races then fail."""
        self._permissions = permissions
        self._clock_ms = clock_ms
        self._fence = fence

    async def prove(self, organization: str, device: str, assertion: str) -> DeviceRecord:
        """The device, by permissions that are current. Raises Problem 401 `assertion_refused`, 403 when suspended, 503."""
        record, _ = await self.prove_as_of(organization, device, assertion)
        return record

    async def prove_as_of(self, organization: str, device: str, assertion: str) -> tuple[DeviceRecord, int]:
        """The same, with the revision that it is true of, or an earlier one."""
        if not (_is_identifier(organization) and _is_identifier(device)):
            raise _refused()
        if self._fence:
            await self._permissions.current(organization)
        revision = max(0, self._permissions.index.revision(organization))  # first: what changes meanwhile is of a later one
        record = self._permissions.index.device(organization, device)
        try:
            verify_device_assertion(record.public_key if record else _NOBODY, assertion, organization, device, self._clock_ms())
        except DeviceAssertionError as error:
            _LOG.info("assertion refused", organization=organization, device=device, code=error.code)
            raise _refused() from None
        if record is None or not record.active:
            raise _refused()
        # The organization is looked at before any subject.
        if self._permissions.index.authenticate(organization, device, 0, "") == SUSPENDED:
            raise not_standing(SUSPENDED)  # told only to who has proved to be of it
        return record, revision


def _is_identifier(text: str) -> bool:
    return 0 < len(text) <= 64 and _IDENTIFIER.issuperset(text)


def _refused() -> Problem:
    return Problem(401, "assertion_refused", "The device's assertion was refused.")
