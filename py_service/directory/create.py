"""Create an object."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from py_service.directory.document import TYPED, check_references
from py_service.directory.kinds import BY_NAME, Kind
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.text import clean_names
from py_service.stores.mongo import Document


@dataclass(frozen=True, slots=True)
class Create:
    """`values` are decoded fields (times in ms). Validated in the transaction that writes it."""

    kind: Kind
    identifier: str | None
    values: Document

    @property
    def takes_authority(self) -> bool:
        return self.kind.authority

    async def plan(self, view: View) -> Plan:
        kind = self.kind
        identifier = self.identifier or f"{kind.name}_{secrets.token_hex(8)}"
        document: Document = {**kind.starts_as, **self.values, "id": identifier, "created_at": view.at_ms}
        await kind.place(view, document)
        view.require(kind.write, kind.site_of(document))
        if await view.find_ended_or_not(kind.name, identifier) is not None:
            raise Problem(409, "id_taken", f"There is, or was, a {kind.name} with this id.")
        clean_names(document, TYPED, TYPED)
        await check_references(view, kind, document, None)
        await kind.check(view, document, None)
        plan = view.written(kind.name, document, f"{kind.name}_created")
        for other, changed in await kind.also(view, document, None):
            plan.join(view.written(other, changed, f"{other}_changed"))
        return plan


async def plan_new_person(view: View, values: Document) -> Plan:
    """For a change that makes a person along with something else. `values`: the fields that were sent. Raises Problem as `Create` does."""
    kind = BY_NAME["person"]
    unsent = dict.fromkeys(kind.fields.__struct_fields__) | {"kind": "employee", "groups": []}
    return await Create(kind, None, {**unsent, **values}).plan(view)
