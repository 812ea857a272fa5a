"""The table of commands. A new one is a row here; `tests/boundary/test_commands.py` holds the rows against the API's document."""

from __future__ import annotations

from py_service.commands.changes import CHANGES, ROLE, SETS, door
from py_service.commands.rows import (
    AT,
    BY_NAME,
    BY_TIME,
    ID,
    IF_MATCH,
    PAGE,
    SPAN,
    UNTIL,
    asked_by,
    called,
    given,
    listing,
    narrowed,
    secret,
    standard,
    which,
)
from py_service.commands.verb import Parameter, Shape, Verb

NOUNS = {
    "door": "Doors: list, add, unlock, lock down.",
    "person": "People: list, add, suspend.",
    "group": "Groups of people.",
    "grant": "Grants: who may open what, and when.",
    "pass": "Passes: keys that are shared.",
    "access": "Questions about access.",
    "site": "Sites.",
    "floor": "Floors.",
    "area": "Areas.",
    "device": "Devices: locks.",
    "schedule": "Schedules: when a grant holds.",
    "calendar": "Calendars of holidays.",
    "role": "Roles, and what each permits.",
    "plan": "Lockdown plans.",
    "api-key": "API keys, for programs.",
    "invitation": "Invitations: people who choose a password by mail.",
    "session": "Where you are signed in.",
    "import": "Imports of people, groups and grants from files.",
    "event": "What happened.",
    "organization": "The organization.",
    "password": "Your password.",
}


HELD = ("id", "locked_down", "held_by", "effective_by")
SESSIONS = Shape((), "items", ("id", "client", "created_at", "last_seen", "expires_at", "current"))
ENTRIES = Shape((), "items", ("id", "allowed", "reason", "rule"))


DOORS = (
    listing("door", "/v1/doors", ("id", "name", "site", "area", "mode", "lock", "locked_down"), "site", "area"),
    Verb("door", "mine", "GET", "/v1/me/doors", "List the doors that you may open.",
        Shape((), "items", ("id", "name", "site", "area", "allowed", "reason")), PAGE),
    *standard("door", "/v1/doors", removed="Delete a door."),
    Verb("door", "add", "POST", "/v1/doors", "Make a door.", takes=(called(), *door(True), ID)),
    Verb("door", "unlock", "POST", "/v1/doors/{door}/unlock", "Unlock a door. Exit status 0 only if it opened (or nobody waited).",
        Shape(("door", "state", "reason", "rule", "id"), "phases", ("phase", "ok", "reason", "milliseconds")),
        (which("door"), Parameter("pin", "body", "Ask for the PIN, or read it from standard input.", "flag", asked=True)),
        waits=True, done=frozenset({"unlocked"})),
    Verb("door", "lockdown", "POST", "/v1/doors/{door}/lockdown", "Lock a door down.", Shape(HELD), (which("door"), IF_MATCH)),
    Verb("door", "release", "POST", "/v1/doors/{door}/release", "Let go of a door that was locked down by hand.", Shape(HELD),
        (which("door"), IF_MATCH)),
)  # fmt: skip
PERSONS = (
    listing("person", "/v1/persons", ("id", "name", "email", "kind", "state", "groups", "valid_until"),
        "group", "state", "kind", "email", "role"),
    *standard("person", "/v1/persons", removed="Delete a person, and every grant of theirs."),
    Verb("person", "add", "POST", "/v1/persons", "Add a person.", takes=(
        called("Their name."), given("email", "Their e-mail address."), given("kind", "employee, resident, contractor, guest or visitor."),
        given("groups", "A group that they are in; may be given more than once.", "many", word="group"), *SPAN, ID,
    )),
    Verb("person", "suspend", "POST", "/v1/persons/{person}/suspend", "Suspend a person: nothing opens, nothing is signed in.",
        takes=(which("person"), IF_MATCH)),
    Verb("person", "sessions", "GET", "/v1/persons/{person}/sessions", "Where a person is signed in.", SESSIONS, (which("person"),)),
    Verb("person", "sign-out", "DELETE", "/v1/persons/{person}/sessions", "End all sessions of a person.", takes=(which("person"),)),
    Verb("person", "resume", "POST", "/v1/persons/{person}/resume", "Let a person be again what they were.",
        takes=(which("person"), IF_MATCH)),
)  # fmt: skip
GROUPS = (
    listing("group", "/v1/groups", ("id", "name", "includes"), "group"),
    *standard("group", "/v1/groups", removed="Delete a group that nothing names."),
    Verb("group", "add", "POST", "/v1/groups", "Make a group.", takes=(
        called(), given("includes", "A group whose people are in it, too; may be given more than once.", "many"), ID,
    )),
)  # fmt: skip
GRANTS = (
    Verb("grant", "list", "GET", "/v1/grants", "List grants, as they were given.",
        Shape((), "items", ("id", "effect", "person", "group", "door", "area", "site", "schedule", "valid_from", "valid_until")),
        (*BY_TIME, *narrowed("person", "group", "door", "area", "site", "schedule", "effect", "pass"))),
    *standard("grant", "/v1/grants", removed="Take access back: end a grant."),
    Verb("grant", "add", "POST", "/v1/grants", "Give access: one of person and group, one of door, area and site.", takes=(
        given("person", "Who."), given("group", "Who: a group."), given("door", "Where."), given("area", "Where: an area."),
        given("site", "Where: a site."), given("schedule", "When; always else."), *SPAN, given("effect", "allow, or deny, which wins."),
    )),
)  # fmt: skip
PASS_COLUMNS = ("id", "name", "doors", "valid_from", "valid_until", "state", "uses_left", "given_by", "accepted_by")
GIVEN = Shape(("id", "name", "doors", "valid_from", "valid_until", "schedule", "uses", "link", "delivery"), scanned="link")
TERMS = (
    given("schedule", "When."), given("uses", "How often it opens in all; as often as one likes else.", "number"),
    given("passes_on_max", "How many times in a row it may be passed on; not at all else.", "number", word="passes-on"),
    given("receiver.email", "For whom: an e-mail address.", word="email"),
    given("receiver.phone", "For whom: +493012345678. No SMS is sent: hand the link on yourself.", word="phone"),
)  # fmt: skip
PASSES = (
    Verb("pass", "list", "GET", "/v1/passes", "List passes.", Shape((), "items", PASS_COLUMNS),
        (*BY_NAME, *narrowed("site", "door", "person", "schedule", "pass"), asked_by("state", "issued, active, used_up or expired."))),
    Verb("pass", "mine", "GET", "/v1/me/passes", "List the passes that you gave or hold.", Shape((), "items", PASS_COLUMNS),
        (*BY_NAME, asked_by("pass", "Instead of these, those that were passed on from this pass."),
            asked_by("state", "issued, active, used_up or expired."))),
    Verb("pass", "show", "GET", "/v1/passes/{pass}", "Show one pass.", takes=(which("pass"),)),
    Verb("pass", "add", "POST", "/v1/passes", "Share a key: its link is mailed, or told once.", GIVEN, (
        called("What it is for."), given("doors", "Where; may be given more than once.", "many", needed=True, word="door"),
        given("valid_from", "From when; now else.", word="from"), given("valid_until", UNTIL, needed=True, word="until"), *TERMS,
    )),
    Verb("pass", "pass-on", "POST", "/v1/passes/{pass}/pass-on", "Pass on a pass that you hold: no wider than that.", GIVEN, (
        which("pass"), called("What it is for."), given("doors", "Where; may be given more than once.", "many", word="door"), *SPAN, *TERMS,
    )),
    Verb("pass", "link", "POST", "/v1/passes/{pass}/link", "Make a new link; the one before is void.",
        Shape(("id", "link", "delivery"), scanned="link"), (which("pass"), IF_MATCH)),
    Verb("pass", "resend", "POST", "/v1/passes/{pass}/resend", "Mail a new link to the pass's receiver; those before are void.",
        takes=(which("pass"), IF_MATCH)),
    Verb("pass", "take", "DELETE", "/v1/passes/{pass}", "Take a pass back, and all that was passed on from it.",
        takes=(which("pass"), IF_MATCH)),
    Verb("pass", "accept", "POST", "/v1/me/passes", "Accept a pass: the token is what stands behind # in its link.",
        takes=(secret("token", "The token of its link."),)),
)  # fmt: skip
ACCESS = (
    Verb("access", "explain", "GET", "/v1/access/explain", "Why a person may open a door, or not, step by step.",
        Shape(("allowed", "reason", "rule", "local_time", "revision", "state", "rules_left_out"), "steps", ("step", "passed", "detail"),
            beside=(("rules", ("grant", "effect", "schedule", "verdict")), ("stateful_rules", ("rule", "of", "verdict", "detail")))),
        (asked_by("person", "Who.", needed=True), asked_by("door", "Where.", needed=True), AT)),
    Verb("access", "who", "GET", "/v1/access/who", "Who may open a door.", ENTRIES, (asked_by("door", "Where.", needed=True), AT, *PAGE)),
    Verb("access", "what", "GET", "/v1/access/what", "What a person may open.", ENTRIES,
        (asked_by("person", "Who.", needed=True), AT, *PAGE)),
)  # fmt: skip
PLACES = (
    listing("site", "/v1/sites", ("id", "name", "time_zone", "address", "locked_down")),
    listing("floor", "/v1/floors", ("id", "name", "site", "level"), "site"),
    listing("area", "/v1/areas", ("id", "name", "site", "floor", "locked_down"), "site", "floor"),
    Verb("area", "inside", "GET", "/v1/areas/{area}/occupancy", "Who is inside an area.",
        Shape(("area", "count", "occupancy_max", "reset_at"), "items", ("person", "entered_at")), (which("area"), *PAGE)),
    Verb("area", "reset", "POST", "/v1/areas/{area}/occupancy/reset", "Everybody, or one person, counts as outside from now on.",
        takes=(which("area"), given("person", "Only this one."))),
    *(
        Verb(noun, verb, "POST", f"/v1/{noun}s/{{{noun}}}/{verb}", help_.format(noun), Shape(HELD), (which(noun), IF_MATCH))
        for noun in ("site", "area")
        for verb, help_ in (("lockdown", "Lock a whole {} down."), ("release", "Let go of a {} that was locked down by hand."))
    ),
)  # fmt: skip
KEY = Shape(("id", "name", "scopes", "sites", "expires_at", "key", "effective_by"))
IMPORT = Shape(("id", "kind", "state", "all_or_nothing", "rows_read", "rows_valid", "rows_applied", "rows_refused", "problem"))
INVITATION = Shape(("id", "person", "name", "email", "state", "sent", "expires_at"))
OTHERS = (
    listing("device", "/v1/devices", ("id", "name", "kind", "door", "active"), "door", "kind"),
    listing("schedule", "/v1/schedules", ("id", "name", "calendar", "windows"), "calendar"),
    listing("calendar", "/v1/calendars", ("id", "name", "dates")),
    Verb("role", "list", "GET", "/v1/roles", "List roles.", Shape((), "items", ("role", "permissions"))),
    listing("plan", "/v1/lockdown-plans", ("id", "name", "engaged", "doors", "areas", "sites"), "door", "area", "site"),
    Verb("plan", "engage", "POST", "/v1/lockdown-plans/{lockdown_plan}/engage", "Lock all places of a plan down, in one change.",
        takes=(which("lockdown_plan"), IF_MATCH)),
    Verb("plan", "release", "POST", "/v1/lockdown-plans/{lockdown_plan}/release", "Let go of all places of a plan, in one change.",
        takes=(which("lockdown_plan"), IF_MATCH)),
    listing("api-key", "/v1/api-keys", ("id", "name", "scopes", "sites", "expires_at", "active", "last_used_at"),
        asked_by("active", "true or false: switched on, or off.")),
    Verb("api-key", "show", "GET", "/v1/api-keys/{api_key}", "Show one API key, without its secret.", takes=(which("api_key"),)),
    Verb("api-key", "add", "POST", "/v1/api-keys", "Make an API key: it is told once.", KEY, (
        called(), given("scopes", "What it may do, e.g. persons.write; may be given more than once.", "many", needed=True, word="scope"),
        given("sites", "Where; everywhere else. May be given more than once.", "many", word="site"),
        given("expires_at", "Until when; for a year else.", word="until"), ID,
    )),
    Verb("api-key", "rotate", "POST", "/v1/api-keys/{api_key}/rotate", "Give an API key a new secret: it is told once.", KEY,
        (which("api_key"), given("overlap_seconds", "How long the one before goes on; 0: not at all.", "number"), IF_MATCH)),
    Verb("api-key", "remove", "DELETE", "/v1/api-keys/{api_key}", "Revoke an API key.", takes=(which("api_key"), IF_MATCH)),
    listing("invitation", "/v1/invitations", ("id", "name", "email", "state", "sent", "expires_at"),
        asked_by("state", "waiting, accepted or expired.")),
    Verb("invitation", "show", "GET", "/v1/invitations/{invitation}", "Show one invitation.", INVITATION, (which("invitation"),)),
    Verb("invitation", "add", "POST", "/v1/invitations", "Invite somebody new (--email, --name), or who is here (--person).", INVITATION, (
        given("email", "Where the mail goes."), given("name", "What people call them."), given("person", "Id of who is here already."),
        given("kind", "employee, resident, contractor, guest or visitor."),
        given("groups", "Id of a group; may be given more than once.", "many", word="group"),
        given("roles", ROLE, "roles", word="role"), ID,
    )),
    Verb("invitation", "resend", "POST", "/v1/invitations/{invitation}/resend", "Send it again: links before are void.", INVITATION,
        (which("invitation"), IF_MATCH)),
    Verb("invitation", "remove", "DELETE", "/v1/invitations/{invitation}", "Take an invitation back.",
        takes=(which("invitation"), IF_MATCH)),
    Verb("session", "list", "GET", "/v1/me/sessions", "Where you are signed in.", SESSIONS),
    Verb("session", "end", "DELETE", "/v1/me/sessions/{session}", "End one of your sessions.", takes=(which("session"),)),
    Verb("session", "end-others", "POST", "/v1/me/sessions/end-others", "End all of your sessions but this."),
    Verb("import", "list", "GET", "/v1/imports", "List imports, newest first.",
        Shape((), "items", ("id", "kind", "state", "rows_read", "rows_applied", "rows_refused", "by", "created_at")), PAGE),
    Verb("import", "show", "GET", "/v1/imports/{import}", "Show an import, and how far it is.", IMPORT, (which("import"),)),
    Verb("import", "rows", "GET", "/v1/imports/{import}/results", "What became of each row.",
        Shape((), "items", ("row", "line", "outcome", "id", "code", "detail")),
        (which("import"), *PAGE, asked_by("outcome", "Only created, refused or left_out."))),
    Verb("import", "stop", "POST", "/v1/imports/{import}/stop", "Stop an import; all or nothing: with nothing of it.", IMPORT,
        (which("import"),)),
    Verb("event", "attempt", "GET", "/v1/attempts/{attempt}", "What became of an attempt to open a door.", takes=(which("attempt"),)),
    Verb("event", "list", "GET", "/v1/events", "List events, newest first.",
        Shape((), "items", ("at", "kind", "person", "door", "reason", "id")), PAGE),
)  # fmt: skip

VERBS: tuple[Verb, ...] = (*DOORS, *PERSONS, *GROUPS, *GRANTS, *PASSES, *ACCESS, *PLACES, *OTHERS, *SETS, *CHANGES)
