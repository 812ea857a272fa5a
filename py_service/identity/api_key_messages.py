"""What goes in and out about API keys, and what is told of their operations."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from py_service.exchange import Operation
from py_service.identifiers import Moment, NewIdentifier, SiteId
from py_service.identity.api_keys import PERMISSION
from py_service.paging import Cursor, Limit, NextCursor
from py_service.permissions.pages import Sort

# Every permission of the role table but `owner` and `keys.write`: what owners do persons do, and no key makes another.
Scope = Literal[
    "devices.write", "doors.read", "doors.write", "events.read", "grants.write", "lockdown.write", "organization.read",
    "organization.write", "persons.read", "persons.write", "roles.write", "schedules.write", "sites.write",
]  # fmt: skip
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Scopes = Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=32)]
Sites = Annotated[list[SiteId], msgspec.Meta(min_length=1, max_length=100)]
OverlapSeconds = Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)]
OVERLAP_SECONDS_DEFAULT = 86_400


class NewApiKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`sites`: where it holds; null is everywhere. `expires_at`: in a year unless said, within five years."""

    id: NewIdentifier | None = None
    name: Name
    scopes: Scopes
    sites: Sites | None = None
    expires_at: Moment | None = None


class ApiKeyPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What isn't sent isn't touched. `active` false switches it off until it is true again."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    scopes: Scopes | msgspec.UnsetType = msgspec.UNSET
    sites: Sites | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: Moment | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET


class ScopesRefused(msgspec.Struct):
    """Which of them hold everywhere or not at all (`scope_everywhere_only`)."""

    scopes: list[Scope] | msgspec.UnsetType = msgspec.UNSET


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """How long the secrets before go on beside the new one; 0: they end with this call."""

    overlap_seconds: OverlapSeconds = OVERLAP_SECONDS_DEFAULT


class ApiKeySecret(msgspec.Struct):
    """`ends_at` null: as long as the key."""

    created_at: Moment
    ends_at: Moment | None


class ApiKey(msgspec.Struct, kw_only=True):
    """`secrets`: those that live. `last_used_at`: within about a minute. `created_by`: a person, or null for the service."""

    id: str
    name: str
    scopes: list[str]
    sites: list[str] | None
    expires_at: Moment
    active: bool
    secrets: list[ApiKeySecret]
    last_used_at: Moment | None
    created_by: str | None
    revision: int
    created_at: Moment
    changed_at: Moment
    ended_at: Moment | None


class ApiKeyMade(ApiKey, kw_only=True):
    """`key` is shown this once. `effective_by`: of the secrets that ended with it."""

    key: str
    effective_by: Moment


class ApiKeyChanged(ApiKey, kw_only=True):
    """`effective_by`: after it not even a command signed before can move a lock."""

    effective_by: Moment


class ApiKeyRevoked(msgspec.Struct):
    """`effective_by`: after it not even a command signed before can move a lock."""

    id: str
    revision: int
    effective_by: Moment


class ApiKeyPage(msgspec.Struct):
    """In the order of their names."""

    items: list[ApiKey]
    next_cursor: NextCursor


_TAG = "API keys"
_KEY = "nxk_nordlicht.key_5f0c1a7be2d94386.4fJd8sYcTqXo2mVbZr7LwHk1NuEiA9gPtC6xMyWzQ5R4RZV9I"
_SHOWS = {"key": _KEY, "sites": ["berlin"], "scopes": ["grants.write", "persons.read"], "ended_at": None}
_EXAMPLE: dict[str, object] = {"name": "Payroll", "scopes": ["persons.read", "grants.write"], "sites": ["berlin"]}

LIST = Operation(
    "List API keys", _TAG, {200: ApiKeyPage}, permission=PERMISSION,
    query={"limit": Limit, "cursor": Cursor, "sort": Sort, "name": str, "active": Literal["true", "false"]},
)  # fmt: skip
MAKE = Operation(
    "Make an API key", _TAG, {201: ApiKeyMade}, NewApiKey, permission=PERMISSION, etag=True, example=_EXAMPLE, shows={201: _SHOWS},
    codes=("409 id_taken", "422 name_invalid", "422 scope_everywhere_only", "422 validity_invalid"), members={422: ScopesRefused},
    detail="Its scopes are at most what the caller may do, at the same sites. The key itself is in this answer and nowhere else.",
)  # fmt: skip
READ = Operation("Read an API key", _TAG, {200: ApiKey}, permission=PERMISSION, etag=True)
CHANGE = Operation(
    "Change an API key", _TAG, {200: ApiKeyChanged}, ApiKeyPatch, headers=("If-Match",), permission=PERMISSION, etag=True,
    codes=("422 name_invalid", "422 scope_everywhere_only", "422 validity_invalid"), members={422: ScopesRefused},
    example={"name": "Payroll, Berlin"},
)  # fmt: skip
ROTATE = Operation(
    "Give an API key a new secret", _TAG, {200: ApiKeyMade}, Rotation, body_needed=False, headers=("If-Match",), permission=PERMISSION,
    etag=True,
    codes=("409 rotation_under_way", "422 validity_invalid"), example={"overlap_seconds": 3600}, shows={200: _SHOWS},
)  # fmt: skip
REVOKE = Operation("Revoke an API key", _TAG, {200: ApiKeyRevoked}, headers=("If-Match",), permission=PERMISSION)
