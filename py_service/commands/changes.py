"""Rows of the table that change what there is, and those that make the less frequent kinds of objects: both from the same fields.

An option that isn't given isn't sent; `--clear` empties a field. What has parts of its own is JSON, as in the API's document.
"""

from __future__ import annotations

from typing import Literal

from py_service.commands.rows import ID, IF_MATCH, UNTIL, called, change, given, secret, standard, which
from py_service.commands.verb import Parameter, Verb

NAME = given("name", "What people call it.")
GROUPS = given("groups", "Id of a group; may be given more than once, and is then all of them.", "many", word="group", clears="list")
ROLE = "A role, with its sites, e.g. reception:berlin,munich; without sites everywhere. May be given more than once."
KIND = given("kind", "employee, resident, contractor, guest or visitor.")
SPAN = (
    given("valid_from", "From when, e.g. 2027-01-01T08:00:00Z.", word="from", clears="null"),
    given("valid_until", UNTIL, word="until", clears="null"),
)
GRANT = (
    given("person", "Who.", clears="null"), given("group", "Who: a group.", clears="null"), given("door", "Where.", clears="null"),
    given("area", "Where: an area.", clears="null"), given("site", "Where: a site.", clears="null"),
    given("schedule", "When; always when cleared.", clears="null"), *SPAN, given("effect", "allow, or deny, which wins."),
)  # fmt: skip
KEY = (
    given("scopes", "What it may do; may be given more than once, and is then all of it.", "many", word="scope"),
    given("sites", "Where; may be given more than once. Everywhere when cleared.", "many", word="site", clears="null"),
    given("expires_at", UNTIL, word="until"), given("active", "Whether it is good.", "switch"),
)  # fmt: skip


def door(made: bool) -> tuple[Parameter, ...]:
    return (
        given("site", "Its site.", needed=made), given("area", "Its area.", clears=_null(made)),
        given("mode", "locked, unlocked, first_person_in or card_and_pin: whom it lets in."),
        given("modes", "Modes by schedule, as JSON: [{\"schedule\": ..., \"mode\": ...}].", "json", clears=_list(made)),
        given("enters", "The area that it leads into.", clears=_null(made)),
        given("leaves", "The area that it leads out of.", clears=_null(made)),
        given("two_persons_seconds", "Takes two persons within so many seconds.", "number", clears=_null(made)),
        given("sharing", "Whether people share it who may open it.", "switch"),
    )  # fmt: skip


def site(made: bool) -> tuple[Parameter, ...]:
    return (given("time_zone", "Its time zone, e.g. Europe/Berlin.", needed=made), given("address", "Where it is.", clears=_null(made)))


def floor(made: bool) -> tuple[Parameter, ...]:
    return (given("site", "Its site.", needed=made), given("level", "Which one: 0 is the ground floor.", "number"))


def area(made: bool) -> tuple[Parameter, ...]:
    return (
        given("site", "Its site.", needed=made), given("floor", "Its floor.", clears=_null(made)),
        given("anti_passback", "off, soft, hard or timed."),
        given("anti_passback_minutes", "How long, if timed.", "number", clears=_null(made)),
        given("occupancy_max", "How many may be inside.", "number", clears=_null(made)),
    )  # fmt: skip


def device(made: bool) -> tuple[Parameter, ...]:
    return (
        given("public_key", "Its Ed25519 key, base64url.", needed=made), given("kind", "lock."),
        given("door", "The door that it is at.", clears=_null(made)), given("active", "Whether it is in use.", "switch"),
    )  # fmt: skip


def schedule(made: bool) -> tuple[Parameter, ...]:
    return (
        given("windows", "Each week, as JSON: [{\"days\": [\"mon\"], \"start\": \"08:00\", \"end\": \"18:00\"}].", "json", needed=made,
            clears=_list(made)),
        given("calendar", "Its calendar of holidays.", clears=_null(made)),
        given("holiday_windows", "On a holiday, as JSON: [{\"start\": ..., \"end\": ...}].", "json", clears=_list(made)),
        given("exceptions", "On single days, as JSON: [{\"date\": ..., \"windows\": [...]}].", "json", clears=_list(made)),
    )  # fmt: skip


def calendar(made: bool) -> tuple[Parameter, ...]:
    return (given("dates", "A holiday, e.g. 2026-12-25; may be given more than once.", "many", word="date", clears=_list(made)),)


def plan(made: bool) -> tuple[Parameter, ...]:
    return tuple(
        given(f"{place}s", f"A {place} of it; may be given more than once.", "many", word=place, clears=_list(made))
        for place in ("door", "area", "site")
    )


def _null(made: bool) -> Literal["", "null"]:
    return "" if made else "null"


def _list(made: bool) -> Literal["", "list"]:
    return "" if made else "list"


KINDS = (
    ("site", "/v1/sites", "site", site), ("floor", "/v1/floors", "floor", floor), ("area", "/v1/areas", "area", area),
    ("device", "/v1/devices", "device", device), ("schedule", "/v1/schedules", "schedule", schedule),
    ("calendar", "/v1/calendars", "calendar", calendar), ("plan", "/v1/lockdown-plans", "lockdown_plan", plan),
)  # fmt: skip
DEVICE_NAME = given("name", "What people call it.", clears="null")
SETS = tuple(
    verb
    for noun, path, parameter, fields in KINDS
    for verb in (
        *standard(noun, path, removed=f"Delete a {noun} that nothing names.", parameter=parameter),
        Verb(noun, "add", "POST", path, f"Make a {noun}.", takes=(given("name", "What people call it.") if noun == "device" else called(),
            *fields(True), ID)),
        change(noun, path, DEVICE_NAME if noun == "device" else NAME, *fields(False), parameter=parameter),
    )
)  # fmt: skip
CHANGES = (
    change("door", "/v1/doors", NAME, *door(False)),
    change("person", "/v1/persons", NAME, given("email", "Their e-mail address.", clears="null"), KIND, *SPAN, GROUPS),
    change("group", "/v1/groups", NAME, given("includes", "A group whose people are in it, too; then all of them.", "many", clears="list")),
    change("grant", "/v1/grants", *GRANT),
    change("pass", "/v1/passes", NAME, given("valid_until", UNTIL, word="until")),
    change("api-key", "/v1/api-keys", NAME, *KEY, parameter="api_key"),
    Verb("organization", "show", "GET", "/v1/organization", "Show your organization."),
    Verb("organization", "change", "PATCH", "/v1/organization", "Rename your organization.", takes=(NAME, IF_MATCH)),
    Verb("person", "pin", "PUT", "/v1/persons/{person}/pin", "Set a person's PIN: it is asked for, or read from standard input.",
        takes=(which("person"), secret("pin", "The PIN.", clears="null"), IF_MATCH)),
    Verb("role", "set", "PUT", "/v1/persons/{person}/roles", "Set all roles of a person: --role owner --role reception:berlin,munich.",
        takes=(which("person"), given("roles", ROLE, "roles", needed=True, word="role", clears="list"), IF_MATCH)),
    Verb("password", "change", "PUT", "/v1/me/password", "Change your password: the old one and the new one are asked for.",
        takes=(secret("old", "The old one."), secret("new", "The new one."))),
)  # fmt: skip
