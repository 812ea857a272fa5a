"""What MongoDB alone needs for the documents that a revoke writes: pymongo, without anything of the service.

What doesn't live here: any measurement.
"""

from __future__ import annotations

from py_service.stores.kinds import PERMISSION_KINDS
from py_service.stores.mongo import Document, Mongo, now_ms


class Bare:
    """The same documents in collections of their own: as large, and as many. `samples`: a kind and a stored document for each object that a
    revoke of this `name` writes; `ends`: it ends them, and doesn't write them anew.
    """

    def __init__(self, mongo: Mongo, organization: str, name: str, samples: list[tuple[str, Document]], *, ends: bool) -> None:
        self._mongo, self._samples, self._ends = mongo, samples, ends
        self._organization, self._name = f"{organization}:{name}", f"bare_{name}"
        self._number = 0

    async def prepare(self, count: int) -> None:
        database = self._mongo.database
        await database["bare_revisions"].insert_one({"_id": self._organization, "revision": 0})
        for kind, sample in self._samples:
            copies = [{**sample, "_id": self._identifier(number)} for number in range(1, count + 1)]
            await database[f"{self._name}_{kind}"].insert_many(copies)
        for rest in ("changes", "journal"):
            await database.create_collection(f"{self._name}_{rest}")

    def _identifier(self, number: int) -> str:
        return f"bare:{number:06d}"

    async def revoke(self) -> None:
        self._number += 1
        identifier, at_ms, database = self._identifier(self._number), now_ms(), self._mongo.database
        event = {"id": f"{identifier}:000", "kind": "management.grant_taken", "org": self._organization, "at": at_ms, "actor": "p-0001",
                 "subject": identifier, "person": "p-0002", "door": "berlin-main-entrance", "revision": self._number}  # fmt: skip
        images: list[Document] = [
            {"kind": kind, "id": identifier, "document": None if self._ends else sample}
            for kind, sample in self._samples
            if kind in PERMISSION_KINDS
        ]
        record: Document = {"_id": identifier, "org": self._organization, "revision": self._number, "at": at_ms, "images": images}
        journal: Document = {"_id": identifier, "at": at_ms, "prev": bytes(32), "events": [event], "hash": bytes(32)}
        ended = {"$set": {"ended_at": at_ms, "listed": []}, "$unset": {"by_name": ""}}
        found = {"_id": identifier}
        async with self._mongo.session() as session:
            await self._mongo.begin(session)
            mine = {"_id": self._organization}
            await database["bare_revisions"].update_one(mine, {"$inc": {"revision": 1}}, session=session)
            await database["bare_revisions"].find_one(mine, session=session)
            for kind, sample in self._samples:
                collection = database[f"{self._name}_{kind}"]
                await collection.find_one(found, session=session)
                if self._ends:
                    await collection.update_one(found, ended, session=session)
                else:
                    await collection.replace_one(found, {**sample, **found, "changed_at": at_ms}, session=session)
            await database[f"{self._name}_changes"].insert_one(record, session=session)
            await database[f"{self._name}_journal"].insert_one(journal, session=session)
            await session.commit_transaction()
