"""What is told of the operations of passes: the API's document is made from it."""

from __future__ import annotations

from py_service.exchange import Operation
from py_service.identifiers import DoorId, PassId, PersonId, ScheduleId, SiteId
from py_service.paging import Cursor, Limit
from py_service.passes.givers import WRITE_PERMISSION
from py_service.passes.messages import (
    ListedState,
    NewPass,
    Pass,
    PassAcceptance,
    PassAccepted,
    PassAcceptedByGuest,
    PassChanged,
    PassedOn,
    PassGiven,
    PassLink,
    PassPage,
    PassPatch,
    PassSent,
    PassTaken,
    PassToken,
)
from py_service.permissions.pages import Sort

_TAG = "Passes"
_GONE = ("410 pass_expired", "410 pass_revoked")
_TERMS = ("422 name_invalid", "422 email_invalid", "422 validity_invalid")
_PAGE = {"limit": Limit, "cursor": Cursor, "sort": Sort, "name": str, "state": ListedState}
_ANYBODYS = f"Takes a role with `{WRITE_PERMISSION}` at all of its sites, or to have given the pass."
_READERS = f"{_ANYBODYS[:-1]}, to hold it, or to have given one above it: then it is shown without its receiver."
_EXAMPLE: dict[str, object] = {
    "name": "Noor, for the weekend", "doors": ["berlin-main-entrance"], "valid_from": "2029-06-01T12:00:00Z",
    "valid_until": "2029-06-03T18:00:00Z", "uses": 6, "passes_on_max": 1, "receiver": {"email": "noor.haddad@mail.example"},
}  # fmt: skip

LIST = Operation(
    "List passes", _TAG, {200: PassPage}, permission=WRITE_PERMISSION,
    query={**_PAGE, "site": SiteId, "door": DoorId, "person": PersonId, "schedule": ScheduleId, "pass": PassId},
    detail="`person`: given or held by them. `pass`: passed on from it.",
)  # fmt: skip
GIVE = Operation(
    "Share a key: give a pass", _TAG, {201: PassGiven}, NewPass, etag=True, api_keys=True, example=_EXAMPLE,
    codes=("403 sharing_refused", "409 passes_too_many", "429 letters_too_many", *_TERMS),
    detail=f"Takes a role with `{WRITE_PERMISSION}` at the sites of all doors, or doors that allow sharing and that grants of your own "
    "open now; what you then share opens no more than you could yourself at that moment.",
)  # fmt: skip
READ = Operation("Read a pass", _TAG, {200: Pass}, etag=True, api_keys=True, detail=_READERS)
CHANGE = Operation(
    "Rename a pass, or move its end", _TAG, {200: PassChanged}, PassPatch, headers=("If-Match",), etag=True, api_keys=True,
    codes=("403 role_missing", "403 sharing_refused", "422 pass_wider", "422 name_invalid", "422 validity_invalid"), detail=_ANYBODYS,
    example={"name": "Noor, for the week"},
)  # fmt: skip
TAKE = Operation(
    "Take a pass back, and all that was passed on from it", _TAG, {200: PassTaken}, headers=("If-Match",), api_keys=True,
    detail=f"{_ANYBODYS[:-1]}, to have given one above it, or to hold it: what was accepted can be given up.",
)  # fmt: skip
RENEW = Operation(
    "Make a new link of a pass",
    _TAG,
    {200: PassLink},
    headers=("If-Match",),
    etag=True,
    api_keys=True,
    codes=("403 role_missing", "409 pass_accepted", *_GONE),
    detail=_ANYBODYS,
)
RESEND = Operation(
    "Mail a new link of a pass to its receiver", _TAG, {202: PassSent}, headers=("If-Match",), etag=True, api_keys=True, detail=_ANYBODYS,
    codes=("403 role_missing", "409 pass_accepted", "409 receiver_without_email", "429 letters_too_many", *_GONE),
)  # fmt: skip
PASS_ON = Operation(
    "Pass on a pass that you hold", _TAG, {201: PassGiven}, PassedOn, etag=True, example={"name": "For Ben", "uses": 2},
    codes=("403 sharing_refused", "409 passes_too_many", "422 pass_wider", "429 letters_too_many", *_TERMS, *_GONE),
    detail="No wider than the one you hold in any of its terms. It opens nothing that you couldn't open yourself at that moment.",
)  # fmt: skip
MINE = Operation(
    "Passes that I gave, and those that I hold", "Me", {200: PassPage}, query={**_PAGE, "pass": PassId},
    detail="`pass`: instead of these, all that was passed on from it, for whoever gave it or one above it, and for its holder while "
    "something hangs from it. The address of whom somebody else gave it to isn't shown (`receiver` null).",
)  # fmt: skip
ACCEPT_MINE = Operation(
    "Accept a pass for myself",
    "Me",
    {200: PassAccepted},
    PassToken,
    codes=("404 pass_unknown", "409 pass_accepted", "409 passes_too_many", *_GONE),
)
ACCEPT = Operation(
    "Accept a pass without an account", _TAG, {200: PassAcceptedByGuest}, PassAcceptance, headers=("Idempotency-Key",),
    codes=("403 organization_suspended", "404 pass_unknown", "409 pass_accepted", "422 name_invalid", *_GONE),
    detail="A link is good once. Sent again within ten minutes with the same Idempotency-Key of at least 16 characters, it signs the same "
    "guest in again: for an app that lost the answer.",
)  # fmt: skip
