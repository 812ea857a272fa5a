"""Changes tried on: planned as the lane plans them, on what the store holds at one moment, and never written.

Each change sees what those before it would write. What doesn't live here: what the images then alter (the core's `preview`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, StoreUnavailable
from py_service.permissions.change import Actor, Change, Plan, View
from py_service.permissions.image import Image
from py_service.permissions.listing import stored_object
from py_service.stores.kinds import PERMISSION_KINDS
from py_service.stores.mongo import Document, Mongo, now_ms


class Captured(Exception):
    """Instead of an answer: the change that was about to be carried out."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change


class CapturingLane:
    """Stands where the lane stands, for handlers that are only asked what they would do."""

    async def submit(self, organization: str, actor: Actor | None, change: Change) -> NoReturn:
        """Raises Captured."""
        raise Captured(change)


@dataclass(slots=True)
class TrialView(View):
    """`made`: by kind and id, documents as earlier changes would leave them."""

    made: dict[tuple[str, str], Document] = field(default_factory=dict)

    async def find_ended_or_not(self, kind: str, identifier: str) -> Document | None:
        if (kind, identifier) in self.made:
            return self.made[kind, identifier]
        return await View.find_ended_or_not(self, kind, identifier)

    async def find_many(self, kind: str, identifiers: list[str]) -> list[Document]:
        made = [self.made[kind, name] for name in dict.fromkeys(identifiers) if (kind, name) in self.made]
        return made + await View.find_many(self, kind, [name for name in identifiers if (kind, name) not in self.made])

    async def listed(self, kind: str, key: str, limit: int) -> list[Document]:
        made, kept = self._split(kind, await View.listed(self, kind, key, limit + len(self.made)))
        return [*(document for document in made if key in document["listed"]), *kept][:limit]

    async def listed_any(self, kind: str, keys: list[str], limit: int) -> list[Document]:
        made, kept = self._split(kind, await View.listed_any(self, kind, keys, limit + len(self.made)))
        return [*(document for document in made if not set(keys).isdisjoint(document["listed"])), *kept][:limit]

    def _split(self, kind: str, stored: list[Document]) -> tuple[list[Document], list[Document]]:
        """What earlier changes would leave of this kind, and what they don't touch."""
        made = {name: document for (of_kind, name), document in self.made.items() if of_kind == kind}
        return list(made.values()), [document for document in stored if document["id"] not in made]

    async def add(self, plan: Plan) -> None:
        """What this change would write is there for the next."""
        for image in plan.images:
            kind, identifier, body = image["kind"], image["id"], image["document"]
            if body is None:
                ended = await self.find_ended_or_not(kind, identifier)
                self.made[kind, identifier] = {**(ended or {"id": identifier}), "ended_at": self.at_ms, "listed": []}
            else:
                self.made[kind, identifier] = stored_object(self.organization, kind, body)


@dataclass(frozen=True, slots=True)
class Trial:
    """`images` of all changes, as they would stand in one change record, on top of `revision`."""

    images: list[Image]
    revision: int


@dataclass(frozen=True, slots=True)
class TryChanges:
    """Reads in one transaction, which is aborted: a snapshot that nothing waits for."""

    mongo: Mongo
    index: PermissionIndex

    async def __call__(self, actor: Actor, changes: Sequence[Change]) -> Trial:
        """Raises Problem as the change would, its detail saying which; pymongo errors, StoreUnavailable."""
        async with self.mongo.session() as session, self.mongo.transaction(session):
            found = await self.mongo.database["revisions"].find_one({"_id": actor.organization}, session=session)
            if found is None:
                raise StoreUnavailable("the organization is not in the store")
            revision = int(found["revision"])
            view = TrialView(self.mongo, session, self.index, actor.organization, actor, revision + 1, now_ms())
            images: list[Image] = []
            for number, change in enumerate(changes):
                try:
                    plan = await change.plan(view)
                except Problem as problem:
                    raise of_change(number, problem) from None
                images += [image for image in plan.images if image["kind"] in PERMISSION_KINDS]
                await view.add(plan)
        return Trial(images, revision)


def of_change(number: int, problem: Problem) -> Problem:
    """The same problem, saying which of several changes has it."""
    problem.detail = f"changes[{number}]: {problem.detail}"
    return problem
