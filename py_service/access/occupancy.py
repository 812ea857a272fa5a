"""Who is inside an area, and to forget it: the whole area (a roll call, an evacuation), or one person whom anti-passback shuts out."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.access.messages import ChangeResult, Inside, Occupancy, OccupancyReset
from py_service.access.operations import OCCUPANCY, RESET_OCCUPANCY
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.paging import cursor_invalid, read_limit, read_place, write_cursor
from py_service.permissions.change import Actor, Plan, View
from py_service.permissions.lane import ChangeLane
from py_service.permissions.listing import sites_of
from py_service.permissions.states import STATES, record_of, state_name
from py_service.permissions.store import read_object
from py_service.permissions.whereabouts import begun_anew, counted_out, is_inside, read_records, since_reset
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

READ, RESET = "events.read", "doors.write"
CURSOR_KIND, CURSOR_CHARACTERS_MAX = "o2", 128
ENTERED_AT_DIGITS = 15
TOGETHER = 1_000  # read beyond a page, and doubled when more entered in one millisecond: they are put in order by their ids
Place = tuple[int, str]  # when somebody entered, in ms, and who
_RESET = msgspec.json.Decoder(OccupancyReset)


@dataclass(frozen=True, slots=True)
class ResetOccupancy:
    """`person` None: everybody. It races with those who enter: one of the two transactions is carried out after the other."""

    area: str
    person: str | None
    takes_authority = False

    async def plan(self, view: View) -> Plan:
        view.require_any(RESET)
        area = await view.get("area", self.area)
        view.require(RESET, str(area["site"]))
        if self.person is not None:
            await view.get_ended_or_not("person", self.person)  # who was deleted may be inside still, by what an older version left
            return await counted_out(view, self.area, self.person)
        [counted] = await read_records(view, [f"area.{self.area}"])
        event = view.event(
            "area_reset", self.area, sites_of("area", area), detail={"persons": int(counted.get("count", 0)), "occupancy": 0}
        )
        return Plan(events=[event], writes=begun_anew(view, self.area, counted))


@dataclass(frozen=True, slots=True)
class AreaOccupancy:
    """The routes."""

    lane: ChangeLane
    index: PermissionIndex
    mongo: Mongo

    def routes(self) -> list[Route]:
        one = "/v1/areas/{area}/occupancy"
        return [
            Route("GET", one, self.read, body_bytes_max=0, about=OCCUPANCY),
            Route("POST", f"{one}/reset", self.reset, fenced=False, about=RESET_OCCUPANCY),
        ]

    async def read(self, request: Request) -> Response:
        """GET /v1/areas/{area}/occupancy?limit=&cursor=: the live count, and who is inside, whoever entered first before all others."""
        claims, area = request.caller(), request.parameters["area"]
        if request.query.keys() - {"limit", "cursor"}:
            raise Problem(400, "query_invalid", "Known here: cursor, limit.")
        limit, cursor = read_limit(request.query.get("limit")), request.query.get("cursor")
        after = None if cursor is None else _place_in(cursor)
        decision, sites = self.index.reach(claims.organization, claims.subject, READ, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {READ}.")
        async with store_errors():
            document = await read_object(self.mongo, claims.organization, "area", area)
            if document is None or document.get("ended_at") is not None or (sites is not None and document["site"] not in sites):
                raise unknown("area")
            counted, inside = await self._inside(claims.organization, area, after, limit + 1)
        page = inside[:limit]
        told = Occupancy(
            area,
            int(counted.get("count", 0)),
            document.get("occupancy_max"),
            moment_or_none(counted.get("reset_at")),
            [Inside(person, moment(entered_at)) for entered_at, person in page],
            _cursor_of(page[-1]) if len(inside) > limit else None,
        )
        return encoded(200, told)

    async def reset(self, request: Request) -> Response:
        """POST /v1/areas/{area}/occupancy/reset"""
        area = request.parameters["area"]
        wanted = decoded(_RESET, request.body) if request.body else OccupancyReset()
        actor = Actor.of(request.caller())
        changed = await self.lane.submit(actor.organization, actor, ResetOccupancy(area, wanted.person))
        return encoded(200, ChangeResult(id=area, revision=changed.revision, effective_by=moment(changed.effective_by_ms)))

    async def _inside(self, organization: str, area: str, after: Place | None, wanted: int) -> tuple[Document, list[Place]]:
        """The area's count, and as many as are wanted of who is inside, when there are so many.

        Read in this order: whoever enters between the two is in the list, and not in the count yet.
        """
        states = self.mongo.database[STATES]
        counted = record_of(await states.find_one({"_id": state_name(organization, f"area.{area}")}) or {})
        search, at_once = since_reset(organization, area, counted), wanted + TOGETHER
        if after is not None:
            search["entered_at"]["$gt"] = max(search["entered_at"]["$gt"], after[0] - 1)
        while True:
            found = await states.find(search).sort("entered_at", 1).limit(at_once).to_list()
            inside = sorted((int(one["entered_at"]), str(one["person"])) for one in found if is_inside(one, counted))
            if len(found) == at_once:  # of who entered with the last of them, some may not be among them
                inside = [place for place in inside if place[0] < int(found[-1]["entered_at"])]
            following = [place for place in inside if after is None or place > after]
            if len(found) < at_once or len(following) >= wanted:
                return counted, following[:wanted]
            at_once *= 2


def _cursor_of(place: Place) -> str:
    return write_cursor(CURSOR_KIND, f"{place[0]:0{ENTERED_AT_DIGITS}d}:{place[1]}")


def _place_in(cursor: str) -> Place:
    """Raises Problem 400 `cursor_invalid`."""
    entered_at, _, person = read_place(CURSOR_KIND, cursor, CURSOR_CHARACTERS_MAX).partition(":")
    if not (entered_at.isascii() and entered_at.isdigit() and len(entered_at) == ENTERED_AT_DIGITS):
        raise cursor_invalid()
    return int(entered_at), person
