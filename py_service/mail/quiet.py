"""How many letters one address is sent: counted in the store, in the transaction that writes the letter, so all processes count together.

An organization counts for itself, and by the address as it was written: the sub-addresses of one mailbox are several addresses.
"""

from __future__ import annotations

import hashlib

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from py_service.errors import Problem
from py_service.mail.letter import COLLECTION as OUTBOX
from py_service.mail.letter import Letter
from py_service.stores.mongo import Document, store_errors

COLLECTION = "letter_counts"
SAME_MAX, SAME_MS = 3, 10 * 60_000  # letters about one thing: "I can't find it, send it again" takes no waiting
ADDRESS_MAX, ADDRESS_MS = 20, 86_400_000
FORGOTTEN_AT_ONCE_MAX = 500


async def letter_writes(database: AsyncDatabase[Document], session: AsyncClientSession, letter: Letter) -> list[tuple[str, str, Document]]:
    """What a change writes with this letter: collection, identifier, document. Raises Problem 429."""
    identifier = f"{letter.org}:{hashlib.sha256(letter.to.encode('utf-8', 'surrogatepass')).hexdigest()}"
    found = await database[COLLECTION].find_one({"_id": identifier}, session=session)
    thing = f"{letter.kind}:{letter.about.partition('.')[0]}"
    count: Document = {
        "_id": identifier, "org": letter.org, "letters": with_one_more(found["letters"] if found else [], thing, letter.made_at),
        "forget_at": letter.made_at + ADDRESS_MS,
    }  # fmt: skip
    return [(OUTBOX, letter.id, letter.document()), (COLLECTION, identifier, count)]


def with_one_more(letters: list[Document], thing: str, at_ms: int) -> list[Document]:
    """The letters of the last day, at most 20, and this one. Raises Problem 429 `letters_too_many` while there were too many."""
    kept = [one for one in letters if one["at"] > at_ms - ADDRESS_MS]
    same = [one["at"] for one in kept if one["thing"] == thing and one["at"] > at_ms - SAME_MS]
    if len(kept) >= ADDRESS_MAX:
        raise _too_many(f"{ADDRESS_MAX} letters in a day went to this address.", kept[-ADDRESS_MAX]["at"] + ADDRESS_MS - at_ms)
    if len(same) >= SAME_MAX:
        raise _too_many(f"{SAME_MAX} letters in ten minutes were about this.", same[-SAME_MAX] + SAME_MS - at_ms)
    return [*kept, {"thing": thing, "at": at_ms}]


def _too_many(detail: str, wait_ms: int) -> Problem:
    return Problem(429, "letters_too_many", detail, retry_after_seconds=max(1, -(-wait_ms // 1_000)))


async def delete_forgotten_counts(database: AsyncDatabase[Document], now_ms: int) -> int:
    """Of addresses that were sent nothing for a day, 500 at most; how many. Raises Problem 503."""
    over = {"forget_at": {"$gte": 0, "$lt": now_ms}}
    async with store_errors():
        found = await database[COLLECTION].find(over, {"_id": 1}).limit(FORGOTTEN_AT_ONCE_MAX).to_list()
        if found:
            await database[COLLECTION].delete_many({"_id": {"$in": [document["_id"] for document in found]}})
    return len(found)
