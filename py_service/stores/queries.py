"""Every query of the service, each with the index that serves it: the one table of them.

`tests/e2e/test_query_plans.py` holds it against what passes on the wire and against the plans that the store makes of it.
A row is a shape: which fields are compared by equality (also with one of several values), which give the order, which are ranges.
A write is the search that it begins with. Inserts look for nothing, and aren't here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from py_service.stores.kinds import OBJECT_COLLECTIONS, PERMISSION_KINDS
from py_service.stores.query_shape import Shape

Command = Literal["find", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Query:
    """A row; several names are parted by spaces. `index`: its name in the store; empty: the collection is read whole.

    `across`: why it may look over all organizations. Without it, the first field of its index is compared with one organization's
    values only, unless `_id` says which documents are meant.
    `unseen`: why it may not come by while the test runs; an example of it is explained, too.
    `embedded`: the stage that the embedded server needs where MongoDB has the index.
    """

    command: Command
    collections: str
    equal: str
    order: str
    ranges: str
    index: str
    across: str = ""
    unseen: str = ""
    embedded: Literal["", "COLLSCAN", "SORT"] = ""

    def shapes(self) -> Iterator[Shape]:
        """One for each collection."""
        for collection in self.collections.split():
            yield Shape(collection, tuple(self.equal.split()), tuple(self.order.split()), tuple(self.ranges.split()))


# What is loaded into every process at its start, whole organizations at a time.
LOADED = " ".join(sorted(OBJECT_COLLECTIONS[kind] for kind in PERMISSION_KINDS))
# What has a list for people, in the order of names (grants in that of time); and what is found by what it names.
NAMED = " ".join(sorted(name for kind, name in OBJECT_COLLECTIONS.items() if kind not in ("organization", "session")))
NAMING = "areas devices doors floors grants groups lockdown_plans passes persons schedules"
# What is found, written and deleted by its own `_id`, or by several of them.
FOUND = (
    f"{NAMED} accounts api_key_uses changes ended_sessions event_positions events idempotency_keys import_parts import_results imports "
    "journal leases letter_counts logs mailed_tokens organizations pass_links projections revisions session_families sessions states"
)
WRITTEN = (
    f"{NAMED} accounts api_key_uses departures ended_sessions event_positions idempotency_keys import_parts import_results imports "
    "letter_counts logs organizations outbox pass_links projections revisions session_families sessions states"
)
DELETED = (
    "departures ended_sessions idempotency_keys import_parts import_results imports letter_counts mailed_tokens open_attempts outbox "
    "pass_links session_families sessions states"
)
EXPIRING = "idempotency_keys imports mailed_tokens session_families sessions"
FORGOTTEN = "ended_sessions letter_counts outbox pass_links"

SWEEP = "the worker deletes what is over"
WORKER = "there is one worker for all"
OPERATOR = "whoever runs the service lists all organizations, page by page"
VERIFYING = "the operator verifies every log; there are a few for each start of a process"
QUERIES = (
    #      command   collections         equality      order        ranges        index
    Query("find",   FOUND,              "_id",        "",          "",           "_id_"),
    Query("update", WRITTEN,            "_id",        "",          "",           "_id_"),
    Query("delete", DELETED,            "_id",        "",          "",           "_id_"),
    Query("update", "give_backs",       "_id",        "",          "",           "_id_", unseen="when a door can't be reached"),
    Query("delete", "give_backs",       "_id",        "",          "",           "_id_", unseen="when a door couldn't be reached"),
    Query("find",   "signing_keys",     "_id",        "",          "",           "_id_", unseen="when two processes make the same key"),
    Query("update", "signing_keys",     "_id",        "",          "",           "_id_", unseen="minutes after a key was rotated"),
    Query("update", "leases",           "_id holder", "",          "",           "_id_", embedded="COLLSCAN"),
    Query("update", "leases",           "_id token",  "",          "",           "_id_", embedded="COLLSCAN"),

    Query("find",   "revisions",        "",           "",          "",           "", across="at the start, to know them"),
    Query("find",   "logs projections", "",           "",          "",           "", across=VERIFYING),
    Query("find",   "journal",          "",           "",          "_id",        "_id_", embedded="COLLSCAN"),  # once, verifying
    Query("find",   "system.profile",   "",           "",          "",           "", across="what the profiler kept, for advice"),
    Query("find",   LOADED,             "org",        "",          "",           "org_1"),
    Query("find",   "organizations",    "",           "org",       "org",        "org_1", across=OPERATOR),
    Query("find",   NAMED,              "",           "by_name",   "by_name",    "by_name_1"),
    Query("find",   "groups",           "",           "",          "by_name",    "by_name_1"),
    Query("find",   NAMING,             "listed",     "",          "",           "listed_1_by_name_1"),
    Query("find",   NAMING,             "listed",     "by_name",   "by_name",    "listed_1_by_name_1", embedded="SORT"),

    Query("find",   "journal",          "keys",       "",          "",           "keys_1", across="those of one commit group"),
    Query("find",   "events",           "attempt",    "",          "",           "attempt_1", across="an attempt's own identifier"),
    Query("find",   "logs",             "lane",       "",          "",           "lane_1", across="a log is a process's"),
    Query("find",   "logs",             "state",      "",          "",           "state_1", across="a log is a process's"),
    Query("find",   "open_attempts",    "",           "",          "expires_at", "expires_at_1", across=WORKER),
    Query("find",   "give_backs",       "",           "",          "due_at",     "due_at_1", across=WORKER),
    Query("find",   "states",           "inside_of",  "",          "entered_at", "inside_of_1_entered_at_1"),
    Query("find",   "states",           "inside_of",  "entered_at", "entered_at", "inside_of_1_entered_at_1", embedded="SORT"),
    Query("find",   "states",           "",           "",          "stale_at",   "stale_at_1", across=SWEEP),
    Query("find",   "states",           "inside_by",  "",          "",           "inside_by_1"),

    Query("find",   "accounts",         "holder",     "",          "",           "holder_1"),
    Query("find",   "session_families", "holder",     "last_seen", "",           "holder_1_last_seen_1", embedded="SORT"),
    Query("find",   "sessions",         "family",     "",          "",           "family_1", across="a session's own identifier"),
    Query("find",   "signing_keys",     "state",      "",          "",           "state_1", across="a process signs for all"),
    Query("find",   "departures",       "",           "",          "deleted_at", "deleted_at_1", across=WORKER),
    Query("find",   "outbox",           "",           "",          "due_at",     "due_at_1", across=WORKER),

    Query("find",   "imports",          "",           "by_time",   "by_time",    "by_time_1"),
    Query("find",   "imports",          "open_of",    "",          "",           "open_of_1"),
    Query("find",   "imports",          "todo",       "",          "",           "todo_1", across=WORKER),

    Query("find",   EXPIRING,           "",           "",          "expires_at", "expires_at_1", across=SWEEP),
    Query("find",   "passes",           "ended_at",   "",          "valid_until", "ended_at_1_valid_until_1", across=SWEEP),
    Query("find",   FORGOTTEN,          "",           "",          "forget_at",  "forget_at_1", across=SWEEP),
)  # fmt: skip

BY_SHAPE: dict[tuple[Command, Shape], Query] = {(query.command, shape): query for query in QUERIES for shape in query.shapes()}
READ_WHOLE = frozenset(shape for (_, shape), query in BY_SHAPE.items() if not query.index)
SCANNED_BY_EMBEDDED = frozenset(shape for (_, shape), query in BY_SHAPE.items() if query.embedded == "COLLSCAN")
