"""What keeps one bad word (a body, a Redis message, a clock, a restored store) from shutting an organization or a process out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from py_service._core_rs import PermissionIndex
from py_service.events.list import EventItem
from py_service.journal import keeper
from py_service.journal.event import SHOWN, cut_of, event_body, make_event
from py_service.permissions.change import Plan
from py_service.permissions.follower import PermissionFollower
from py_service.permissions.lane import ChangeLane
from py_service.stores.bus import Bus
from py_service.stores.mongo import CLOCK_DIFFERENCE_MS_MAX, Document, Mongo

SUSPENDED = make_event("management.person_suspended", "acme", 1, subject="ada")
DEVICE = {"kind": "lock", "door": None, "active": True}


@pytest.mark.parametrize(
    ("key", "taken"), [("A" * 43, True), ("B" * 43, False), ("A" * 42, False), ("A" * 44, False), ("=" * 43, False), (7, False)]
)
def test_a_plan_that_the_core_cannot_read_is_never_written(key: object, taken: bool) -> None:
    lane = ChangeLane(
        cast("Mongo", None), cast("Any", None), cast("Any", SimpleNamespace(index=PermissionIndex())), cast("Bus", None), print
    )
    plan = Plan([{"kind": "device", "id": "lock", "document": {**DEVICE, "public_key": key}}])
    assert lane._form_holds("acme", plan) is taken


def test_whose_connections_a_change_ends_is_written_in_the_event_that_is_about_them() -> None:
    assert Plan().cut("ada").events == [], "nothing happens, and nothing ends"
    written = Plan(events=[make_event("management.pass_taken", "acme", 1, subject="p1"), SUSPENDED]).cut("ada")
    assert [cut_of({**event, "revision": 7}) for event in written.events] == [None, ("acme", "ada", 7)]
    with pytest.raises(RuntimeError, match="ben"):
        written.cut("ben")


def test_subscribers_see_what_the_list_of_events_shows() -> None:
    event = {
        **SUSPENDED,
        "cuts": "subject",
        "taken": {"passes": ["p1"]},
        "key": "k",
        "wait": 3,
        "passed_back": {"area": "a", "persons": []},
    }
    told = msgspec.json.decode(event_body("changes-1:000000000001:000", event))
    assert told == {
        "id": "changes-1:000000000001:000", "kind": "management.person_suspended", "at": 1, "subject": "ada",
        "passed_back": {"area": "a", "persons": []},
    }  # fmt: skip
    assert {"id", *SHOWN} == set(EventItem.__struct_fields__)


@pytest.mark.parametrize(
    "data",
    [b"acme \xc2\xb2", b"acme", b"", b"\xff\xfe 7", b"acme 7 7", b"acme -1", b"Other 9", b"acme " + b"9" * 5_000, b"acme 1e3", b"$ne 1"],
)
async def test_no_nudge_hurts(data: bytes) -> None:
    """At worst the store is asked about the name that it is."""
    follower = PermissionFollower(cast("Mongo", None), cast("Bus", None))
    asked: list[str] = []

    async def current(organization: str) -> int:
        asked.append(organization)
        return 0

    follower.current = current  # type: ignore[method-assign]
    await follower._nudged(data)
    assert asked in ([], ["acme"])


async def test_left_reports_are_read_whatever_their_names_are() -> None:
    bus = Bus("redis://127.0.0.1:1", 50)

    async def xrange(name: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        return [(b"1-0", {b"\xff": b"x", b"org": b"\xff"})]

    bus.client.xrange = xrange  # type: ignore[method-assign, assignment]
    assert await bus.left_reports(5) == [(b"1-0", {"\ufffd": "x", "org": "\ufffd"})]
    await bus.close()


@pytest.mark.parametrize(("difference_ms", "closed"), [(0, True), (CLOCK_DIFFERENCE_MS_MAX + 1, False), (-20_000, False)])
async def test_nobody_is_declared_dead_by_a_clock_that_is_wrong(difference_ms: int, closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def clock_difference_ms() -> int:
        return difference_ms

    async def close(mongo: Mongo, log: str) -> None:
        ended.append(log)

    monkeypatch.setattr(keeper, "_close", close)
    log: Document = {"_id": "unlocks-1", "state": "open", "alive_at": 0, "place": None, "session": None}
    await keeper.close_dead_logs(cast("Mongo", SimpleNamespace(clock_difference_ms=clock_difference_ms)), [log])
    assert ended == (["unlocks-1"] if closed else [])
