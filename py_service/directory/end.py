"""Delete an object that nothing uses. It stays in the store with `ended_at`: it can still be read, and its id is not used again."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.directory.kinds import Kind
from py_service.directory.owners import keep_an_owner
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.departure import TAKEN_ALONG_MAX, departure_write, end_left_behind
from py_service.permissions.listing import listed_key
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_owner
from py_service.permissions.whereabouts import counted_out_everywhere


@dataclass(frozen=True, slots=True)
class End:
    """To repeat it is safe."""

    kind: Kind
    identifier: str
    if_match: int | None

    @property
    def takes_authority(self) -> bool:
        return self.kind.authority

    async def plan(self, view: View) -> Plan:
        kind = self.kind
        view.require_any(kind.read)
        document = await view.get_ended_or_not(kind.name, self.identifier)
        view.require(kind.write, kind.site_of(document))
        if document.get("ended_at") is not None:
            return Plan()
        check_match(document, self.if_match)
        if kind.name == "person":
            guard_owner(view, document)
            await keep_an_owner(view, {**document, "ended_at": view.at_ms})
        for other, field in kind.used_by:
            if await view.listed(other, listed_key(view.organization, field, self.identifier), 1):
                raise Problem(409, "in_use", f"Something still names this {kind.name}: {other}.", members={"used_by": other})
        plan = view.ended(kind.name, document, f"{kind.name}_deleted")
        if kind.connects:
            plan.cut(self.identifier)
        for other, changed in await kind.also(view, None, document):
            plan.join(view.written(other, changed, f"{other}_changed"))
        if kind.name == "person":
            plan.join(await counted_out_everywhere(view, self.identifier))
            await self._take_along(view, plan)
        return plan

    async def _take_along(self, view: View, plan: Plan) -> None:
        """However much names a person, they can be deleted: their tombstone alone takes everything from them. The rest is the worker's."""
        along, is_all = await end_left_behind(view, self.identifier, TAKEN_ALONG_MAX)
        plan.join(along)
        if not is_all:
            plan.writes.append(departure_write(view.organization, self.identifier, view.at_ms))
