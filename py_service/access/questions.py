"""Who may open what, and why: asked of the same index that decides, at the store's revision of this moment.

An explanation of this moment reads what the stateful lane reads, too (`unlock/states`), and changes nothing of it.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from py_service._core_rs import Decision, PermissionIndex
from py_service.access.messages import Entries, Entry
from py_service.access.operations import EXPLAIN, WHAT, WHO
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, encoded
from py_service.identifiers import IDENTIFIER_CHARACTERS_MAX
from py_service.paging import read_limit, read_place, write_cursor
from py_service.permissions.states import STATES, record_of, state_name
from py_service.permissions.validity import is_moment
from py_service.stores.mongo import Document, Mongo, find_by_ids, now_ms, store_errors

PERMISSION = "persons.read"
NO_SESSION = ""  # nobody shows a token here: only whether the person is known is asked
NOW_MS = 5_000  # `at` as near as this is now: clocks differ
ROUNDS_MAX = 6
WHO_CURSOR, WHAT_CURSOR, CURSOR_CHARACTERS_MAX = "w1", "d1", 128


@dataclass(frozen=True, slots=True)
class AccessQuestions:
    """The routes of explain, who and what. Needs `persons.read` at the door's site."""

    index: PermissionIndex
    mongo: Mongo

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/access/explain", self.explain, body_bytes_max=0, about=EXPLAIN),
            Route("GET", "/v1/access/who", self.who, body_bytes_max=0, about=WHO),
            Route("GET", "/v1/access/what", self.what, body_bytes_max=0, about=WHAT),
        ]

    async def explain(self, request: Request) -> Response:
        """GET /v1/access/explain?person=&door=&at=: the decision with every step; of now, what an unlock would be answered."""
        self._reach(request)
        query = _query(request, {"person", "door"}, {"at"})
        organization = request.caller().organization
        self._site(request, query["door"])
        self._person_known(organization, query["person"], now_ms())
        at_ms = _moment(query.get("at"))
        if abs(at_ms - now_ms()) > NOW_MS:
            return Response(200, self.index.explain(organization, query["person"], query["door"], at_ms))
        async with store_errors():
            return Response(200, await self._explain_now(organization, query["person"], query["door"], at_ms))

    async def _explain_now(self, organization: str, person: str, door: str, at_ms: int) -> bytes:
        """All that is read is of one moment: one transaction, which writes nothing."""
        pin = None if self.index.pin(organization, person) is None else True
        told, missing = self.index.explain_now(organization, person, door, pin, at_ms, b"{}")
        if told is not None:
            return told  # most doors ask for nothing in the store
        known: dict[str, Document] = {}
        async with self.mongo.session() as session, self.mongo.transaction(session):
            for _ in range(ROUNDS_MAX):
                names = {key: state_name(organization, key) for key in missing}
                found = await find_by_ids(self.mongo.database, STATES, list(names.values()), session=session)
                by_name = {str(document["_id"]): document for document in found}
                known |= {key: record_of(by_name.get(name, {})) for key, name in names.items()}
                told, missing = self.index.explain_now(organization, person, door, pin, at_ms, msgspec.json.encode(known))
                if told is not None:
                    return told
        raise RuntimeError("records that are never enough")

    async def who(self, request: Request) -> Response:
        """GET /v1/access/who?door=&at=&limit=&cursor=: everybody who may pass, by id."""
        self._reach(request)
        query = _query(request, {"door"}, {"at", "limit", "cursor"})
        organization = request.caller().organization
        self._site(request, query["door"])
        at_ms, limit, after = _moment(query.get("at")), read_limit(query.get("limit")), _after(WHO_CURSOR, query)
        # Everybody may have to be looked at, and the interpreter is let go of meanwhile: unlocks go on.
        found = await asyncio.to_thread(self.index.persons_at, organization, query["door"], at_ms, after, limit + 1)
        entries = [_entry(person, decision) for person, decision in found[:limit]]
        following = write_cursor(WHO_CURSOR, entries[-1].id) if len(found) > limit else None
        return self._page(organization, entries, following, at_ms)

    async def what(self, request: Request) -> Response:
        """GET /v1/access/what?person=&at=&limit=&cursor=: doors on which the person holds a rule, or that are unlocked for everybody."""
        sites = self._reach(request)
        query = _query(request, {"person"}, {"at", "limit", "cursor"})
        organization = request.caller().organization
        at_ms, limit, after = _moment(query.get("at")), read_limit(query.get("limit")), _after(WHAT_CURSOR, query)
        self._person_known(organization, query["person"], at_ms)
        found = await asyncio.to_thread(self.index.doors_open_to, organization, query["person"], at_ms, after, sites, limit + 1)
        entries = [_entry(door.id, decision) for door, decision in found[:limit]]
        following = write_cursor(WHAT_CURSOR, entries[-1].id) if len(found) > limit else None
        return self._page(organization, entries, following, at_ms)

    def _page(self, organization: str, entries: list[Entry], cursor: str | None, at_ms: int) -> Response:
        at = datetime.datetime.fromtimestamp(at_ms / 1_000, datetime.UTC)
        return encoded(200, Entries(entries, cursor, at, self.index.revision(organization)))

    def _reach(self, request: Request) -> list[str] | None:
        claims = request.caller()
        decision, sites = self.index.reach(claims.organization, claims.subject, PERMISSION, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {PERMISSION}.")
        return sites

    def _site(self, request: Request, door: str) -> None:
        """Raises Problem 403, and 404 for a door that isn't there or isn't at one of the caller's sites."""
        sites = self._reach(request)
        found = self.index.door(request.caller().organization, door)
        if found is None or (sites is not None and found.site not in sites):
            raise unknown("door")

    def _person_known(self, organization: str, person: str, at_ms: int) -> None:
        if self.index.authenticate(organization, person, at_ms, NO_SESSION) == "person_unknown":
            raise unknown("person")


def _entry(identifier: str, decision: Decision) -> Entry:
    return Entry(identifier, decision.allowed, decision.reason, decision.rule, decision.stateful)


def _query(request: Request, needed: set[str], more: set[str]) -> Mapping[str, str]:
    query = request.query
    if query.keys() - needed - more:
        raise Problem(400, "query_invalid", f"Known here: {', '.join(sorted(needed | more))}.")
    for name in sorted(needed - query.keys()):
        raise Problem(400, "query_invalid", f"{name} is needed.")
    if any(len(query.get(name, "")) > IDENTIFIER_CHARACTERS_MAX for name in ("person", "door")):
        raise Problem(400, "query_invalid", f"An identifier has {IDENTIFIER_CHARACTERS_MAX} characters at most.")
    return query


def _after(kind: str, query: Mapping[str, str]) -> str:
    """The id behind which the page begins; empty: at the first."""
    return read_place(kind, query["cursor"], CURSOR_CHARACTERS_MAX) if "cursor" in query else ""


def _moment(text: str | None) -> int:
    """Milliseconds since the epoch; now when it isn't given."""
    if text is None:
        return now_ms()
    try:
        moment = msgspec.convert(text, datetime.datetime)
    except msgspec.ValidationError:
        raise Problem(400, "query_invalid", "at is an RFC 3339 moment with its offset.") from None
    if moment.tzinfo is None or not is_moment(moment.timestamp() * 1_000):
        raise Problem(400, "query_invalid", "at is an RFC 3339 moment with its offset, of 1970 to 9999.")
    return int(moment.timestamp() * 1_000)
