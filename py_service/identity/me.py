"""What a person sees of themselves: name, roles, and the doors that concern them with the decision of this moment."""

from __future__ import annotations

from py_service.errors import not_standing
from py_service.identity.messages import Me, MyDoor, MyDoors
from py_service.identity.needs import ClockMs, Permissions
from py_service.identity.store import IdentityStore

_DOORS_MAX = 1_000


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

    def doors(self, organization: str, person: str) -> MyDoors:
        """At most 1,000 doors, by id."""
        found = self._permissions.index.doors_of(organization, person, self._clock_ms(), "", None, _DOORS_MAX)
        return MyDoors([MyDoor(door.id, door.name, door.site, door.area, decision.allowed, decision.reason) for door, decision in found])
