"""Leases of a hold: a door whose mode is `unlocked` is kept open by its lock for as long as it is told so every few seconds.

A lease lives as long as a door command and no longer, so `effective_by` of whatever ends a hold (a lockdown, another mode, a holiday) is
that of every other change. One that isn't renewed locks (docs/decisions/0011-holding-a-door-open.md).
"""

from __future__ import annotations

from collections.abc import Callable

from py_service.devices.messages import HoldLease, base64url
from py_service.devices.needs import ClockMs, CommandKey, DeviceSigner, RecordedHolds
from py_service.errors import Problem
from py_service.journal.event import COMMAND_LIFE_MS_MAX
from py_service.permissions.standing import DoorOfLock

RENEW_MS = 2_000  # there are 3 s left then: time for another question, should the first be lost
MAY_OPEN_MS = 5_000  # a schedule may open, a lockdown may end
NEVER_OPENS_MS = 300_000  # somebody may give the door another mode: its lock is told to ask, and asks when its line is new

StandsOpen = Callable[[str, str, int], DoorOfLock | None]
"""`(organization, lock, at_ms)`"""


class HoldLeases:
    def __init__(
        self, holds: RecordedHolds, stands_open: StandsOpen, signer: DeviceSigner, command_key: CommandKey, clock_ms: ClockMs
    ) -> None:
        self._holds = holds
        self._stands_open = stands_open
        self._signer = signer
        self._command_key = command_key
        self._clock_ms = clock_ms

    def now_ms(self) -> int:
        """The service's clock."""
        return self._clock_ms()

    async def lease(self, organization: str, lock: str, hold: str | None, arrived_ms: int) -> HoldLease:
        """For a lock that has proved itself since it asked, at `arrived_ms`: permissions are current as of a later moment.

        Raises Problem 404 `hold_unknown` when it isn't this lock's at its door, 503.
        """
        held = self._stands_open(organization, lock, self._clock_ms())
        if held is None or held.open_by is None:
            return HoldLease(None, None, MAY_OPEN_MS if held is not None and held.may_open else NEVER_OPENS_MS)
        door, issued_ms = held.door, arrived_ms
        if hold is None:
            begun = await self._holds.begin(organization, lock)
            if begun is None:
                return HoldLease(None, None, MAY_OPEN_MS)
            hold, issued_ms, door = begun.hold, begun.at_ms, begun.door
        elif not await self._holds.is_of(organization, lock, door, hold):
            raise Problem(404, "hold_unknown", "This lock has no such hold at its door; ask for another.")
        await self._command_key(organization)
        message = self._signer.sign_command(organization, lock, door, "hold", hold, issued_ms, issued_ms + COMMAND_LIFE_MS_MAX)
        return HoldLease(hold, base64url(message), RENEW_MS)
