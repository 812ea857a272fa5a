"""The kinds of objects: where each stands in the store, and which of them permissions depend on."""

from __future__ import annotations

OBJECT_COLLECTIONS = {
    "site": "sites",
    "area": "areas",
    "door": "doors",
    "device": "devices",
    "person": "persons",
    "group": "groups",
    "schedule": "schedules",
    "calendar": "calendars",
    "grant": "grants",
    "floor": "floors",
    "lockdown_plan": "lockdown_plans",
    "pass": "passes",
    "organization": "organizations",
    "session": "ended_sessions",
    "api_key": "api_keys",
    "invitation": "invitations",
}
# A floor orders areas for people, a lockdown plan acts through the places that it holds, a pass through its grants, an invitation through
# the account that comes of it: no permission depends on one of them itself, so they are in no change record.
PERMISSION_KINDS = tuple(kind for kind in OBJECT_COLLECTIONS if kind not in ("floor", "lockdown_plan", "pass", "invitation"))
