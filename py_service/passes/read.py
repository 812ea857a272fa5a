"""Read passes, and how many uses each has left: one read of `states` for a whole page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.passes.givers import KIND, WRITE_PERMISSION
from py_service.passes.link import Link, find_link
from py_service.passes.operations import LIST, MINE
from py_service.passes.terms import counts_of
from py_service.permissions.change import Actor
from py_service.permissions.pages import ListObjects, read_query
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, find_by_ids, now_ms, store_errors


@dataclass(frozen=True, slots=True)
class ReadPasses:
    """One per process."""

    mongo: Mongo
    index: Callable[[], PermissionIndex]

    async def one(self, actor: Actor, identifier: str) -> Document:
        """For its giver, its holder, and whoever may write grants at all of its sites. Raises Problem 404 for everybody else, 503."""
        async with store_errors():
            document = await read_object(self.mongo, actor.organization, KIND, identifier)
        if document is None:
            raise unknown(KIND)
        if actor.subject in (document["given_by"], document["accepted_by"]):
            return document
        decision, sites = self.index().reach(actor.organization, actor.subject, WRITE_PERMISSION, now_ms())
        if not decision.allowed or (sites is not None and not set(document["at_sites"]) <= set(sites)):
            raise unknown(KIND)
        return document

    async def at_sites(self, actor: Actor, query: Mapping[str, str]) -> tuple[list[Document], str | None]:
        """A page of those all of whose sites are the caller's. Raises Problem 400, 403, 404, 503."""
        decision, sites = self.index().reach(actor.organization, actor.subject, WRITE_PERMISSION, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {WRITE_PERMISSION}.")
        asked = read_query(KIND, LIST.query, query, sites)
        return await ListObjects(self.mongo)(actor.organization, KIND, asked)

    async def of_person(self, actor: Actor, query: Mapping[str, str]) -> tuple[list[Document], str | None]:
        """A page of those that the caller gave or holds. Raises Problem 400, 503."""
        asked = replace(read_query("my_pass", MINE.query, query, None), filter=("person", actor.subject))
        return await ListObjects(self.mongo)(actor.organization, KIND, asked)

    async def link(self, token: str, organization: str | None = None) -> Link:
        """What this token is for, in this organization if one is given. Raises Problem 404, 503."""
        found = await find_link(self.mongo.database, token)
        if found is None or organization not in (None, found.organization):
            raise unknown(KIND)
        return found

    async def uses_left(self, organization: str, documents: list[Document]) -> list[int | None]:
        """Of each pass, as far as those go from which it was passed on; None where nothing is counted. Raises Problem 503."""
        counted = [counts_of(document) for document in documents]
        names = sorted({f"{organization}:pass.{count['pass']}" for counts in counted for count in counts})
        async with store_errors():
            found = await find_by_ids(self.mongo.database, "states", names)
        used = {str(document["_id"]).rpartition(".")[2]: int(document.get("used") or 0) for document in found}
        return [min((max(0, int(count["uses"]) - used.get(str(count["pass"]), 0)) for count in counts), default=None) for counts in counted]
