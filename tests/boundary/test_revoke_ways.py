"""No operation that can take access is forgotten: it is raced against unlocks (tests/e2e/revoke_ways.py), tried elsewhere, or takes none.

A PATCH is as many operations as it has fields. What doesn't live here: the races themselves (tests/e2e/test_revoke_races.py).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from py_service.exchange import Route
from tests.e2e.revoke_ways import WAYS, Call
from tests.e2e.route_table import route_table

TESTS = Path(__file__).parent.parent
# What takes access, or may, and isn't raced: where it is tried, and why there.
ELSEWHERE = {
    # One mail in five minutes goes to an address.
    "POST /v1/password-reset/confirm": "e2e/test_connections_end.py",
    # As `POST /v1/me/sessions/end-others`, of one session.
    "DELETE /v1/me/sessions/{session}": "e2e/test_connections_end.py",
    # Whoever asks is let in, and no lock hears of it.
    "PATCH /v1/devices/{device} door": "e2e/test_connections_end.py",
    # It can't be set to a moment that is over: the key ends by itself.
    "PATCH /v1/api-keys/{api_key} expires_at": "e2e/test_api_keys.py",
    # Who is refused depends on who is inside.
    "PATCH /v1/areas/{area} anti_passback": "e2e/test_stateful_rules.py",
    "PATCH /v1/areas/{area} anti_passback_minutes": "e2e/test_rules_in_parallel.py",
    "PATCH /v1/areas/{area} occupancy_max": "e2e/test_stateful_rules.py",
    "PATCH /v1/doors/{door} leaves": "e2e/test_stateful_rules.py",
    # The doors of somebody who was invited and hasn't come.
    "DELETE /v1/invitations/{invitation}": "e2e/test_invitations.py",
    # A link that nobody has accepted.
    "POST /v1/passes/{pass}/link": "e2e/test_passes.py",
    "POST /v1/passes/{pass}/resend": "e2e/test_passes.py",
    # One of grants may deny.
    "POST /v1/imports/{import}/start": "e2e/test_imported_denies.py",
    # Only one that is suspended, which is raced.
    "DELETE /v1/operator/organizations/{organization}": "e2e/test_operator.py",
}
# What gives, makes or asks.
TAKES_NONE = {
    "POST /v1/doors/{door}/unlock", "POST /v1/access/preview", "POST /v1/areas/{area}/occupancy/reset",
    "POST /v1/doors/{door}/release", "POST /v1/areas/{area}/release", "POST /v1/sites/{site}/release", "POST /v1/lockdown-plans",
    "POST /v1/lockdown-plans/{lockdown_plan}/release", "POST /v1/sites", "POST /v1/floors", "POST /v1/areas", "POST /v1/doors",
    "POST /v1/devices", "POST /v1/persons", "POST /v1/groups", "POST /v1/schedules", "POST /v1/calendars",
    "POST /v1/persons/{person}/resume", "POST /v1/operator/organizations", "POST /v1/operator/organizations/{organization}/resume",
    "POST /v1/imports", "PUT /v1/imports/{import}/parts/{part}", "POST /v1/imports/{import}/stop", "POST /v1/sign-in",
    "POST /v1/me/realtime-token", "POST /v1/api-keys", "POST /v1/password-reset", "POST /v1/invitations", "POST /v1/invitations/accept",
    "POST /v1/invitations/{invitation}/resend", "POST /v1/passes", "POST /v1/passes/accept", "POST /v1/passes/{pass}/pass-on",
    "POST /v1/me/passes", "POST /v1/devices/{device}/token", "POST /v1/devices/{device}/time", "POST /v1/devices/{device}/hold",
    # What is still named can't be deleted (409 `in_use`), nor a plan that is engaged: nobody has anything by what is left. A site may be
    # named by a role or a key, and has nothing any more that they could be for.
    "DELETE /v1/lockdown-plans/{lockdown_plan}", "DELETE /v1/sites/{site}", "DELETE /v1/floors/{floor}", "DELETE /v1/areas/{area}",
    "DELETE /v1/groups/{group}", "DELETE /v1/schedules/{schedule}", "DELETE /v1/calendars/{calendar}",
}  # fmt: skip
# Fields of a PATCH by which nobody is let in: words, what is fixed, what of a plan can't change while it is engaged, and whether passes may
# be given from now on (one that was given stays).
SAYS_NOTHING = {
    *(("*", field) for field in ("name", "address", "level", "kind", "floor", "public_key", "sharing")),
    ("grants", "person"), ("grants", "group"), ("grants", "door"), ("grants", "area"), ("grants", "site"),
    ("floors", "site"), ("areas", "site"), ("doors", "site"),
    ("lockdown-plans", "doors"), ("lockdown-plans", "areas"), ("lockdown-plans", "sites"),
}  # fmt: skip


def changes_of(route: Route) -> list[str]:
    """The operation, or each field of it that may be changed."""
    name = f"{route.method} {route.pattern}"
    if route.method != "PATCH":
        return [name]
    objects = route.pattern.split("/")[2]
    fields = [field.encode_name for field in msgspec.structs.fields(route.about.body)]
    return [f"{name} {field}" for field in fields if not {("*", field), (objects, field)} & SAYS_NOTHING]


def raced(call: Call, routes: list[Route]) -> list[str]:
    """What a take of the table is, by the names that operations have here."""
    found = [
        f"{route.method} {route.pattern}" for route in routes if (route.method, shape(route.pattern)) == (call.method, shape(call.path))
    ]
    return [f"{name} {field}" for name in found for field in call.body] if call.method == "PATCH" else found


def shape(path: str) -> list[str]:
    """Its segments, without what those are that stand for something."""
    return ["{}" if "{" in segment else segment for segment in path.split("/")]


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    return asyncio.run(route_table())


def test_whatever_takes_access_is_raced_or_tried_elsewhere(routes: list[Route]) -> None:
    changes = [change for route in routes if route.method != "GET" for change in changes_of(route)]
    told = {change for way in WAYS for change in raced(way.take, routes)}
    assert set(changes) - told - ELSEWHERE.keys() - TAKES_NONE == set(), "these are neither raced nor said to be tried elsewhere"
    assert (told | ELSEWHERE.keys() | TAKES_NONE) - set(changes) == set(), "there are no such operations"
    assert not told & (ELSEWHERE.keys() | TAKES_NONE) and not ELSEWHERE.keys() & TAKES_NONE, "said twice"


def test_every_way_is_an_operation_of_the_api_or_the_operators_command(routes: list[Route]) -> None:
    assert [way.name for way in WAYS if not raced(way.take, routes)] == ["organization"]


def test_as_many_are_promised_as_there_are() -> None:
    for file in ("Makefile", "docs/decisions/0004-the-fence.md", "tests/e2e/test_revoke_races.py"):
        assert f"in {len(WAYS)} ways" in (TESTS.parent / file).read_text(), file


def test_where_else_it_is_tried_is_a_file_that_does_so() -> None:
    for change, file in ELSEWHERE.items():
        assert Path(file).name.startswith("test_"), f"{change}: nothing is tried in {file}"
        last = change.split()[-1].split("/")[-1]
        assert (last if "{" not in last else change.split("/")[-2]) in (TESTS / file).read_text(), f"{change}: {file}"
