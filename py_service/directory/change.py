"""Change an object: only the fields that were sent are touched."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.directory.document import check_references, cleaned
from py_service.directory.kinds import Kind
from py_service.directory.owners import keep_an_owner
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_owner
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class Patch:
    """RFC 7396 for flat objects. `if_match`: the revision that the caller has seen, or None for any."""

    kind: Kind
    identifier: str
    values: Document
    if_match: int | None

    @property
    def takes_authority(self) -> bool:
        return self.kind.authority

    async def plan(self, view: View) -> Plan:
        kind = self.kind
        view.require_any(kind.read)
        before = await view.get(kind.name, self.identifier)
        view.require(kind.write, kind.site_of(before))
        check_match(before, self.if_match)
        for name in kind.fixed:
            if name in self.values and self.values[name] != before.get(name):
                raise Problem(422, "field_fixed", f"{name} can't change; make another {kind.name}.")
        after = {**before, **self.values}
        cleaned(after)
        await check_references(view, kind, after, before)
        await kind.check(view, after, before)
        if all(after.get(name) == before.get(name) for name in self.values):
            return Plan(result=before)
        if kind.name == "person":
            guard_owner(view, before)
            await keep_an_owner(view, after)
        plan = view.written(kind.name, after, f"{kind.name}_changed", changed=sorted(self.values))
        for other, document in await kind.also(view, after, before):
            plan.join(view.written(other, document, f"{other}_changed"))
        if any(after.get(name) != before.get(name) for name in kind.connects):
            plan.cut_subject = self.identifier
        return plan
