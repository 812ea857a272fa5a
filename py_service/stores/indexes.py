"""Every index, and what it is for. Made at start. Which query goes by which is in `queries.py`; an index that none goes by isn't here."""

from __future__ import annotations

from dataclasses import dataclass

import pymongo
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid, OperationFailure

from py_service.stores.mongo import Document
from py_service.stores.queries import LOADED, NAMED, NAMING

BUILD_SECONDS_MAX = 600.0  # of an index that a newer version adds to a collection with documents: longer than any query may take


@dataclass(frozen=True, slots=True)
class Index:
    """`fields` in this order, each ascending. `serves` names the query."""

    collection: str
    fields: tuple[str, ...]
    serves: str
    unique: bool = False
    sparse: bool = False

    @property
    def name(self) -> str:
        """As the driver and the store call it."""
        return "_".join(f"{field}_1" for field in self.fields)


INDEXES = (
    *(Index(name, ("org",), "snapshot load") for name in LOADED.split()),
    *(Index(name, ("by_name",), "lists in the order of names", sparse=True) for name in NAMED.split()),
    *(Index(name, ("listed", "by_name"), "what names something, in the order of names; is it in use") for name in NAMING.split()),
    Index("journal", ("keys",), "idempotency keys and report numbers", unique=True, sparse=True),
    Index("logs", ("state",), "logs that the worker still reads"),
    Index("logs", ("lane",), "a new log's predecessor"),
    Index("events", ("attempt",), "the outcome of an attempt", sparse=True),
    Index("passes", ("ended_at", "valid_until"), "passes that are over, to end"),
    Index("departures", ("deleted_at",), "persons who were deleted, and left something to end"),
    Index("pass_links", ("forget_at",), "links to delete"),
    Index("states", ("inside_of", "entered_at"), "who is inside an area, since its reset; who was before it", sparse=True),
    Index("states", ("stale_at",), "areas whose records from before their reset are to be deleted", sparse=True),
    Index("states", ("inside_by",), "where a person is inside", sparse=True),
    Index("give_backs", ("due_at",), "what is to be given back, if nobody did"),
    Index("open_attempts", ("expires_at",), "granted attempts to close"),
    Index("sessions", ("family",), "refresh tokens of a session that ended, to delete"),
    Index("sessions", ("expires_at",), "expired refresh tokens to delete"),
    Index("session_families", ("holder", "last_seen"), "a person's sessions, those seen last first"),
    Index("session_families", ("expires_at",), "sessions to delete that nobody prolonged"),
    Index("ended_sessions", ("forget_at",), "ended sessions to delete"),
    Index("accounts", ("holder",), "a person's account", sparse=True),
    Index("outbox", ("due_at",), "letters to send", sparse=True),
    Index("outbox", ("forget_at",), "letters to delete", sparse=True),
    Index("letter_counts", ("forget_at",), "counts of letters to delete"),
    Index("mailed_tokens", ("expires_at",), "expired tokens to delete"),
    Index("idempotency_keys", ("expires_at",), "expired records to delete"),
    Index("signing_keys", ("state",), "keys to load"),
    Index("imports", ("by_time",), "imports of an organization, newest first"),
    Index("imports", ("todo",), "imports that the worker has", sparse=True),
    Index("imports", ("open_of",), "imports of an organization that are not over", sparse=True),
    Index("imports", ("expires_at",), "expired imports to delete"),
)

COLLECTIONS = (
    "revisions", "changes", "event_positions", "projections", "leases", "accounts", "api_key_uses", "import_parts", "import_results",
)  # fmt: skip


async def make_indexes(database: AsyncDatabase[Document]) -> None:
    """Safe to run again, and by several processes at once. Collections are made here, because a transaction can't always make one.

    An index that is declared no more stays: processes of an older version may still need it. `nexkey indexes advise` tells it.
    """
    existing = set(await database.list_collection_names())
    for name in (*COLLECTIONS, *dict.fromkeys(index.collection for index in INDEXES)):
        if name not in existing:
            await _make_collection(database, name)
    for index in INDEXES:
        model = IndexModel([(name, 1) for name in index.fields], unique=index.unique, sparse=index.sparse)
        with pymongo.timeout(BUILD_SECONDS_MAX):
            await database[index.collection].create_indexes([model])


async def _make_collection(database: AsyncDatabase[Document], name: str) -> None:
    try:
        await database.create_collection(name)
    except CollectionInvalid:
        return
    except OperationFailure as error:
        if error.code != 48:  # NamespaceExists: another process was first
            raise
