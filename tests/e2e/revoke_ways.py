"""The ways in which access is lost, as a table: how each is taken and given again, what stands before, and what somebody hears then.

Templates name the `{organization}`, the lane's number `{lane}` and its `{site}`, `{area}`, `{door}` and `{lock}`, the way's `{person}` and
`{own}` (an id for whatever else it has), and what the way's last answers told: `{given}` and `{taken}` are the ids in those to the give and
the take, and what else there is stands in `TOLD`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

PAST, ALL_DAY = "2020-01-01T00:00:00Z", [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}]
HOLIDAYS = [str(datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=days)) for days in range(-1, 3)]


TOLD = ("access_token", "refresh_token", "link_token", "key")
PASSWORD = "a password of the races"


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `by`: `owner`, `person` (the way's) or `anyone`; `operator`: the path is what `nexkey organization` is told to do."""

    method: str
    path: str
    body: Any = None
    by: str = "owner"


UNLOCK = Call("POST", "/v1/doors/{door}/unlock")
ROLES = Call("GET", "/v1/roles")


@dataclass(frozen=True, slots=True)
class Way:
    """`give`: the last of its steps gives access. `refusals`: the codes that somebody hears who has no access because of this. `person`:
    their document, None when each give makes one; `signs_in`: with an account. `asked`: what they ask for. `asker`: what they prove who
    they are with: a token made for the `person`, the token or key that the give `told`, or a `device`'s key. `shared`: other ways need
    the place, so that a round begins with the take and ends with the give. `alone`: it takes a whole organization.
    """

    name: str
    give: Call | tuple[Call, ...]
    take: Call
    refusals: frozenset[str]
    person: dict[str, Any] | None = field(default_factory=dict)
    base: tuple[tuple[str, dict[str, Any]], ...] = ()
    asked: Call = UNLOCK
    asker: str = "person"
    signs_in: bool = False
    shared: bool = False
    alone: bool = False

    @property
    def steps(self) -> tuple[Call, ...]:
        return self.give if isinstance(self.give, tuple) else (self.give,)

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
SIGN_IN = Call("POST", "/v1/sign-in", {"email": "{person}@{organization}.example", "password": PASSWORD}, by="anyone")
PASS = {"name": "A key", "doors": ["{door}"], "valid_until": str(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30))}
ACCEPT = Call("POST", "/v1/me/passes", {"token": "{link_token}"}, by="person")
API_KEY = Call("POST", "/v1/api-keys", {"name": "A key", "scopes": ["persons.read"]})
SHARED = {"id": "{own}", "given_by": "{own}-giver", "counts": []}

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
    Way("role-to-change", roles("site_manager"), roles(), codes("role_missing", "token_revoked"),
        asked=Call("POST", "/v1/areas/{area}/release")),
    Way("device", patch("devices/spare-{lane}", active=True), patch("devices/spare-{lane}", active=False), codes("assertion_refused"),
        asked=Call("POST", "/v1/devices/spare-{lane}/token"), asker="device"),
    Way("session", SIGN_IN, Call("DELETE", "/v1/persons/{person}/sessions"), codes("token_revoked"), base=(grant(),), asker="told",
        signs_in=True),
    Way("sign-out", SIGN_IN, Call("POST", "/v1/sign-out", {"refresh_token": "{refresh_token}"}, by="anyone"), codes("token_revoked"),
        asked=Call("GET", "/v1/me/passes"), asker="told", signs_in=True),
    Way("pass", (Call("POST", "/v1/passes", PASS), ACCEPT), Call("DELETE", "/v1/passes/{given}"), codes("no_grant")),
    Way("counted-pass", (Call("POST", "/v1/passes", {**PASS, "uses": 10_000}), ACCEPT), Call("DELETE", "/v1/passes/{given}"),
        codes("no_grant")),
    Way("pass-giver", patch("persons/{own}-giver", valid_until=None), patch("persons/{own}-giver", valid_until=PAST), codes("no_grant"),
        base=(("person", {"id": "{own}-giver"}), grant(id="{own}-own", person="{own}-giver"), grant(**{"pass": SHARED}))),
    Way("api-key", API_KEY, Call("DELETE", "/v1/api-keys/{given}"), codes("api_key_unknown"), asked=ROLES, asker="told"),
    Way("api-key-rotated", API_KEY, Call("POST", "/v1/api-keys/{given}/rotate", {"overlap_seconds": 0}), codes("api_key_unknown"),
        asked=ROLES, asker="told"),
    Way("api-key-off", API_KEY, patch("api-keys/{given}", active=False), codes("api_key_inactive"), asked=ROLES, asker="told"),
    Way("api-key-narrowed", API_KEY, patch("api-keys/{given}", scopes=["doors.read"]), codes("role_missing"), asked=ROLES, asker="told"),
    Way("organization", Call("", "resume", by="operator"), Call("", "suspend", by="operator"),
        codes("organization_suspended", "token_revoked"), base=(grant(),), shared=True, alone=True),
)  # fmt: skip
