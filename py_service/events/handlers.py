"""HTTP operations of the events room: decode, one call, encode."""

from __future__ import annotations

from py_service._core_rs import PermissionIndex
from py_service.errors import Problem
from py_service.events.list import EventPage, ListEvents
from py_service.exchange import Operation, Request, Response, Route, encoded
from py_service.paging import Cursor, Limit, read_limit
from py_service.permissions.event_sites import sites_of_event
from py_service.stores.mongo import Document, now_ms

LIST = Operation(
    "List events, newest first", "Events", {200: EventPage}, query={"limit": Limit, "cursor": Cursor}, permission="events.read",
    detail=(
        "A role or key for some sites sees what happened, or was changed, at those; a page may then hold fewer than `limit`, or none, "
        "and go on."
    ),
)  # fmt: skip


class EventHandlers:
    """The routes of the events room."""

    def __init__(self, index: PermissionIndex, list_events: ListEvents) -> None:
        self._index = index
        self._list_events = list_events

    def routes(self) -> list[Route]:
        return [Route("GET", "/v1/events", self.list, body_bytes_max=0, about=LIST)]

    async def list(self, request: Request) -> Response:
        """GET /v1/events: whoever may read them at some sites sees what happened there, also at what is gone."""
        claims = request.caller()
        unknown_names = request.query.keys() - {"limit", "cursor"}
        if unknown_names:
            raise Problem(400, "query_invalid", "Only limit and cursor are known here.")
        limit = read_limit(request.query.get("limit"))
        organization = claims.organization
        decision, sites = self._index.reach(organization, claims.subject, "events.read", now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, "This needs events.read.")

        def is_seen(event: Document) -> bool:
            at_sites = sites_of_event(self._index, event)
            return bool(at_sites) and set(sites or ()).issuperset(at_sites)

        return encoded(200, await self._list_events(organization, limit, request.query.get("cursor"), None if sites is None else is_seen))
