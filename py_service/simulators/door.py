"""The door that a simulated lock stands in: bolt, door position, request to exit, held open, forced.

Pure: time comes in as milliseconds of the lock's own tick, effects come out of `take_effects`. No sockets, no signatures, no permission.
States are BACnet's names. Egress is always free: a request to exit frees the bolt, whatever else is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DoorState = Literal["NORMAL", "DOOR_OPEN_TOO_LONG", "FORCED_OPEN", "LOCK_FAULT", "FREE_ACCESS"]
MoveKind = Literal["unlocked", "held", "locked"]

UNLOCK_MS = 5_000
HELD_OPEN_MS = 30_000


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
    A door that opens while the bolt is out was forced. A door that stands open longer than `held_open_ms` is held.
    In free access the bolt stays back until the lease ends that was given last, and the door may stand open.
    """

    def __init__(self, *, unlock_ms: int = UNLOCK_MS, held_open_ms: int = HELD_OPEN_MS) -> None:
        self._unlock_ms = unlock_ms
        self._held_open_ms = held_open_ms
        self._now_ms = 0
        self._relock_at_ms = 0
        self._held_at_ms: int | None = None
        self._free_until_ms: int | None = None
        self._effects: list[Effect] = []
        self.locked = True
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
            self._become("NORMAL")
        self._relock_at_ms = max(self._relock_at_ms, self._now_ms + self._unlock_ms)
        self._effects.append(Move(self._now_ms, "unlocked" if self.locked else "held", command))
        self.locked = False
        return True

    @property
    def free(self) -> bool:
        """Whether a hold keeps the bolt back."""
        return self._free_until_ms is not None

    def hold(self, now_ms: int, until_ms: int, hold: str) -> bool:
        """Keep the bolt back until then. False when it is jammed: nothing moved then."""
        self.tick(now_ms)
        if self.jammed and self.locked:
            self._become("LOCK_FAULT")
            return False
        if self._free_until_ms is None:
            self._effects.append(Move(self._now_ms, "unlocked" if self.locked else "held", hold))
            self.locked = False
            self._held_at_ms = None
            self._become("FREE_ACCESS")
        self._free_until_ms = until_ms
        return True

    def release(self, now_ms: int) -> None:
        """The hold is over: the bolt goes out, or does when the door closes."""
        self.tick(now_ms)
        self._end_hold()

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
            self._held_at_ms = self._now_ms + self._held_open_ms

    def closed(self, now_ms: int) -> None:
        """The door contact says: closed. Ends held open and forced."""
        self.tick(now_ms)
        if not self.open:
            return
        self.open = False
        self._held_at_ms = None
        if self.state in ("FORCED_OPEN", "DOOR_OPEN_TOO_LONG"):
            self._become("FREE_ACCESS" if self.free else "NORMAL")
        self._relock_if_due()

    def tick(self, now_ms: int) -> None:
        """Let time pass. A tick that goes back is taken as standing still."""
        self._now_ms = max(self._now_ms, now_ms)
        if self._free_until_ms is not None and self._now_ms >= self._free_until_ms:
            self._end_hold()
        self._relock_if_due()
        if self._held_at_ms is not None and self._now_ms >= self._held_at_ms:
            self._held_at_ms = None
            self._become("DOOR_OPEN_TOO_LONG")

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do next."""
        if self._free_until_ms is not None:
            return self._free_until_ms
        deadlines = [] if self.locked or self.open else [self._relock_at_ms]
        if self._held_at_ms is not None:
            deadlines.append(self._held_at_ms)
        return min(deadlines, default=None)

    def take_effects(self) -> list[Effect]:
        """What happened since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _end_hold(self) -> None:
        if self._free_until_ms is None:
            return
        self._free_until_ms = None
        if self.state == "FREE_ACCESS":
            self._become("NORMAL")
        if self.open:
            self._held_at_ms = self._now_ms + self._held_open_ms
        self._relock_if_due()

    def _relock_if_due(self) -> None:
        if not self.locked and not self.free and not self.open and self._now_ms >= self._relock_at_ms:
            self.locked = True
            self._effects.append(Move(self._now_ms, "locked", None))

    def _become(self, state: DoorState) -> None:
        if self.state != state:
            self.state = state
            self._effects.append(StateChange(self._now_ms, state))
