"""Read a grant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.permissions.change import Actor
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors


@dataclass(frozen=True, slots=True)
class ReadGrant:
    """For whoever may write grants at its site."""

    mongo: Mongo
    index: Callable[[], PermissionIndex]

    async def __call__(self, actor: Actor, grant: str) -> Document:
        """Raises Problem 403, 404, 503."""
        async with store_errors():
            document = await self.mongo.database["grants"].find_one({"_id": f"{actor.organization}:{grant}"})
        if document is None or document["org"] != actor.organization:
            raise unknown("grant")
        site = self._site(actor.organization, document)
        decision = self.index().check_role(actor.organization, actor.person, "grants.write", site, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, "This needs grants.write.")
        return document

    def _site(self, organization: str, document: Document) -> str | None:
        if document.get("site") is not None:
            return str(document["site"])
        door = self.index().door(organization, str(document.get("door")))
        # An area's grant is shown to those whose role holds everywhere.
        return None if door is None else door.site
