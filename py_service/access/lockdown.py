"""Lock down a door, an area or a site, and release it."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.permissions.change import Plan, View
from py_service.permissions.image import body_of


@dataclass(frozen=True, slots=True)
class SetLockdown:
    """`kind`: door, area or site."""

    kind: str
    place: str
    locked_down: bool
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        document = await view.get(self.kind, self.place)
        view.require("lockdown.write", self.place if self.kind == "site" else str(document["site"]))
        if bool(document.get("locked_down")) == self.locked_down:
            return Plan()
        body = body_of(document)
        body["locked_down"] = self.locked_down
        what = f"{self.kind}_{'locked_down' if self.locked_down else 'released'}"
        door = self.place if self.kind == "door" else None
        return Plan([{"kind": self.kind, "id": self.place, "document": body}], [view.event(what, self.place, door=door)])
