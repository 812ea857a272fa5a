"""The ways in which access is lost, as a table: how each is taken and given again, what stands before, and what somebody hears then.

Where those are tried that can't be raced by the thousand, and that none is forgotten: tests/boundary/test_revoke_ways.py.

Templates name the `{organization}`, the lane's number `{lane}` and its `{site}`, `{area}`, `{door}` and `{lock}`, the way's `{person}` and
`{own}` (an id for whatever else it has), the `{public_key}` of a device with that person's id, and what the way's last answers told:
`{given}` and `{taken}` are the ids in those to the give and the take, and what else there is stands in `TOLD`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

TODAY = datetime.datetime.now(datetime.UTC)
FUTURE, PAST, ALL_DAY = (
    "2100-01-01T00:00:00Z",
    "2020-01-01T00:00:00Z",
    [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}],
)
DAY = [{"start": "00:00", "end": "24:00"}]
# Berlin is one or two hours ahead of UTC, Auckland twelve or thirteen.
NOW_IN_BERLIN = [
    {**ALL_DAY[0], "start": f"{TODAY - datetime.timedelta(hours=1):%H:%M}", "end": f"{TODAY + datetime.timedelta(hours=9):%H:%M}"}
]
HOLIDAYS = [str(TODAY.date() + datetime.timedelta(days=days)) for days in range(-1, 3)]


TOLD = ("access_token", "refresh_token", "link_token", "key")
PASSWORD = "a password of the races"


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `by`: `owner`, `person` (the way's), `operator`, `anyone`, or the id of somebody else. Without a method the path is what
    `nexkey organization` is told to do. `until`: it is asked again until one of these codes says that it took effect.
    """

    method: str
    path: str
    body: Any = None
    by: str = "owner"
    until: frozenset[str] = frozenset()


UNLOCK = Call("POST", "/v1/doors/{door}/unlock")
ROLES = Call("GET", "/v1/roles")
EXPLAIN = Call("GET", "/v1/access/explain?person=olga&door={door}")


@dataclass(frozen=True, slots=True)
class Way:
    """`give`: the last of its steps gives access. `refusals`: the codes that somebody hears who has no access because of this. `person`:
    their document, None when each give makes one; `signs_in`: with an account. `asked`: what they ask for. `asker`: what they prove who
    they are with: a token made for the `person`, the one `kept` since access was given, the token or key that the give `told`, or a
    `device`'s key. `shared`: other ways need
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
        return self.asked.path.endswith("/unlock")


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


def roles(*held: str, sites: list[str] | None = None) -> Call:
    return Call("PUT", "/v1/persons/{person}/roles", {"roles": [{"role": role, "sites": sites} for role in held]})


def operates(what: str) -> Call:
    return Call("POST", f"/v1/operator/organizations/{{organization}}/{what}", by="operator")


def pin(digits: str | None) -> Call:
    return Call("PUT", "/v1/persons/{person}/pin", {"pin": digits})


VISITOR = {"id": "{person}", "name": "Rea", "email": "{person}@{organization}.example", "groups": ["{own}"]}
OF_GROUP = (("group", {"id": "{own}"}), grant(person=None, group="{own}"))
INNER = ("group", {"id": "{own}-inner"})
PLAN = ("lockdown_plan", {"id": "{own}", "doors": ["{door}"], "at_sites": ["{site}"]})
DENIAL = {"effect": "deny", "person": "{person}", "area": "{area}"}
SIGN_IN = Call("POST", "/v1/sign-in", {"email": "{person}@{organization}.example", "password": PASSWORD}, by="anyone")
PASS = {"name": "A key", "doors": ["{door}"], "valid_until": str(TODAY + datetime.timedelta(days=30))}
BEGUN, OVER = str(TODAY - datetime.timedelta(hours=9)), str(TODAY - datetime.timedelta(hours=1))  # what is over for a day, the worker ends
ACCEPT = Call("POST", "/v1/me/passes", {"token": "{link_token}"}, by="person")
API_KEY = Call("POST", "/v1/api-keys", {"name": "A key", "scopes": ["persons.read"]})
GIVER, HOLDER = "{own}-giver", "{own}-holder"
PASSED_ON = (
    Call("POST", "/v1/passes", {**PASS, "passes_on_max": 1}, by=GIVER),
    Call("POST", "/v1/me/passes", {"token": "{link_token}"}, by=HOLDER),
    Call("POST", "/v1/passes/{given}/pass-on", {"name": "A key"}, by=HOLDER),
    ACCEPT,
)
ELSEWHERE = ("site", {"id": "{own}"})
CLOSED = ("schedule", {"id": "{own}", "windows": []})
SHUT = ("calendar", {"id": "{own}", "dates": HOLIDAYS})
SHUT_DAYS = [{"date": day, "windows": []} for day in HOLIDAYS]
AUDITOR = {"roles": [{"role": "auditor", "sites": None}]}
PIN_DOOR = (("door", {"id": "{own}", "site": "{site}", "mode": "card_and_pin"}), grant(door="{own}"))
WITH_PIN = Call("POST", "/v1/doors/{own}/unlock", {"pin": "4711"})
PIN_REFUSALS = codes("pin_wrong", "pin_needed", "rate_limited")
REFRESHED_TWICE = Call(
    "POST", "/v1/refresh", {"refresh_token": "{refresh_token}"}, by="anyone", until=codes("refresh_token_reused", "refresh_token_unknown")
)
SHARED = {"id": "{own}", "given_by": "{own}-giver", "counts": []}

WAYS = (
    Way("grant", Call("POST", "/v1/grants", {"person": "{person}", "door": "{door}"}), Call("DELETE", "/v1/grants/{given}"),
        codes("no_grant")),
    Way("grant-validity", patch("grants/{own}", valid_until=None), patch("grants/{own}", valid_until=PAST), codes("expired"),
        base=(grant(),)),
    Way("grant-not-begun", patch("grants/{own}", valid_from=None), patch("grants/{own}", valid_from=FUTURE), codes("not_yet_valid"),
        base=(grant(),)),
    Way("grant-schedule", patch("grants/{own}", schedule=None), patch("grants/{own}", schedule="{own}"), codes("outside_schedule"),
        base=(CLOSED, grant())),
    Way("grant-effect", patch("grants/{own}", effect="allow"), patch("grants/{own}", effect="deny"), codes("denied_by_rule"),
        base=(grant(),)),
    Way("area-left", patch("doors/{door}", area="{area}"), patch("doors/{door}", area=None), codes("no_grant"),
        base=(grant(door=None, area="{area}"),), shared=True),
    Way("area-entered", patch("doors/{door}", enters=None), patch("doors/{door}", enters="{own}"), codes("denied_by_rule"),
        base=(("area", {"id": "{own}", "site": "{site}"}), grant(), grant(id="{own}-deny", effect="deny", door=None, area="{own}")),
        shared=True),
    Way("membership", patch("persons/{person}", groups=["{own}"]), patch("persons/{person}", groups=[]), codes("no_grant"), base=OF_GROUP),
    Way("nested-group", patch("groups/{own}", includes=["{own}-inner"]), patch("groups/{own}", includes=[]), codes("no_grant"),
        person={"groups": ["{own}-inner"]}, base=(INNER, *OF_GROUP)),
    Way("schedule", patch("schedules/{own}", windows=ALL_DAY), patch("schedules/{own}", windows=[]), codes("outside_schedule"),
        base=(("schedule", {"id": "{own}"}), grant(schedule="{own}", door=None, area="{area}"))),
    Way("schedule-calendar", patch("schedules/{own}", calendar=None), patch("schedules/{own}", calendar="{own}"), codes("holiday"),
        base=(SHUT, ("schedule", {"id": "{own}"}), grant(schedule="{own}"))),
    Way("holiday-windows", patch("schedules/{own}", holiday_windows=DAY), patch("schedules/{own}", holiday_windows=[]), codes("holiday"),
        base=(SHUT, ("schedule", {"id": "{own}", "calendar": "{own}"}), grant(schedule="{own}"))),
    Way("time-zone", patch("sites/{site}", time_zone="Europe/Berlin"), patch("sites/{site}", time_zone="Pacific/Auckland"),
        codes("outside_schedule"), base=(("schedule", {"id": "{own}", "windows": NOW_IN_BERLIN}), grant(schedule="{own}")), shared=True),
    Way("schedule-exceptions", patch("schedules/{own}", exceptions=[]), patch("schedules/{own}", exceptions=SHUT_DAYS),
        codes("outside_schedule"), base=(("schedule", {"id": "{own}"}), grant(schedule="{own}"))),
    Way("holiday", patch("calendars/{own}", dates=[]), patch("calendars/{own}", dates=HOLIDAYS), codes("holiday"),
        base=(("calendar", {"id": "{own}"}), ("schedule", {"id": "{own}", "calendar": "{own}"}), grant(schedule="{own}"))),
    Way("person-validity", patch("persons/{person}", valid_until=None), patch("persons/{person}", valid_until=PAST),
        codes("expired", "token_revoked"), base=(grant(door=None, site="{site}"),)),
    Way("person-not-begun", patch("persons/{person}", valid_from=None), patch("persons/{person}", valid_from=FUTURE),
        codes("not_yet_valid", "token_revoked"), base=(grant(),)),
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
    Way("door-modes", patch("doors/{door}", modes=[{"schedule": "{own}", "mode": "unlocked"}]), patch("doors/{door}", modes=[]),
        codes("no_grant"), base=(("schedule", {"id": "{own}"}),)),
    Way("door-deleted", Call("POST", "/v1/doors", {"name": "A door", "site": "{site}", "area": "{area}"}),
        Call("DELETE", "/v1/doors/{given}"), codes("door_unknown"), base=(grant(door=None, area="{area}"),),
        asked=Call("POST", "/v1/doors/{given}/unlock")),
    Way("door-asks-for-pin", patch("doors/{door}", mode="locked"), patch("doors/{door}", mode="card_and_pin"), codes("pin_needed"),
        base=(grant(),), shared=True),
    Way("door-for-two", patch("doors/{door}", two_persons_seconds=None), patch("doors/{door}", two_persons_seconds=30),
        codes("second_person_needed"), base=(grant(),), shared=True),
    Way("pin-changed", pin("4711"), pin("2580"), PIN_REFUSALS, base=PIN_DOOR, asked=WITH_PIN),
    Way("pin-taken", pin("4711"), pin(None), PIN_REFUSALS, base=PIN_DOOR, asked=WITH_PIN),
    Way("role", roles("auditor"), roles(), codes("role_missing", "token_revoked"), person=AUDITOR, asked=ROLES, shared=True),
    Way("role-narrowed", roles("auditor"), roles("auditor", sites=["{own}"]), codes("door_unknown", "token_revoked"), person=AUDITOR,
        base=(ELSEWHERE,), asked=EXPLAIN, shared=True),
    Way("role-to-change", roles("site_manager"), roles(), codes("role_missing", "token_revoked"),
        asked=Call("POST", "/v1/areas/{area}/release")),
    Way("device", patch("devices/spare-{lane}", active=True), patch("devices/spare-{lane}", active=False), codes("assertion_refused"),
        asked=Call("POST", "/v1/devices/spare-{lane}/token"), asker="device"),
    Way("device-deleted", Call("POST", "/v1/devices", {"id": "{person}", "name": "A lock", "kind": "lock", "public_key": "{public_key}"}),
        Call("DELETE", "/v1/devices/{person}"), codes("assertion_refused"), person=None,
        asked=Call("POST", "/v1/devices/{person}/token"), asker="device"),
    Way("session", SIGN_IN, Call("DELETE", "/v1/persons/{person}/sessions"), codes("token_revoked"), base=(grant(),), asker="told",
        signs_in=True),
    Way("other-sessions", SIGN_IN, Call("POST", "/v1/me/sessions/end-others", by="person"), codes("token_revoked"), base=(grant(),),
        asker="told", signs_in=True),
    Way("password", SIGN_IN, Call("PUT", "/v1/me/password", {"old": PASSWORD, "new": PASSWORD}, by="person"), codes("token_revoked"),
        base=(grant(),), asker="told", signs_in=True),
    Way("refresh-token-reused", SIGN_IN, REFRESHED_TWICE, codes("token_revoked"), base=(grant(),), asker="told", signs_in=True),
    Way("address", patch("persons/{person}", email="{person}@{organization}.example"),
        patch("persons/{person}", email="{person}-moved@{organization}.example"), codes("token_revoked"), base=(grant(),), asker="kept",
        signs_in=True),
    Way("sign-out", SIGN_IN, Call("POST", "/v1/sign-out", {"refresh_token": "{refresh_token}"}, by="anyone"), codes("token_revoked"),
        asked=Call("GET", "/v1/me/passes"), asker="told", signs_in=True),
    Way("pass", (Call("POST", "/v1/passes", PASS), ACCEPT), Call("DELETE", "/v1/passes/{given}"), codes("no_grant")),
    Way("counted-pass", (Call("POST", "/v1/passes", {**PASS, "uses": 10_000}), ACCEPT), Call("DELETE", "/v1/passes/{given}"),
        codes("no_grant")),
    Way("pass-shortened", (Call("POST", "/v1/passes", {**PASS, "valid_from": BEGUN}), ACCEPT), patch("passes/{given}", valid_until=OVER),
        codes("expired")),
    Way("pass-given-up", (Call("POST", "/v1/passes", PASS), ACCEPT), Call("DELETE", "/v1/passes/{given}", by="person"), codes("no_grant")),
    Way("pass-from-above", PASSED_ON, Call("DELETE", "/v1/passes/{given}", by=GIVER), codes("no_grant"),
        base=(("person", {"id": GIVER}), ("person", {"id": HOLDER}), grant(id="{own}-own", person=GIVER))),
    Way("pass-giver", patch("persons/{own}-giver", valid_until=None), patch("persons/{own}-giver", valid_until=PAST), codes("no_grant"),
        base=(("person", {"id": "{own}-giver"}), grant(id="{own}-own", person="{own}-giver"), grant(**{"pass": SHARED}))),
    Way("api-key", API_KEY, Call("DELETE", "/v1/api-keys/{given}"), codes("api_key_unknown"), asked=ROLES, asker="told"),
    Way("api-key-rotated", API_KEY, Call("POST", "/v1/api-keys/{given}/rotate", {"overlap_seconds": 0}), codes("api_key_unknown"),
        asked=ROLES, asker="told"),
    Way("api-key-off", API_KEY, patch("api-keys/{given}", active=False), codes("api_key_inactive"), asked=ROLES, asker="told"),
    Way("api-key-narrowed", API_KEY, patch("api-keys/{given}", scopes=["doors.read"]), codes("role_missing"), asked=ROLES, asker="told"),
    Way("api-key-elsewhere", API_KEY, patch("api-keys/{given}", sites=["{own}"]), codes("door_unknown"), base=(ELSEWHERE,), asked=EXPLAIN,
        asker="told"),
    Way("organization", Call("", "resume"), Call("", "suspend"), codes("organization_suspended", "token_revoked"), base=(grant(),),
        shared=True, alone=True),
    Way("organization-over-http", operates("resume"), operates("suspend"), codes("organization_suspended", "token_revoked"),
        base=(grant(),), shared=True, alone=True),
)  # fmt: skip
