"""Which locks are told to ask again whether their doors are held open, once a change is committed.

Only a hint over the bus: a lock that misses it asks by itself, and what it holds on ends by then (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Iterable

from py_service._core_rs import PermissionIndex
from py_service.permissions.image import Image

# Of these any number of doors may come to stand open, or to be shut.
REACHING_KINDS = frozenset({"organization", "site", "area", "schedule", "calendar"})


def asked_to_hold(index: PermissionIndex, organization: str, images: Iterable[Image]) -> list[str]:
    """Locks, by permissions in memory, which have taken the change in, as far as they could. All images of one organization at once."""
    locks: set[str] = set()
    reaching = False
    for image in images:
        kind = image["kind"]
        reaching = reaching or kind in REACHING_KINDS
        if kind == "device":
            locks.add(str(image["id"]))
        elif kind == "door" and image["document"] and image["document"].get("lock"):
            locks.add(str(image["document"]["lock"]))
    if reaching:
        locks.update(index.locks_with_mode_unlocked(organization))
    return sorted(locks)
