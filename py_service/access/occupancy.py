"""Who is inside an area, and to forget it: the whole area (a roll call, an evacuation), or one person whom anti-passback shuts out."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from py_service._core_rs import PermissionIndex
from py_service.access.messages import ChangeResult, Inside, Occupancy, OccupancyReset
from py_service.access.operations import OCCUPANCY, RESET_OCCUPANCY
from py_service.errors import Problem, unknown
from py_service.exchange import Request, Response, Route, decoded, encoded, moment, moment_or_none
from py_service.paging import read_limit, read_place, write_cursor
from py_service.permissions.change import Actor, Plan, View
from py_service.permissions.lane import ChangeLane
from py_service.permissions.listing import sites_of
from py_service.permissions.states import STATES, record_of, state_name
from py_service.permissions.store import read_object
from py_service.permissions.whereabouts import begun_anew, counted_out, is_inside, read_records, since_reset
from py_service.stores.mongo import Document, Mongo, now_ms, store_errors

READ, RESET = "events.read", "doors.write"
CURSOR_KIND, CURSOR_CHARACTERS_MAX = "o1", 128
INSIDE_READ_MAX = 20_000
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
        """GET /v1/areas/{area}/occupancy?limit=&cursor=: the live count, and who is inside, by id."""
        claims, area = request.caller(), request.parameters["area"]
        if request.query.keys() - {"limit", "cursor"}:
            raise Problem(400, "query_invalid", "Known here: cursor, limit.")
        limit, cursor = read_limit(request.query.get("limit")), request.query.get("cursor")
        after = "" if cursor is None else read_place(CURSOR_KIND, cursor, CURSOR_CHARACTERS_MAX)
        decision, sites = self.index.reach(claims.organization, claims.subject, READ, now_ms())
        if not decision.allowed:
            raise Problem(403, decision.reason, f"This needs {READ}.")
        async with store_errors():
            document = await read_object(self.mongo, claims.organization, "area", area)
            if document is None or document.get("ended_at") is not None or (sites is not None and document["site"] not in sites):
                raise unknown("area")
            counted, inside = await self._inside(claims.organization, area)
        page = [one for one in inside if one.person > after][: limit + 1]
        following = write_cursor(CURSOR_KIND, page[limit - 1].person) if len(page) > limit else None
        told = Occupancy(
            area,
            int(counted.get("count", 0)),
            document.get("occupancy_max"),
            moment_or_none(counted.get("reset_at")),
            page[:limit],
            following,
        )
        return encoded(200, told)

    async def reset(self, request: Request) -> Response:
        """POST /v1/areas/{area}/occupancy/reset"""
        area = request.parameters["area"]
        wanted = decoded(_RESET, request.body) if request.body else OccupancyReset()
        actor = Actor.of(request.caller())
        changed = await self.lane.submit(actor.organization, actor, ResetOccupancy(area, wanted.person))
        return encoded(200, ChangeResult(id=area, revision=changed.revision, effective_by=moment(changed.effective_by_ms)))

    async def _inside(self, organization: str, area: str) -> tuple[Document, list[Inside]]:
        """Read in this order: whoever enters between the two is in the list, and not in the count yet."""
        states = self.mongo.database[STATES]
        counted = record_of(await states.find_one({"_id": state_name(organization, f"area.{area}")}) or {})
        documents = await states.find(since_reset(organization, area, counted)).limit(INSIDE_READ_MAX).to_list()
        inside = [Inside(str(one["person"]), moment(int(one["entered_at"]))) for one in documents if is_inside(one, counted)]
        return counted, sorted(inside, key=lambda one: one.person)
