"""What a change of permissions is: a plan made inside the transaction that carries it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pymongo.asynchronous.client_session import AsyncClientSession

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, not_standing, unknown
from py_service.journal.event import Event, make_event
from py_service.permissions.image import Image, body_of
from py_service.permissions.listing import sites_of
from py_service.permissions.stage import is_live, is_staged, read_live
from py_service.permissions.store import read_stored
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document, Mongo, find_by_ids

if TYPE_CHECKING:
    from py_service.exchange import Principal


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: the verified claims, or the API key, reduced. `subject` is a person, or `api_key:<id>`."""

    organization: str
    subject: str
    issued_at_ms: int
    session: str

    @classmethod
    def of(cls, caller: Principal) -> Actor:
        """Of a request's caller."""
        return cls(caller.organization, caller.subject, caller.issued_at_ms, caller.session)


@dataclass(frozen=True, slots=True)
class Write:
    """A document beside the objects (an account, a session that goes on) that a change replaces, or takes out (`document` None)."""

    collection: str
    identifier: str
    document: Document | None


@dataclass(slots=True)
class Plan:
    """`images` become documents and the change record, `writes` documents only, `events` go to the journal, `result` goes to the caller.

    `erased`: kinds and ids of tombstones whose documents aren't kept, as nobody ever saw them.
    """

    images: list[Image] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    result: Document | None = None
    writes: list[Write] = field(default_factory=list)
    erased: frozenset[tuple[str, str]] = frozenset()

    def cut(self, subject: str, whose: Literal["subject", "organization"] = "subject") -> Plan:
        """Connections end that `subject` has, or all of the organization: tokens decided before no longer stand. Written in the event that
        is about `subject`. A plan in which nothing happens ends nothing; one without such an event is refused, and nothing of it is done.
        """
        if not self.events:
            return self
        about = next((event for event in self.events if event.get("subject") == subject), None)
        if about is None:
            raise RuntimeError(f"no event of this change is about {subject}: nobody could read whose connections end")
        about["cuts"] = whose
        return self

    def join(self, other: Plan) -> None:
        """Carry out the other one's images, writes and events too."""
        self.images += other.images
        self.writes += other.writes
        self.events += other.events
        self.erased |= other.erased


@dataclass(slots=True)
class View:
    """What a plan may see: the store inside the transaction, and the permissions exactly as of the revision before it.

    `stage`: of the import whose batch this is; it sees what it staged itself. `live`: the stages that everybody sees, once they were read.
    """

    mongo: Mongo
    session: AsyncClientSession
    index: PermissionIndex
    organization: str
    actor: Actor | None
    revision: int
    at_ms: int
    stage: int = 0
    live: int | None = None

    def require(self, permission: str, site: str | None) -> None:
        """Raises Problem 401 or 403 when the caller may not (any more). A change of the service itself has no caller."""
        if self.actor is None:
            return
        self.stand()
        decision = self.index.check_role(self.organization, self.actor.subject, permission, site, self.at_ms)
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {permission}.")

    def stand(self) -> None:
        """Raises Problem 401, or 403 when suspended: the caller's token does not stand any more."""
        if self.actor is None:
            return
        actor = self.actor
        standing = self.index.authenticate(self.organization, actor.subject, actor.issued_at_ms, actor.session)
        if standing is not None:
            raise not_standing(standing)

    def require_any(self, permission: str) -> None:
        """Like `require`, but a role for any one site will do: who may know that the object exists."""
        if self.actor is None:
            return
        self.stand()
        decision, _ = self.index.reach(self.organization, self.actor.subject, permission, self.at_ms)
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {permission}.")

    def actor_owns(self) -> bool:
        """Whether the caller is an owner (or the service itself)."""
        return self.actor is None or self.index.check_role(self.organization, self.actor.subject, "owner", None, self.at_ms).allowed

    async def find_ended_or_not(self, kind: str, identifier: str) -> Document | None:
        """An object of this organization, also one that has ended, or whose stage isn't live: its id is taken. None when there is none, or
        it is another's."""
        return await read_stored(self.mongo, self.organization, kind, identifier, self.session)

    async def shows(self, document: Document) -> bool:
        """Whether its stage, if it came with one, is live, or is the own one."""
        if not is_staged(document) or document["staged"] == self.stage:
            return True
        if self.live is None:
            self.live = await read_live(self.mongo, self.organization, self.session)
        return is_live(document, self.live)

    async def find(self, kind: str, identifier: str) -> Document | None:
        """An object of this organization that has not ended."""
        document = await self.find_ended_or_not(kind, identifier)
        return None if document is None or document.get("ended_at") is not None or not await self.shows(document) else document

    async def get_ended_or_not(self, kind: str, identifier: str) -> Document:
        """Raises Problem 404."""
        document = await self.find_ended_or_not(kind, identifier)
        if document is None or not await self.shows(document):
            raise unknown(kind)
        return document

    async def get(self, kind: str, identifier: str) -> Document:
        """Raises Problem 404."""
        document = await self.find(kind, identifier)
        if document is None:
            raise unknown(kind)
        return document

    async def get_many(self, kind: str, identifiers: list[str]) -> list[Document]:
        """In the order of the identifiers. Raises Problem 404 when one isn't there."""
        found = {str(document["id"]): document for document in await self.find_many(kind, identifiers) if await self.shows(document)}
        if any(name not in found or found[name].get("ended_at") is not None for name in identifiers):
            raise unknown(kind)
        return [found[name] for name in identifiers]

    async def find_many(self, kind: str, identifiers: list[str]) -> list[Document]:
        """Those of them that there are, or were, whatever their stage, in no order."""
        ids = [f"{self.organization}:{identifier}" for identifier in identifiers]
        return await find_by_ids(self.mongo.database, OBJECT_COLLECTIONS[kind], ids, session=self.session)

    async def listed(self, kind: str, key: str, limit: int) -> list[Document]:
        """Objects by one of their `listed` keys, in no order, whatever their stage: what is staged has its address, and names others."""
        collection = self.mongo.database[OBJECT_COLLECTIONS[kind]]
        return await collection.find({"listed": key}, session=self.session).limit(limit).to_list()

    async def listed_any(self, kind: str, keys: list[str], limit: int) -> list[Document]:
        """Objects that have one of these `listed` keys, in no order."""
        collection = self.mongo.database[OBJECT_COLLECTIONS[kind]]
        return await collection.find({"listed": {"$in": keys}}, session=self.session).limit(limit).to_list()

    async def count_listed(self, kind: str, key: str, limit: int) -> int:
        """How many there are, counted no further than `limit`."""
        collection = self.mongo.database[OBJECT_COLLECTIONS[kind]]
        return len(await collection.find({"listed": key}, {"_id": 1}, session=self.session).limit(limit).to_list())

    def written(self, kind: str, document: Document, what: str, **detail: object) -> Plan:
        """The plan that writes a whole object: its image, its event, and the object as the caller will see it."""
        image = self.image(kind, document)
        person = image["id"] if kind == "person" else None
        event = self.event(what, image["id"], sites_of(kind, document), person=person, detail=detail or None)
        return Plan([image], [event], image["document"])

    def image(self, kind: str, document: Document) -> Image:
        """A whole object as this change leaves it."""
        body = body_of(document) | {"revision": self.revision, "changed_at": self.at_ms}
        return {"kind": kind, "id": str(document["id"]), "document": body}

    def ended(self, kind: str, document: Document, what: str) -> Plan:
        """The plan that ends an object: a tombstone; in the store it stays, with `ended_at`."""
        identifier = str(document["id"])
        return Plan([{"kind": kind, "id": identifier, "document": None}], [self.event(what, identifier, sites_of(kind, document))])

    def event(self, what: str, subject: str, sites: list[str] | None = None, **fields: object) -> Event:
        """A management event of this change. `sites`: where the subject is; none for what is the organization's."""
        actor = self.actor.subject if self.actor else "service"
        return make_event(
            f"management.{what}",
            self.organization,
            self.at_ms,
            actor=actor,
            subject=subject,
            revision=self.revision,
            sites=sites or None,
            **fields,
        )


class Change(Protocol):
    """One verb. `takes_authority`: it can make a later caller powerless, so nothing of its organization joins the group after it."""

    @property
    def takes_authority(self) -> bool: ...

    async def plan(self, view: View) -> Plan:
        """Validate, and say what to write. Raises Problem; then nothing of it is written."""
        ...


@dataclass(frozen=True, slots=True)
class Changed:
    """What the caller of a change gets.

    `effective_by_ms`: after this moment not even a command that was signed before can move a lock.
    """

    revision: int
    effective_by_ms: int
    result: Document | None


class Submitter(Protocol):
    """Where a change is handed in: the lane."""

    async def submit(self, organization: str, actor: Actor | None, change: Change) -> Changed:
        """Raises Problem."""
        ...
