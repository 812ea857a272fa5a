"""Give a person a PIN, or take it: what a door in the mode `card_and_pin` asks for."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.permissions.change import Plan, View
from py_service.permissions.image import body_of
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_owner


@dataclass(frozen=True, slots=True)
class SetPin:
    """`hashed`: never the PIN itself, which is in no document, record or event; None takes it away.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    person: str
    hashed: str | None
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require("persons.write", None)
        document = await view.get("person", self.person)
        check_match(document, self.if_match)
        guard_owner(view, document)
        body = {**body_of(document), "pin": self.hashed}
        event = view.event("pin_set" if self.hashed else "pin_taken", self.person, person=self.person)
        return Plan([{"kind": "person", "id": self.person, "document": body}], [event])
