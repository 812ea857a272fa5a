"""What goes in and out about invitations, and what is told of their operations."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from py_service.exchange import Operation
from py_service.identifiers import GroupId, Moment, NewIdentifier, PersonId, SiteId
from py_service.identity.invitations import PERMISSION
from py_service.identity.messages import SignedIn
from py_service.identity.password_messages import NewPasswordBody
from py_service.paging import Cursor, Limit, NextCursor
from py_service.permissions.pages import Sort

InvitationState = Literal["waiting", "accepted", "expired", "taken_back"]
StandingState = Literal["waiting", "accepted", "expired"]  # one that was taken back is in no list


class RoleToGive(msgspec.Struct, forbid_unknown_fields=True):
    """`sites` null: everywhere."""

    role: Literal["owner", "admin", "site_manager", "reception", "auditor", "installer"]
    sites: Annotated[list[SiteId], msgspec.Meta(min_length=1, max_length=100)] | None


class NewInvitation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Somebody who is here: `person` alone. Somebody new: `email`, `name`, and what a new person has; `roles` take `roles.write`."""

    id: NewIdentifier | None = None
    person: PersonId | None = None
    email: Annotated[str, msgspec.Meta(max_length=254)] | msgspec.UnsetType = msgspec.UNSET
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=400)] | msgspec.UnsetType = msgspec.UNSET
    kind: Literal["employee", "resident", "contractor", "guest", "visitor"] | msgspec.UnsetType = msgspec.UNSET
    groups: Annotated[list[GroupId], msgspec.Meta(max_length=64)] | msgspec.UnsetType = msgspec.UNSET
    roles: Annotated[list[RoleToGive], msgspec.Meta(max_length=6)] | None = None


class Invitation(msgspec.Struct, kw_only=True):
    """`sent`: how often it was asked to be mailed; the mail itself may still wait for its server."""

    id: str
    person: str
    name: str
    email: str
    state: InvitationState
    sent: int
    expires_at: Moment
    accepted_at: Moment | None
    invited_by: str | None
    revision: int
    created_at: Moment
    changed_at: Moment
    ended_at: Moment | None


class InvitationPage(msgspec.Struct):
    """In the order of the names of who is invited."""

    items: list[Invitation]
    next_cursor: NextCursor


class InvitationTakenBack(msgspec.Struct):
    """`effective_by` as in every answer to a change that takes something back."""

    id: str
    revision: int
    effective_by: Moment


_TAG = "Invitations"
_EXAMPLE: dict[str, object] = {
    "email": "ines.roth@nordlicht.example", "name": "Ines Roth", "groups": ["everyone"],
    "roles": [{"role": "reception", "sites": ["berlin"]}],
}  # fmt: skip
_SHOWS = {"state": "waiting", "sent": 1, "accepted_at": None, "ended_at": None}

LIST = Operation(
    "List invitations", _TAG, {200: InvitationPage}, permission=PERMISSION,
    query={"limit": Limit, "cursor": Cursor, "sort": Sort, "name": str, "state": StandingState},
)  # fmt: skip
INVITE = Operation(
    "Invite somebody", _TAG, {201: Invitation}, NewInvitation, permission=PERMISSION, etag=True, example=_EXAMPLE, shows={201: _SHOWS},
    codes=(
        "409 account_exists", "409 email_taken", "409 id_taken", "422 email_invalid", "422 name_invalid", "422 role_invalid",
        "429 letters_too_many",
    ),
    detail="A mail with a link goes out, good once and for seven days. Somebody with roles is invited by who may give roles, an owner by "
    "owners.",
)  # fmt: skip
READ = Operation("Read an invitation", _TAG, {200: Invitation}, permission=PERMISSION, etag=True)
RESEND = Operation(
    "Send an invitation again", _TAG, {200: Invitation}, headers=("If-Match",), permission=PERMISSION, etag=True,
    codes=("409 account_exists", "409 invitation_accepted", "429 letters_too_many"),
    detail="Links that were sent before are void; seven days begin anew. Somebody with roles is sent one by who might invite them.",
)  # fmt: skip
TAKE_BACK = Operation(
    "Take an invitation back", _TAG, {200: InvitationTakenBack}, headers=("If-Match",), permission=PERMISSION,
    detail="An account that was made with it stays.",
)  # fmt: skip
ACCEPT = Operation(
    "Accept an invitation", "Sign-in", {200: SignedIn}, NewPasswordBody,
    codes=(
        "401 token_revoked", "403 person_suspended", "403 organization_suspended", "404 invitation_unknown", "409 account_exists",
        "409 email_taken", "410 invitation_expired", "422 password_weak", "503 outcome_unknown",
    ),
    detail="Makes the account and signs in. If the answer is lost, the account stands: sign in with the password.",
)  # fmt: skip
