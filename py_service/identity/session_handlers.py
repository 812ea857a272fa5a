"""HTTP operations on sessions: those of the caller, and a person's for managers."""

from __future__ import annotations

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem, not_standing, unknown
from py_service.exchange import Operation, Request, Response, Route, encoded, moment
from py_service.identity.end_sessions import EndOtherSessions, EndOwnSession, EndSessionsOf
from py_service.identity.messages import EndedSession, EndedSessions, PersonSession, PersonSessions
from py_service.identity.sessions import Session, SessionStore
from py_service.permissions.change import Actor, Change
from py_service.permissions.lane import ChangeLane
from py_service.permissions.store import read_object
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

PERMISSION = "persons.write"  # what somebody signs in with, and when, is more than a list of persons tells
LISTED_MAX = 200

MINE = Operation("My sessions, those seen last first", "Me", {200: PersonSessions})
END_MINE = Operation("End one of my sessions", "Me", {200: EndedSession})
END_OTHERS = Operation("End all my sessions but this one", "Me", {200: EndedSessions})
OF_PERSON = Operation("A person's sessions, those seen last first", "Persons", {200: PersonSessions}, permission=PERMISSION)
END_OF_PERSON = Operation("End all sessions of a person", "Persons", {200: EndedSessions}, permission=PERMISSION)


class SessionHandlers:
    """The routes of sessions. Those that end some aren't fenced at the edge: their own transaction validates the caller."""

    def __init__(self, lane: ChangeLane, index: PermissionIndex, mongo: Mongo, sessions: SessionStore) -> None:
        self._lane = lane
        self._index = index
        self._mongo = mongo
        self._sessions = sessions

    def routes(self) -> list[Route]:
        person = "/v1/persons/{person}/sessions"
        return [
            Route("GET", "/v1/me/sessions", self.get_mine, body_bytes_max=0, about=MINE),
            Route("DELETE", "/v1/me/sessions/{session}", self.end_mine, fenced=False, body_bytes_max=0, about=END_MINE),
            Route("POST", "/v1/me/sessions/end-others", self.end_others, fenced=False, body_bytes_max=0, about=END_OTHERS),
            Route("GET", person, self.get_of_person, body_bytes_max=0, about=OF_PERSON),
            Route("DELETE", person, self.end_of_person, fenced=False, body_bytes_max=0, about=END_OF_PERSON),
        ]

    async def get_mine(self, request: Request) -> Response:
        """GET /v1/me/sessions"""
        claims = request.person()
        person = await self._person(claims.organization, claims.subject)
        if person is None:
            raise not_standing("person_unknown")  # removed a moment ago
        return await self._going_on(person, claims.session)

    async def end_mine(self, request: Request) -> Response:
        """DELETE /v1/me/sessions/{session}"""
        actor, session = Actor.of(request.person()), request.parameters["session"]
        changed = await self._lane.submit(actor.organization, actor, EndOwnSession(session))
        return encoded(200, EndedSession(session, changed.revision, moment(changed.effective_by_ms)))

    async def end_others(self, request: Request) -> Response:
        """POST /v1/me/sessions/end-others"""
        return await self._end_all(request, EndOtherSessions())

    async def get_of_person(self, request: Request) -> Response:
        """GET /v1/persons/{person}/sessions"""
        claims, person = request.caller(), request.parameters["person"]
        decision = self._index.check_role(claims.organization, claims.subject, PERMISSION, None, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {PERMISSION}.")
        found = await self._person(claims.organization, person)
        if found is None:
            raise unknown("person")
        return await self._going_on(found, claims.session)

    async def _person(self, organization: str, person: str) -> Document | None:
        async with store_errors():
            found = await read_object(self._mongo, organization, "person", person)
        return None if found is None or found.get("ended_at") is not None else found

    async def _going_on(self, person: Document, asking: str) -> Response:
        """Without those that no refresh prolongs any more: they began before the person's tokens were cut."""
        cut_at_ms = int(person.get("tokens_valid_after") or 0)
        sessions = await self._sessions.of_person(str(person["org"]), str(person["id"]), LISTED_MAX)
        return encoded(200, PersonSessions([_shown(session, asking) for session in sessions if session.created_at >= cut_at_ms]))

    async def end_of_person(self, request: Request) -> Response:
        """DELETE /v1/persons/{person}/sessions"""
        return await self._end_all(request, EndSessionsOf(request.parameters["person"]))

    async def _end_all(self, request: Request, change: Change) -> Response:
        """In changes of a bounded size, one after the other. To repeat it after a failure is safe."""
        actor = Actor.of(request.caller())
        count = 0
        while True:
            changed = await self._lane.submit(actor.organization, actor, change)
            result = changed.result or {}
            count += int(result["ended"])
            if not result["more"]:
                break
        return encoded(200, EndedSessions(count, changed.revision, moment(changed.effective_by_ms)))


def _shown(session: Session, asking: str) -> PersonSession:
    return PersonSession(
        session.id, moment(session.created_at), moment(session.last_seen), moment(session.expires_at), session.client,
        session.id == asking,
    )  # fmt: skip
