"""End sessions: one's own, all others of one's own, all of a person's, or the one that a refresh token belongs to.

A change like any other: once it has returned, no process takes an access token of an ended session, and its refresh tokens are void.
"""

from __future__ import annotations

from dataclasses import dataclass

from py_service.errors import not_standing, unknown
from py_service.identity.api_key import SUBJECT_PREFIX
from py_service.identity.sessions import COLLECTION, Session, session_document_id, sessions_of
from py_service.identity.tokens import ACCESS_TOKEN_MS
from py_service.permissions.change import Plan, View, Write
from py_service.permissions.owners import guard_owner

FORGOTTEN_AFTER_MS = ACCESS_TOKEN_MS + 60_000  # no token of it lives longer, with room for clocks and for the commit
ENDED_AT_ONCE_MAX = 500


@dataclass(frozen=True, slots=True)
class EndOwnSession:
    """The caller ends one of their own. To repeat it is safe for as long as its end is known."""

    session: str
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.stand()
        person = "" if view.actor is None else view.actor.subject
        found = await _find(view, self.session)
        if found is not None and found.person == person:
            return ended(view, [found], person, "ended")
        before = await view.find_ended_or_not("session", self.session)
        if before is None or before["person"] != person:
            raise unknown("session")
        return Plan()


@dataclass(frozen=True, slots=True)
class EndOtherSessions:
    """The caller ends all of their own but the one that asks, 500 at most. `result`: {ended, more}."""

    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.stand()
        person, asking = ("", "") if view.actor is None else (view.actor.subject, view.actor.session)
        return await end_all(view, person, "ended", spared=asking)


@dataclass(frozen=True, slots=True)
class EndSessionsOf:
    """A manager ends all of a person's, 500 at most. `result`: {ended, more}."""

    person: str
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        view.require("persons.write", None)
        guard_owner(view, await view.get("person", self.person))
        return await end_all(view, self.person, "ended_by_manager")


@dataclass(frozen=True, slots=True)
class EndShownSession:
    """Whoever showed a refresh token of it ends it: `because` is `signed_out`, or `refresh_token_reused` when it was shown twice."""

    session: str
    because: str
    takes_authority = True

    async def plan(self, view: View) -> Plan:
        found = await _find(view, self.session)
        return Plan() if found is None else ended(view, [found], found.person, self.because)


async def check_goes_on(view: View) -> None:
    """For a change that is made long after it was asked for: the session that asked has not ended since, nor the key's secret.

    What ended is forgotten once no token of it lives, so after that the session itself is looked for. Raises Problem 401, 403.
    """
    view.stand()
    actor = view.actor
    if actor is None:
        return
    cause = None
    if actor.subject.startswith(SUBJECT_PREFIX):
        cause = view.index.authenticate(view.organization, actor.subject, view.at_ms, actor.session)
    elif view.at_ms - actor.issued_at_ms >= ACCESS_TOKEN_MS and await _find(view, actor.session) is None:
        cause = "token_revoked"
    if cause is not None:
        raise not_standing(cause)


async def _find(view: View, session: str) -> Session | None:
    found = await view.mongo.database[COLLECTION].find_one({"_id": session_document_id(view.organization, session)}, session=view.session)
    return None if found is None or found["org"] != view.organization else Session.of(found)


async def end_all(view: View, person: str, because: str, spared: str | None = None) -> Plan:
    """The plan that ends all of a person's but `spared`, 500 at most. `result`: {ended, more}."""
    found = await sessions_of(view.mongo.database, view.organization, person, ENDED_AT_ONCE_MAX + 2, view.session)
    found = [session for session in found if session.id != spared]
    going, more = found[:ENDED_AT_ONCE_MAX], len(found) > ENDED_AT_ONCE_MAX
    plan = ended(view, going, person, because) if going else Plan()
    plan.result = {"ended": len(going), "more": more}
    return plan


def ended(view: View, sessions: list[Session], person: str, because: str) -> Plan:
    """The plan that ends these sessions of a person. Their connections can't be told apart by session, so all of the person's end."""
    plan = Plan()
    for session in sessions:
        document: dict[str, object] = {
            "id": session.id, "person": person, "ended_at": view.at_ms, "forget_at": view.at_ms + FORGOTTEN_AFTER_MS,
        }  # fmt: skip
        plan.images.append({"kind": "session", "id": session.id, "document": document})
        plan.writes.append(Write(COLLECTION, session.document_id, None))
    detail: dict[str, object] = {"because": because, "sessions": len(sessions)}
    plan.events.append(view.event("sessions_ended", person, person=person, detail=detail))
    return plan.cut(person)
