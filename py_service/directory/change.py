"""Change an object: only the fields that were sent are touched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from py_service.directory.document import TYPED, check_references
from py_service.directory.kinds import Kind
from py_service.directory.owners import keep_an_owner
from py_service.directory.suspend import cut_moment
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.counting import begin_to_count
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_address, guard_owner
from py_service.permissions.text import clean_names
from py_service.stores.mongo import Document

MoveAccount = Callable[[View, str, str | None], Awaitable[Plan | None]]
"""`(view, person, email)`: what becomes of the account of a person whose address is another now; None when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Patch:
    """RFC 7396 for flat objects. `if_match`: the revision that the caller has seen, or None for any.

    Whoever has a person's address can have the account: it follows the address, and sessions from before end.
    """

    kind: Kind
    identifier: str
    values: Document
    if_match: int | None
    move_account: MoveAccount

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
        await kind.place(view, after)
        view.require(kind.write, kind.site_of(after))
        clean_names(after, self.values, TYPED)
        await check_references(view, kind, after, before)
        await kind.check(view, after, before)
        if all(after.get(name) == before.get(name) for name in self.values):
            return Plan(result=before)
        moved = None
        if kind.name == "person":
            guard_owner(view, before)
            await keep_an_owner(view, after)
            moved = await self._move(view, before, after)
        plan = view.written(kind.name, after, f"{kind.name}_changed", changed=sorted(self.values))
        if moved is not None:
            plan.join(moved)
            plan.cut(self.identifier)
        if kind.name == "area":
            plan.writes += await begin_to_count(view, after, before)
        for other, document in await kind.also(view, after, before):
            plan.join(view.written(other, document, f"{other}_changed"))
        if any(after.get(name) != before.get(name) for name in kind.connects):
            plan.cut(self.identifier)
        return plan

    async def _move(self, view: View, before: Document, after: Document) -> Plan | None:
        """Raises Problem 403 for somebody with roles, as the address decides who has them."""
        if after.get("email") == before.get("email"):
            return None
        guard_address(view, before)
        moved = await self.move_account(view, self.identifier, after.get("email"))
        if moved is not None:
            after["tokens_valid_after"] = cut_moment(view, before)
        return moved
