"""What goes in and out of previews, and what is told of the operation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from py_service.exchange import Operation
from py_service.identifiers import Moment

CHANGES_MAX = 50
PATH_CHARACTERS_MAX = 200
LISTED_MAX = 1_000

Path = Annotated[str, msgspec.Meta(pattern=r"^/v1/[a-z0-9_/-]{1,196}\Z", max_length=PATH_CHARACTERS_MAX, examples=["/v1/grants"])]
Match = Annotated[str, msgspec.Meta(max_length=64, examples=['"17"'])]


class Proposed(msgspec.Struct, forbid_unknown_fields=True):
    """A change as the request that would carry it out. `if_match`: what its `If-Match` would be."""

    method: Literal["POST", "PATCH", "PUT", "DELETE"]
    path: Path
    body: dict[str, Any] | None = None
    if_match: Match | None = None


class PreviewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Changes in their order: each sees what those before it would leave. `at`: the moment that is asked about, now unless given."""

    changes: Annotated[list[Proposed], msgspec.Meta(min_length=1, max_length=CHANGES_MAX)]
    at: Moment | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=LISTED_MAX)] = 100


class Answer(msgspec.Struct):
    """What `check` says. `rule`: the grant that lets them in, or what refuses."""

    allowed: bool
    reason: str
    rule: str | None


class Altered(msgspec.Struct):
    """A person and a door whose answer would be another one."""

    person: str
    door: str
    before: Answer
    after: Answer


class PreviewResult(msgspec.Struct, kw_only=True):
    """The first `limit` of each, by person and door, and how many there are. `complete` is false when more pairs of a person and a
    door would have to be asked about than are asked (a million): then there may be more."""

    gained: list[Altered]
    lost: list[Altered]
    gained_total: int
    lost_total: int
    complete: bool
    at: Moment
    revision: int


PREVIEW = Operation(
    "Say what changes would alter", "Who may open what", {200: PreviewResult}, PreviewRequest, permission="persons.read", by_lane=False,
    codes=(
        "400 if_match_invalid", "403 sharing_refused", "404 grant_unknown", "404 person_unknown", "404 group_unknown", "404 door_unknown",
        "404 area_unknown", "404 site_unknown", "404 floor_unknown", "404 device_unknown", "404 schedule_unknown", "404 calendar_unknown",
        "404 lockdown_plan_unknown", "404 pass_unknown", "409 conflict", "409 door_has_lock", "409 email_taken", "409 id_taken",
        "409 in_use", "409 last_owner", "409 locked_down", "409 plan_engaged", "409 public_key_taken", "412 changed_meanwhile",
        "422 areas_alike", "422 date_invalid", "422 email_invalid", "422 field_fixed", "422 group_cycle", "422 group_too_deep",
        "422 name_invalid", "422 not_previewable", "422 object_invalid", "422 pass_wider", "422 public_key_invalid", "422 role_invalid",
        "422 site_differs", "422 time_zone_unknown", "422 validity_invalid", "422 window_invalid",
    ),
    example={"changes": [{"method": "POST", "path": "/v1/grants", "body": {"group": "everyone", "site": "berlin"}}], "limit": 10},
    detail=(
        "Takes what changes grants, lockdowns and their plans, and every object of the directory (all but PINs), and what changes a pass "
        "or takes it back. Needs the permissions of the changes themselves, too; a role for some sites is told of their doors. What only "
        "the store knows (uses, who is inside, who came first) is left out, as in `who` and `what`."
    ),
)  # fmt: skip
