"""The door that a simulated lock stands in: bolt, door position, request to exit, free access, open too long, forced.

Pure: time comes in as milliseconds of the lock's own tick, effects come out of `take_effects`. No sockets, no signatures, no permission.
States are BACnet's names. Egress is always free: a request to exit frees the bolt, whatever else is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DoorState = Literal["NORMAL", "DOOR_OPEN_TOO_LONG", "FORCED_OPEN", "LOCK_FAULT", "FREE_ACCESS"]
MoveKind = Literal["unlocked", "held", "locked"]

UNLOCK_MS = 5_000
OPEN_TOO_LONG_MS = 30_000


@dataclass(frozen=True, slots=True)
class Move:
    """The bolt moved, or (`held`) a command kept it back longer. `command` is the command that did it, if one did."""

    at_ms: int
    what: MoveKind
    command: str | None


@dataclass(frozen=True, slots=True)
class StateChange:
    """The door's state became another one."""

    at_ms: int
    state: DoorState


Effect = Move | StateChange


class Door:
    """One opening with one lock.

    The bolt stays back until `relock_at`; if the door stands open then, until it closes.
    A door that opens while the bolt is out was forced. A door that stands open longer than `open_too_long_ms` is told.
    In free access the bolt stays back until `release`, and the door may stand open.
    """

    def __init__(self, *, unlock_ms: int = UNLOCK_MS, open_too_long_ms: int = OPEN_TOO_LONG_MS) -> None:
        self._unlock_ms = unlock_ms
        self._open_too_long_ms = open_too_long_ms
        self._now_ms = 0
        self._relock_at_ms = 0
        self._too_long_at_ms: int | None = None
        self._effects: list[Effect] = []
        self.locked = True
        self.free = False
        self.open = False
        self.jammed = False
        self.state: DoorState = "NORMAL"

    def unlock(self, now_ms: int, command: str | None) -> bool:
        """Draw the bolt back. False when it is jammed: nothing moved then."""
        self.tick(now_ms)
        if self.jammed:
            self._become("LOCK_FAULT")
            return False
        if self.state == "LOCK_FAULT":
            self._become("FREE_ACCESS" if self.free else "NORMAL")
        self._relock_at_ms = max(self._relock_at_ms, self._now_ms + self._unlock_ms)
        self._effects.append(Move(self._now_ms, "unlocked" if self.locked else "held", command))
        self.locked = False
        return True

    def hold(self, now_ms: int, hold: str) -> bool:
        """Free access: keep the bolt back until `release`. False when it is jammed: nothing moved then."""
        self.tick(now_ms)
        if self.jammed and self.locked:
            self._become("LOCK_FAULT")
            return False
        if not self.free:
            self._effects.append(Move(self._now_ms, "unlocked" if self.locked else "held", hold))
            self.free, self.locked = True, False
            self._too_long_at_ms = None
        if self.state in ("NORMAL", "LOCK_FAULT", "DOOR_OPEN_TOO_LONG"):
            self._become("FREE_ACCESS")
        return True

    def release(self, now_ms: int) -> None:
        """The hold is over: the bolt goes out, or does when the door closes."""
        self.tick(now_ms)
        if not self.free:
            return
        self.free = False
        if self.state == "FREE_ACCESS":
            self._become("NORMAL")
        if self.open and self.state == "NORMAL":
            self._too_long_at_ms = self._now_ms + self._open_too_long_ms
        self._relock_if_due()

    def request_to_exit(self, now_ms: int) -> None:
        """Somebody inside wants out (REX). A jam doesn't hold people in: egress is mechanical."""
        self.tick(now_ms)
        self._relock_at_ms = max(self._relock_at_ms, self._now_ms + self._unlock_ms)
        if self.locked:
            self._effects.append(Move(self._now_ms, "unlocked", None))
            self.locked = False

    def opened(self, now_ms: int) -> None:
        """The door contact says: open."""
        self.tick(now_ms)
        if self.open:
            return
        self.open = True
        if self.locked:
            self._become("FORCED_OPEN")
        elif not self.free:
            self._too_long_at_ms = self._now_ms + self._open_too_long_ms

    def closed(self, now_ms: int) -> None:
        """The door contact says: closed. Ends open too long and forced."""
        self.tick(now_ms)
        if not self.open:
            return
        self.open = False
        self._too_long_at_ms = None
        if self.state in ("FORCED_OPEN", "DOOR_OPEN_TOO_LONG"):
            self._become("FREE_ACCESS" if self.free else "NORMAL")
        self._relock_if_due()

    def tick(self, now_ms: int) -> None:
        """Let time pass. A tick that goes back is taken as standing still."""
        self._now_ms = max(self._now_ms, now_ms)
        self._relock_if_due()
        if self._too_long_at_ms is not None and self._now_ms >= self._too_long_at_ms:
            self._too_long_at_ms = None
            self._become("DOOR_OPEN_TOO_LONG")

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do next."""
        deadlines = [] if self.locked or self.open or self.free else [self._relock_at_ms]
        if self._too_long_at_ms is not None:
            deadlines.append(self._too_long_at_ms)
        return min(deadlines, default=None)

    def take_effects(self) -> list[Effect]:
        """What happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _relock_if_due(self) -> None:
        if not self.locked and not self.free and not self.open and self._now_ms >= self._relock_at_ms:
            self.locked = True
            self._effects.append(Move(self._now_ms, "locked", None))

    def _become(self, state: DoorState) -> None:
        if self.state != state:
            self.state = state
            self._effects.append(StateChange(self._now_ms, state))
