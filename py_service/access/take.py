"""Take access back: end a grant. To repeat it is safe."""

from __future__ import annotations

from dataclasses import dataclass

from py_service.access.place import site_of_grant
from py_service.permissions.change import Plan, View
from py_service.permissions.listing import sites_of
from py_service.permissions.match import check_match


@dataclass(frozen=True, slots=True)
class TakeGrant:
    """The grant stays in the store with `ended_at`, so that a repeat is told apart from an unknown id.

    `if_match`: the revision that the caller has seen, or None for any.
    """

    grant: str
    if_match: int | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any("grants.write")
        document = await view.get_ended_or_not("grant", self.grant)
        view.require("grants.write", await site_of_grant(view.find, document))
        if document.get("ended_at") is not None:
            return Plan()
        check_match(document, self.if_match)
        event = view.event("grant_taken", self.grant, sites_of("grant", document), person=document.get("person"), door=document.get("door"))
        return Plan([{"kind": "grant", "id": self.grant, "document": None}], [event])
