"""Delete an object that nothing uses. It stays in the store with `ended_at`: it can still be read, and its id is not used again."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.directory.kinds import Kind
from py_service.directory.owners import keep_an_owner
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.listing import listed_key
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_owner
from py_service.permissions.pass_tree import end_passes
from py_service.permissions.whereabouts import counted_out_everywhere

TAKEN_ALONG_MAX = 900


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
            plan.cut("subject")
        if kind.name == "person":
            plan.join(await counted_out_everywhere(view, self.identifier))
        for other, changed in await kind.also(view, None, document):
            plan.join(view.written(other, changed, f"{other}_changed"))
        for other, field in kind.takes_along:
            # The tombstones travel in one change record: what names more than this is taken apart first.
            gone = await view.listed(other, listed_key(view.organization, field, self.identifier), TAKEN_ALONG_MAX + 1)
            if len(gone) > TAKEN_ALONG_MAX:
                hidden = "" if all([await view.shows(named) for named in gone]) else " An import that is under way makes some of them."
                detail = f"More than {TAKEN_ALONG_MAX} objects name this {kind.name}.{hidden}"
                raise Problem(409, "in_use", detail, members={"used_by": other})
            if other == "pass":
                plan.join(await end_passes(view, gone, "pass_taken"))
                continue
            for named in gone:
                plan.join(view.ended(other, named, f"{other}_deleted"))
        return plan
