"""What goes in and out about organizations between the service and its operator, and what is told of these operations."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from py_service.directory.fields import Name, OrganizationPatch
from py_service.directory.organization import OrganizationState
from py_service.exchange import Operation
from py_service.identifiers import Moment, NewIdentifier
from py_service.paging import Cursor, Limit, NextCursor

_TAG = "Operator"
_REFUSED = ("403 role_missing", "403 not_yet_valid", "403 expired", "403 unknown_credential")
_ANSWER = "Takes the role `owner` in the operator's organization (`NEXKEY_OPERATOR_ORGANIZATION`): without that setting nobody has it."
_OTHERS = f"{_ANSWER} Nobody else is told whether there is such an organization."
_NOT_ITSELF = "The operator's own organization can't be: 409 `conflict`."


class FirstOwner(msgspec.Struct, forbid_unknown_fields=True):
    """Whoever is mailed a link with which they choose a password."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    name: Name


class NewOrganization(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`id` is for good; one is made from the name when it isn't given."""

    id: NewIdentifier | None = None
    name: Name
    owner: FirstOwner


class ManagedOrganization(msgspec.Struct, kw_only=True):
    """What the operator is told: nothing of what is in it."""

    id: str
    name: str
    state: OrganizationState
    revision: int
    created_at: Moment | None
    changed_at: Moment | None
    archived_at: Moment | None


class OrganizationCreated(ManagedOrganization, kw_only=True):
    """`person` is the first owner, `invitation` theirs: identifiers in the new organization."""

    person: str
    invitation: str


class ManagedOrganizationChanged(ManagedOrganization, kw_only=True):
    """`effective_by`: after it not even a command signed before can move a lock."""

    effective_by: Moment


class ManagedOrganizationPage(msgspec.Struct):
    """By id."""

    items: list[ManagedOrganization]
    next_cursor: NextCursor


LIST = Operation(
    "List organizations", _TAG, {200: ManagedOrganizationPage}, api_keys=False, codes=("403 operator_needed", *_REFUSED),
    query={"limit": Limit, "cursor": Cursor, "sort": Literal["id", "-id"], "state": OrganizationState}, detail=_ANSWER,
)  # fmt: skip
CREATE = Operation(
    "Create an organization with its first owner", _TAG, {201: OrganizationCreated}, NewOrganization, api_keys=False, etag=True,
    codes=("403 operator_needed", *_REFUSED, "409 id_taken", "422 name_invalid", "422 email_invalid", "429 letters_too_many"),
    detail=f"{_ANSWER} The owner is invited by mail.",
    example={"id": "seehaus", "name": "Seehaus Coworking", "owner": {"email": "mira.seidel@seehaus.example", "name": "Mira Seidel"}},
)  # fmt: skip
READ = Operation(
    "Read an organization", _TAG, {200: ManagedOrganization}, api_keys=False, etag=True, codes=_REFUSED, detail=_OTHERS
)  # fmt: skip
CHANGE = Operation(
    "Rename an organization", _TAG, {200: ManagedOrganizationChanged}, OrganizationPatch, headers=("If-Match",), api_keys=False,
    etag=True, codes=(*_REFUSED, "409 organization_archived", "422 name_invalid"), detail=_OTHERS,
    example={"name": "Seehaus Coworking and Studios"},
)  # fmt: skip
SUSPEND = Operation(
    "Suspend an organization", _TAG, {200: ManagedOrganizationChanged}, headers=("If-Match",), api_keys=False, etag=True,
    codes=(*_REFUSED, "409 conflict"),
    detail=f"Everything in it is refused from now on, and its connections end. {_NOT_ITSELF} {_OTHERS}",
)  # fmt: skip
RESUME = Operation(
    "Resume an organization that was suspended", _TAG, {200: ManagedOrganizationChanged}, headers=("If-Match",), api_keys=False, etag=True,
    codes=(*_REFUSED, "409 organization_archived"), detail=_OTHERS,
)  # fmt: skip
ARCHIVE = Operation(
    "Archive a suspended organization, for good", _TAG, {200: ManagedOrganizationChanged}, headers=("If-Match",), api_keys=False,
    etag=True, codes=(*_REFUSED, "409 conflict", "409 organization_active"),
    detail=f"It is kept with its journal, and the addresses of its people can be invited elsewhere. {_NOT_ITSELF} {_OTHERS}",
)  # fmt: skip
