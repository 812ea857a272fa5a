"""The ways in which access is lost, as a table: how each is taken and given again, what stands before, and what somebody hears then.

Templates name the `{organization}`, the lane's number `{lane}` and its `{site}`, `{area}`, `{door}` and `{lock}`, the way's `{person}` and
`{own}` (an id for whatever else it has), and what the answers told: `{given}` is the id in that to the give, `{taken}` in that to the take.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

PAST, ALL_DAY = "2020-01-01T00:00:00Z", [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
HOLIDAYS = [str(datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=days)) for days in range(-1, 3)]


@dataclass(frozen=True, slots=True)
class Call:
    """A request. With the method `OPERATOR` the path is what `nexkey organization` is told to do."""

    method: str
    path: str
    body: Any = None


UNLOCK = Call("POST", "/v1/doors/{door}/unlock")
ROLES = Call("GET", "/v1/roles")


@dataclass(frozen=True, slots=True)
class Way:
    """`refusals`: the codes that somebody hears who has no access because of this. `person`: their document, None when each give makes one.
    `asked`: what they ask for. `asker`: who proves who they are, `person` or `device`. `shared`: other ways need the place, so that a round
    begins with the take and ends with the give. `alone`: it takes a whole organization.
    """

    name: str
    give: Call
    take: Call
    refusals: frozenset[str]
    person: dict[str, Any] | None = field(default_factory=dict)
    base: tuple[tuple[str, dict[str, Any]], ...] = ()
    asked: Call = UNLOCK
    asker: str = "person"
    shared: bool = False
    alone: bool = False

    @property
    def opens(self) -> bool:
        """Whether a lock moves."""
        return self.asked is UNLOCK


def grant(**fields: object) -> tuple[str, dict[str, Any]]:
    """For the way's person on the lane's door, if nothing else is said."""
    return "grant", {"id": "{own}", "person": "{person}", "door": "{door}", **fields}


def codes(*names: str) -> frozenset[str]:
    return frozenset(names)


def patch(path: str, **fields: object) -> Call:
    return Call("PATCH", f"/v1/{path}", fields)


def lockdown(place: str) -> Way:
    path = f"/v1/{place}s/{{{place}}}"
    give, take = Call("POST", f"{path}/release"), Call("POST", f"{path}/lockdown")
    return Way(f"{place}-lockdown", give, take, codes(f"{place}_locked_down"), base=(grant(),), shared=True)


def roles(*held: str) -> Call:
    return Call("PUT", "/v1/persons/{person}/roles", {"roles": [{"role": role, "sites": None} for role in held]})


VISITOR = {"id": "{person}", "name": "Rea", "email": "{person}@{organization}.example", "groups": ["{own}"]}
OF_GROUP = (("group", {"id": "{own}"}), grant(person=None, group="{own}"))
INNER = ("group", {"id": "{own}-inner"})
PLAN = ("lockdown_plan", {"id": "{own}", "doors": ["{door}"], "at_sites": ["{site}"]})
DENIAL = {"effect": "deny", "person": "{person}", "area": "{area}"}

WAYS = (
    Way("grant", Call("POST", "/v1/grants", {"person": "{person}", "door": "{door}"}), Call("DELETE", "/v1/grants/{given}"),
        codes("no_grant")),
    Way("grant-validity", patch("grants/{own}", valid_until=None), patch("grants/{own}", valid_until=PAST), codes("expired"),
        base=(grant(),)),
    Way("membership", patch("persons/{person}", groups=["{own}"]), patch("persons/{person}", groups=[]), codes("no_grant"), base=OF_GROUP),
    Way("nested-group", patch("groups/{own}", includes=["{own}-inner"]), patch("groups/{own}", includes=[]), codes("no_grant"),
        person={"groups": ["{own}-inner"]}, base=(INNER, *OF_GROUP)),
    Way("schedule", patch("schedules/{own}", windows=ALL_DAY), patch("schedules/{own}", windows=[]), codes("outside_schedule"),
        base=(("schedule", {"id": "{own}"}), grant(schedule="{own}", door=None, area="{area}"))),
    Way("holiday", patch("calendars/{own}", dates=[]), patch("calendars/{own}", dates=HOLIDAYS), codes("holiday"),
        base=(("calendar", {"id": "{own}"}), ("schedule", {"id": "{own}", "calendar": "{own}"}), grant(schedule="{own}"))),
    Way("person-validity", patch("persons/{person}", valid_until=None), patch("persons/{person}", valid_until=PAST),
        codes("expired", "token_revoked"), base=(grant(door=None, site="{site}"),)),
    Way("suspended", Call("POST", "/v1/persons/{person}/resume"), Call("POST", "/v1/persons/{person}/suspend"),
        codes("person_suspended", "token_revoked"), base=(grant(),)),
    Way("removed", Call("POST", "/v1/persons", VISITOR), Call("DELETE", "/v1/persons/{person}"),
        codes("unknown_credential", "token_revoked"), person=None, base=OF_GROUP),
    lockdown("door"),
    lockdown("area"),
    lockdown("site"),
    Way("plan", Call("POST", "/v1/lockdown-plans/{own}/release"), Call("POST", "/v1/lockdown-plans/{own}/engage"),
        codes("door_locked_down"), base=(grant(), PLAN), shared=True),
    Way("deny", Call("DELETE", "/v1/grants/{taken}"), Call("POST", "/v1/grants", DENIAL), codes("denied_by_rule"), base=(grant(),)),
    Way("door-mode", patch("doors/{door}", mode="unlocked"), patch("doors/{door}", mode="locked"), codes("no_grant")),
    Way("role", roles("auditor"), roles(), codes("role_missing", "token_revoked"), asked=ROLES),
    Way("device", patch("devices/spare-{lane}", active=True), patch("devices/spare-{lane}", active=False), codes("assertion_refused"),
        asked=Call("POST", "/v1/devices/spare-{lane}/token"), asker="device"),
    Way("organization", Call("OPERATOR", "resume"), Call("OPERATOR", "suspend"), codes("organization_suspended", "token_revoked"),
        base=(grant(),), shared=True, alone=True),
)  # fmt: skip
