"""Give a person a PIN, or take it: what a door in the mode `card_and_pin` asks for."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.permissions.change import Plan, View, Write
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_owner
from py_service.permissions.states import STATES, state_document, state_name
from py_service.stores.mongo import find_by_ids


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
        image = view.image("person", {**document, "pin": self.hashed})
        event = view.event("pin_set" if self.hashed else "pin_taken", self.person, person=self.person)
        return Plan([image], [event], writes=await self._forget_guesses(view))

    async def _forget_guesses(self, view: View) -> list[Write]:
        """What was guessed at was the PIN before: whoever gets another is heard at once."""
        key = f"pin.{self.person}"
        name = state_name(view.organization, key)
        found = await find_by_ids(view.mongo.database, STATES, [name], session=view.session)
        return [Write(STATES, name, state_document(view.organization, key, {}))] if found else []
