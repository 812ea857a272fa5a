"""Bodies and answers of the identity room."""

from __future__ import annotations

from typing import Annotated

import msgspec

from py_service.identifiers import Moment
from py_service.paging import NextCursor


class SignInBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    email: Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class RefreshBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Also the body of a sign-out."""

    refresh_token: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class SignedIn(msgspec.Struct, frozen=True):
    access_token: str
    expires_at: Moment
    refresh_token: str
    person: str
    organization: str


class RealtimeToken(msgspec.Struct, frozen=True):
    token: str
    expires_at: Moment
    topics: list[str]


class RoleHeld(msgspec.Struct, frozen=True):
    """`sites` is null for a role that holds everywhere."""

    role: str
    sites: list[str] | None


class Me(msgspec.Struct, frozen=True):
    person: str
    organization: str
    name: str
    roles: list[RoleHeld]


class MyDoor(msgspec.Struct, frozen=True):
    id: str
    name: str
    site: str
    area: str | None
    allowed: bool
    reason: str


class MyDoors(msgspec.Struct, frozen=True):
    items: list[MyDoor]
    next_cursor: NextCursor


class PersonSession(msgspec.Struct, frozen=True):
    """A sign-in that goes on. `last_seen`: of its latest refresh; `client`: what its User-Agent said then. `current`: the one that asks."""

    id: str
    created_at: Moment
    last_seen: Moment
    expires_at: Moment
    client: str
    current: bool


class PersonSessions(msgspec.Struct, frozen=True):
    """200 at most."""

    items: list[PersonSession]


class EndedSession(msgspec.Struct, frozen=True):
    """`effective_by`: after it not even a command signed before can move a lock."""

    id: str
    revision: int
    effective_by: Moment


class EndedSessions(msgspec.Struct, frozen=True):
    """How many have ended; `effective_by` as for one."""

    ended: int
    revision: int
    effective_by: Moment


class Key(msgspec.Struct, frozen=True):
    """An Ed25519 public key as a JSON Web Key (RFC 7517, RFC 8037)."""

    kty: str
    crv: str
    kid: str
    x: str
    alg: str
    use: str


class KeySet(msgspec.Struct, frozen=True):
    """As the core writes it."""

    keys: list[Key]


SIGN_IN_BODY = msgspec.json.Decoder(SignInBody)
REFRESH_BODY = msgspec.json.Decoder(RefreshBody)
