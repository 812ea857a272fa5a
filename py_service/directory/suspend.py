"""Suspend a person, and let them in again."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.directory.owners import keep_an_owner
from py_service.errors import Problem
from py_service.permissions.change import Plan, View
from py_service.permissions.image import body_of
from py_service.permissions.match import check_match
from py_service.permissions.owners import guard_owner
from py_service.stores.mongo import Document


def cut_moment(view: View, person: Document) -> int:
    """Tokens issued before this are void: also one of this very millisecond, and never fewer than were void already."""
    return max(int(person["tokens_valid_after"]), view.at_ms + 1)


@dataclass(frozen=True, slots=True)
class SetPersonState:
    """Suspending also cuts every token and connection of the person, and sessions that began before it are good for nothing after it.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    person: str
    state: str  # "active" or "suspended"
    if_match: int | None
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require("persons.write", None)
        document = await view.get("person", self.person)
        check_match(document, self.if_match)
        suspending = self.state == "suspended"
        if suspending and view.actor is not None and view.actor.subject == self.person:
            raise Problem(409, "conflict", "Nobody can suspend themselves.")
        if document["state"] == self.state:
            return Plan()
        body = body_of(document) | {"state": self.state, "revision": view.revision, "changed_at": view.at_ms}
        guard_owner(view, document)  # also to let one in again: another owner has put this one out
        if suspending:
            await keep_an_owner(view, {**document, "state": "suspended"})
            body["tokens_valid_after"] = cut_moment(view, document)
        event = view.event(f"person_{'suspended' if suspending else 'resumed'}", self.person, person=self.person)
        plan = Plan([{"kind": "person", "id": self.person, "document": body}], [event])
        return plan.cut(self.person) if suspending else plan
