"""Read a grant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from py_service._core_rs import PermissionIndex
from py_service.access.operations import LIST
from py_service.access.place import site_of_grant
from py_service.errors import Problem, unknown
from py_service.permissions.change import Actor
from py_service.permissions.pages import ListObjects, read_query
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors


@dataclass(frozen=True, slots=True)
class ReadGrant:
    """For whoever may write grants at its site."""

    mongo: Mongo
    index: Callable[[], PermissionIndex]

    async def __call__(self, actor: Actor, grant: str) -> Document:
        """Raises Problem 403, 404, 503."""

        async def find(kind: str, identifier: str) -> Document | None:
            found = await read_object(self.mongo, actor.organization, kind, identifier)
            return None if found is None or found.get("ended_at") is not None else found

        async with store_errors():
            document = await read_object(self.mongo, actor.organization, "grant", grant)
            site = None if document is None else await site_of_grant(find, document)
        if document is None:
            raise unknown("grant")
        decision = self.index().check_role(actor.organization, actor.subject, "grants.write", site, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, "This needs grants.write.")
        return document


@dataclass(frozen=True, slots=True)
class ListGrants:
    """The grants at the sites where the caller may write them."""

    mongo: Mongo
    index: Callable[[], PermissionIndex]

    async def __call__(self, actor: Actor, query: Mapping[str, str]) -> tuple[list[Document], str | None]:
        """A page, and the cursor of the next one. Raises Problem 400, 403, 404, 503."""
        decision, sites = self.index().reach(actor.organization, actor.subject, "grants.write", now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, "This needs grants.write.")
        asked = read_query("grant", LIST.query, query, sites)
        return await ListObjects(self.mongo)(actor.organization, "grant", asked)
