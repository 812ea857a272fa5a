"""Which door a lock may keep open now, by permissions in memory: asked by whoever leases a hold, and again behind the fence."""

from __future__ import annotations

from dataclasses import dataclass

from py_service._core_rs import PermissionIndex


@dataclass(frozen=True, slots=True)
class DoorOfLock:
    """A lock and the door that it moves. `open_by`: the schedule, or the door, by whose mode the bolt is to be held back; None: it isn't.

    `may_open`: it may come to that by the door's modes. `revision`: of the permissions that say so.
    """

    door: str
    site: str
    open_by: str | None
    may_open: bool
    revision: int


def door_of_lock(index: PermissionIndex, organization: str, lock: str, at_ms: int) -> DoorOfLock | None:
    """None when the lock is switched off, or moves no door: the door has to name it, and it the door.

    INVARIANT: all of one revision, as for an attempt to unlock: a change may be put in by another thread between two of these questions.
    """
    while True:
        revision = index.revision(organization)
        device = index.device(organization, lock)
        door = None if device is None or device.door is None else index.door(organization, device.door)
        standing = None if door is None else index.standing(organization, door.id, at_ms)
        if index.revision(organization) == revision:
            break
    if device is None or not device.active or door is None or door.lock != lock or standing is None:
        return None
    return DoorOfLock(door.id, door.site, standing.open_by, standing.may_open, standing.revision)
