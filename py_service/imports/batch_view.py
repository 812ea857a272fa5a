"""What the changes of one batch see: the store inside the transaction, read for all rows at once, and what earlier rows make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from py_service.errors import Problem, unknown
from py_service.permissions.change import Plan, View
from py_service.permissions.listing import folded, listed_key, name_place
from py_service.permissions.text import clean_email, spelled_name
from py_service.stores.kinds import OBJECT_COLLECTIONS
from py_service.stores.mongo import Document

PERSON, GROUP, EMAIL = "person", "group", "email"
READ_AT_ONCE_MAX = 1_000
Required = tuple[str, str | None]  # a permission, and the site for which it was asked; None: everywhere


@dataclass(slots=True)
class BatchView(View):
    """`known`: by kind and id, None for what isn't there. `listed_as`: by kind and key. `named`: groups by folded name, two at most.
    `required`: what the caller was asked for, and had.

    What wasn't fetched before is read one by one, as in a view of a single change.
    """

    known: dict[tuple[str, str], Document | None] = field(default_factory=dict)
    listed_as: dict[tuple[str, str], list[Document]] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)
    required: set[Required] = field(default_factory=set)

    @classmethod
    def of(cls, view: View, stage: int) -> BatchView:
        """On the same transaction. `stage`: of the import; 0: none."""
        return cls(view.mongo, view.session, view.index, view.organization, view.actor, view.revision, view.at_ms, stage)

    def require(self, permission: str, site: str | None) -> None:
        """Raises Problem 401 or 403."""
        View.require(self, permission, site)
        self.required.add((permission, site))

    async def fetch(self, kind: str, identifiers: Iterable[str]) -> None:
        """Objects of one kind, in as few reads as there are thousands of them."""
        wanted = [name for name in dict.fromkeys(identifiers) if (kind, name) not in self.known]
        for start in range(0, len(wanted), READ_AT_ONCE_MAX):
            names = wanted[start : start + READ_AT_ONCE_MAX]
            self.known.update(dict.fromkeys((kind, name) for name in names))
            for document in await View.find_many(self, kind, names):
                self.known[kind, str(document["id"])] = document

    async def fetch_emails(self, emails: Iterable[str]) -> None:
        """Who has these addresses."""
        keys = list(dict.fromkeys(key for email in emails if (key := self._email_key(email)) is not None))
        for start in range(0, len(keys), READ_AT_ONCE_MAX):
            some = keys[start : start + READ_AT_ONCE_MAX]
            self.listed_as.update({(PERSON, key): [] for key in some})
            found = self.mongo.database[OBJECT_COLLECTIONS[PERSON]].find({"listed": {"$in": some}}, session=self.session)
            for document in await found.to_list():
                self._note_email(document)

    def _email_key(self, email: str) -> str | None:
        try:
            return listed_key(self.organization, EMAIL, clean_email(email))
        except Problem:
            return None  # the row that has it hears why

    def _note_email(self, person: Document) -> None:
        if person.get(EMAIL) is not None:
            self.listed_as.setdefault((PERSON, listed_key(self.organization, EMAIL, str(person[EMAIL]))), []).append(person)

    def add(self, plan: Plan) -> None:
        """What a row makes is there for the rows after it."""
        for image in plan.images:
            if image["document"] is not None:
                self.known[image["kind"], image["id"]] = image["document"]
                if image["kind"] == PERSON:
                    self._note_email(image["document"])

    async def person_with(self, email: str) -> str:
        """The id of the one person who has this address. Raises Problem 404, 422."""
        found = await self.listed(PERSON, listed_key(self.organization, EMAIL, clean_email(email)), 1)
        if not found or not await self.shows(found[0]):
            raise unknown(PERSON)
        return str(found[0]["id"])

    async def group_named(self, name: str) -> str:
        """The id of the one group of this name, whatever its case. Raises Problem 404, 409 when there are several, 422."""
        asked = spelled_name(name)
        wanted = folded(asked)
        if wanted not in self.named:
            begins = f"{self.organization}:{name_place(asked)}"
            bounds = {"$gte": f"{begins}:", "$lt": f"{begins};"}
            self.named[wanted] = []
            async for group in self.mongo.database[OBJECT_COLLECTIONS[GROUP]].find({"by_name": bounds}, session=self.session):
                if folded(str(group["name"])) == wanted and await self.shows(group):
                    self.named[wanted].append(str(group["id"]))
                if len(self.named[wanted]) > 1:
                    break
        if not self.named[wanted]:
            raise unknown(GROUP)
        if len(self.named[wanted]) > 1:
            raise Problem(409, "name_ambiguous", "Several groups have this name: name it by its id.")
        return self.named[wanted][0]

    async def find_ended_or_not(self, kind: str, identifier: str) -> Document | None:
        if (kind, identifier) in self.known:
            return self.known[kind, identifier]
        return await View.find_ended_or_not(self, kind, identifier)

    async def find_many(self, kind: str, identifiers: list[str]) -> list[Document]:
        await self.fetch(kind, identifiers)
        return [document for name in identifiers if (document := self.known[kind, name]) is not None]

    async def listed(self, kind: str, key: str, limit: int) -> list[Document]:
        found = self.listed_as.get((kind, key))
        return await View.listed(self, kind, key, limit) if found is None else found[:limit]
