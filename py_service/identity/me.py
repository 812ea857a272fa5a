"""What a person sees of themselves: name, roles, and the doors that concern them with the decision of this moment."""

from __future__ import annotations

from py_service.errors import not_standing
from py_service.identity.messages import Me, MyDoor, MyDoors
from py_service.identity.needs import ClockMs, Permissions
from py_service.identity.store import IdentityStore
from py_service.paging import write_cursor

DOORS_CURSOR = "m1"


class Myself:
    def __init__(self, store: IdentityStore, permissions: Permissions, clock_ms: ClockMs) -> None:
        self._store = store
        self._permissions = permissions
        self._clock_ms = clock_ms

    async def me(self, organization: str, person: str) -> Me:
        """Raises Problem 401 `token_revoked` when the person was removed a moment ago, 503."""
        seen = await self._store.person(organization, person)
        if seen is None:
            raise not_standing("person_unknown")
        return Me(person, organization, seen.name, seen.roles)

    def doors(self, organization: str, person: str, after: str, limit: int) -> MyDoors:
        """By id, those behind `after`."""
        found = self._permissions.index.doors_of(organization, person, self._clock_ms(), after, None, limit + 1)
        mine = [MyDoor(door.id, door.name, door.site, door.area, decision.allowed, decision.reason) for door, decision in found[:limit]]
        return MyDoors(mine, write_cursor(DOORS_CURSOR, mine[-1].id) if len(found) > limit else None)
