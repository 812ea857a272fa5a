"""Read passes, and how many uses each has left: one read of `states` for a whole page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, unknown
from py_service.passes.givers import KIND, WRITE_PERMISSION, gave_above
from py_service.passes.link import Link, find_link
from py_service.passes.operations import LIST, MINE
from py_service.passes.state import state_of
from py_service.passes.terms import counts_of
from py_service.permissions.change import Actor
from py_service.permissions.listing import listed_key
from py_service.permissions.pages import Asked, ListObjects, read_query
from py_service.permissions.pass_tree import PASSES_BELOW_MAX
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, find_by_ids, now_ms, store_errors

JUDGED = ("state",)


@dataclass(frozen=True, slots=True)
class ReadPasses:
    """One per process."""

    mongo: Mongo
    index: Callable[[], PermissionIndex]

    async def one(self, actor: Actor, identifier: str) -> Document:
        """For its giver, its holder, whoever may write grants at all of its sites, and whoever gave one above it (without its receiver).

        Raises Problem 404 for everybody else, 503.
        """
        async with store_errors():
            document = await read_object(self.mongo, actor.organization, KIND, identifier)
            if document is None:
                raise unknown(KIND)
            if not self._is_whole_for(actor, document) and not await gave_above(self.mongo, actor, document):
                raise unknown(KIND)
        return self._as_seen_by(actor, document)

    async def at_sites(self, actor: Actor, query: Mapping[str, str]) -> tuple[list[Document], str | None]:
        """A page of those all of whose sites are the caller's. Raises Problem 400, 403, 404, 503."""
        decision, sites = self.index().reach(actor.organization, actor.subject, WRITE_PERMISSION, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {WRITE_PERMISSION}.")
        asked = read_query(KIND, LIST.query, query, sites, JUDGED)
        return await self._listed(actor, asked)

    async def of_person(self, actor: Actor, query: Mapping[str, str]) -> tuple[list[Document], str | None]:
        """A page of those that the caller gave or holds. By `pass`: of those that were passed on from it, any number of times in a row.

        A cursor only says after which name to go on, so one of either goes on in the other with what that one shows.

        Raises Problem 400, 404 for a pass from which nothing hangs that is the caller's to see, 503.
        """
        asked = read_query("my_pass", MINE.query, query, None, JUDGED)
        if "pass" not in query:
            asked = replace(asked, filters=(*asked.filters, ("person", actor.subject)))  # whatever else is asked for
            return await self._listed(actor, asked)
        async with store_errors():
            await self._sees_below(actor, query["pass"])
        page, cursor = await self._listed(actor, asked)
        return [self._as_seen_by(actor, document) for document in page], cursor

    async def _listed(self, actor: Actor, asked: Asked) -> tuple[list[Document], str | None]:
        """A page. Raises Problem 404 for a filter that names nothing, 503."""
        state = asked.judged.get("state")

        async def keep(documents: list[Document]) -> list[Document]:
            left, at_ms = await self.uses_left(actor.organization, documents), now_ms()
            return [document for document, uses in zip(documents, left, strict=True) if state_of(document, uses, at_ms) == state]

        return await ListObjects(self.mongo)(actor.organization, KIND, asked, None if state is None else keep)

    async def _sees_below(self, actor: Actor, identifier: str) -> None:
        """Whoever gave this pass, or one above it, sees all that was passed on from it; so does its holder who passed it on.

        INVARIANT: only its holder passes a pass on, so whatever hangs from it was given by them, or hangs from what they gave.

        Raises Problem 404 for everybody else.
        """
        document = await read_object(self.mongo, actor.organization, KIND, identifier)
        if document is None:
            raise unknown(KIND)
        if document["given_by"] == actor.subject or await gave_above(self.mongo, actor, document):
            return
        if document["accepted_by"] == actor.subject:
            below = self.mongo.database["passes"].find({"listed": listed_key(actor.organization, KIND, identifier)}, {"given_by": 1})
            if any(each["given_by"] == actor.subject for each in await below.limit(PASSES_BELOW_MAX).to_list()):
                return
        raise unknown(KIND)

    def _is_whole_for(self, actor: Actor, document: Document) -> bool:
        """Whether the caller gave it, holds it, or may write grants at all of its sites."""
        if actor.subject in (document["given_by"], document["accepted_by"]):
            return True
        decision, sites = self.index().reach(actor.organization, actor.subject, WRITE_PERMISSION, now_ms())
        return decision.allowed and (sites is None or set(document["at_sites"]) <= set(sites))

    def _as_seen_by(self, actor: Actor, document: Document) -> Document:
        """Whoever only gave one above it wasn't told its receiver's address or number, and isn't told it here."""
        return document if self._is_whole_for(actor, document) else {**document, "receiver": None}

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
