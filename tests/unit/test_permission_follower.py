"""Changes that take long are applied beside the loop: reads go on against the revision before, and nothing is overtaken or seen by half."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from py_service._core_rs import Claims, Decision, PermissionIndex
from py_service.errors import Problem
from py_service.journal.group import CommitGroup, GroupLimits, Revisions, _Behind
from py_service.journal.log import FIRST_HASH, Head, Log
from py_service.permissions import store
from py_service.permissions.follower import APPLIED_AT_ONCE_BYTES_MAX, APPLIED_AT_ONCE_IMAGES_MAX, PermissionFollower
from py_service.permissions.image import Image
from py_service.stores.bus import Bus
from py_service.stores.mongo import Document, Mongo
from py_service.unlock.attempt import Attempt, Lanes

NOW_MS = 1_795_608_000_000
SECONDS_MAX = 5.0


def image(kind: str, identifier: str, **document: Any) -> Image:
    return {"kind": kind, "id": identifier, "document": document}


def ada(**changed: Any) -> Image:
    document = {"state": "active", "valid_from": None, "valid_until": None, "groups": ["staff"], "roles": [], "tokens_valid_after": 0}
    return image("person", "ada", **document | changed)


def grant(identifier: str, group: str) -> Image:
    rest = {"effect": "allow", "door": "front", "schedule": None, "valid_from": None, "valid_until": None}
    return image("grant", identifier, group=group, **rest)


ACME = [
    image("organization", "acme", active=True),
    image("site", "hq", time_zone="UTC", locked_down=False),
    image("door", "front", name="Front", site="hq", area=None, lock=None, mode="locked", locked_down=False),
    image("group", "staff", includes=[]),
    image("group", "all", includes=[]),
    ada(),
    grant("g1", "all"),
]
LETS_ADA_IN = image("group", "all", includes=["staff"])


class ControlledIndex:
    """An index whose `apply` waits in other threads until it is told to go on, and that says who applied what."""

    def __init__(self) -> None:
        self.real = PermissionIndex()
        self.real.load("acme", 0, msgspec.json.encode(ACME))
        self.waits, self.go_on = threading.Event(), threading.Event()
        self.begun: list[int] = []
        self.in_loop: dict[int, bool] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def apply(self, organization: str, revision: int, images: bytes) -> bool:
        self.begun.append(revision)
        self.in_loop[revision] = threading.current_thread() is threading.main_thread()
        if not self.in_loop[revision]:
            self.waits.set()
            assert self.go_on.wait(SECONDS_MAX)
        return self.real.apply(organization, revision, images)

    def decided(self) -> Decision:
        return self.real.check("acme", "ada", "front", NOW_MS)


@pytest.fixture
def index() -> ControlledIndex:
    return ControlledIndex()


def following(index: ControlledIndex, monkeypatch: pytest.MonkeyPatch, *records: list[Image]) -> PermissionFollower:
    """A follower of a store that holds these records."""
    documents: list[Document] = [{"revision": revision, "images": images} for revision, images in enumerate(records, start=1)]

    async def read_revisions(mongo: Mongo, organizations: list[str]) -> dict[str, int]:
        return dict.fromkeys(organizations, len(documents))

    async def read_records(mongo: Mongo, organization: str, first: int, last: int) -> list[Document]:
        return documents[first - 1 : last]

    monkeypatch.setattr(store, "read_revisions", read_revisions)
    monkeypatch.setattr(store, "read_records", read_records)
    follower = PermissionFollower(cast("Mongo", None), cast("Bus", None))
    follower.index = cast("PermissionIndex", index)
    return follower


async def test_reads_go_on_while_a_change_takes_long_and_changes_keep_their_order(
    index: ControlledIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = following(index, monkeypatch, [LETS_ADA_IN], [ada(state="suspended")], [ada()])
    first, second = asyncio.create_task(follower.current("acme")), asyncio.create_task(follower.catch_up({"acme": 3}, SECONDS_MAX))
    assert await asyncio.to_thread(index.waits.wait, SECONDS_MAX)
    for _ in range(20):
        await asyncio.sleep(0)
        decision = index.decided()
        assert (decision.allowed, decision.revision) == (False, 0)
    assert not first.done() and not second.done(), "nobody is told of a revision that isn't in"
    assert index.begun == [1], "the next waits for it"
    index.go_on.set()
    assert await first == 3 and await second == {"acme"}
    assert index.begun == [1, 2, 3] and index.in_loop == {1: False, 2: True, 3: True}
    assert index.decided().allowed


@pytest.mark.parametrize(
    ("images", "in_loop"),
    [
        ([LETS_ADA_IN], False),
        ([image("calendar", "feasts", dates=["2026-12-25"])], False),
        ([ada(), {"kind": "group", "id": "all", "document": None}], False),
        ([ada()] * APPLIED_AT_ONCE_IMAGES_MAX, True),
        ([ada()] * (APPLIED_AT_ONCE_IMAGES_MAX + 1), False),
        ([ada(name="a" * APPLIED_AT_ONCE_BYTES_MAX)], False),
        ([grant("g1", "staff")], True),
        ([], True),
    ],
)
async def test_what_may_take_long_has_a_thread(
    images: list[Image], in_loop: bool, index: ControlledIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.go_on.set()
    follower = following(index, monkeypatch, images)
    assert await follower.current("acme") == 1
    assert index.in_loop == {1: in_loop}


async def test_a_change_does_not_wait_for_whoever_asks_long_questions(index: ControlledIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of everybody at a door have the loop's own threads, however many are asked for."""
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        question = asyncio.create_task(asyncio.to_thread(index.go_on.wait, SECONDS_MAX))
        following_it = asyncio.create_task(following(index, monkeypatch, [LETS_ADA_IN]).current("acme"))
        async with asyncio.timeout(SECONDS_MAX / 2):
            while not index.waits.is_set():  # noqa: ASYNC110  # a thread sets no event of the loop
                await asyncio.sleep(0.001)
        assert not question.done()
        index.go_on.set()
        assert await following_it == 1 and await question


class AdasClaims:
    organization, subject, session, issued_at_ms, expires_at_ms = "acme", "ada", "s1", 0, NOW_MS + 1


class MovingIndex(ControlledIndex):
    """Another thread puts a change in right after a question of this name is answered."""

    def __init__(self, question: str, change: list[Image]) -> None:
        super().__init__()
        self.question, self.change = question, change

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self.real, name)
        if name != self.question:
            return asked

        def answered(*arguments: Any) -> Any:
            answer = asked(*arguments)
            self.real.apply("acme", 1, msgspec.json.encode(self.change))
            return answer

        return answered


def attempt_on(index: ControlledIndex) -> Attempt:
    lanes = Lanes(print, print, lambda *_: False, lambda *_: "")
    return Attempt(
        cast("PermissionIndex", index), cast("Claims", AdasClaims()), "front",
        wait_seconds=0, idempotency_key=None, pin=None, lanes=lanes, on_committed=print,
    )  # fmt: skip


@pytest.mark.parametrize("question", ["revision", "authenticate", "check"])
async def test_an_attempt_is_judged_at_one_revision(question: str) -> None:
    """A change cuts Ada's tokens and lets her group in: before it she may not pass, and after it her token is void."""
    attempt = attempt_on(MovingIndex(question, [ada(tokens_valid_after=NOW_MS), LETS_ADA_IN]))
    assert not attempt.judge(NOW_MS)
    assert isinstance(problem := attempt.decided.exception(), Problem) and problem.code == "token_revoked"


async def test_the_fence_passes_nobody_who_was_judged_at_a_later_revision() -> None:
    """Judged behind the fence, while another thread puts a change in: the group is tried again, with a fence that knows the change."""
    index = MovingIndex("authenticate", [LETS_ADA_IN])
    attempt = attempt_on(index)
    doubted: list[str] = []
    log = Log(cast("Mongo", SimpleNamespace(session=lambda: None)), "plain-1", Head(0, FIRST_HASH))
    revisions = SimpleNamespace(revision=index.real.revision, doubt=doubted.extend)

    class Collection:
        def find(self, *_: Any, **__: Any) -> Collection:
            return self

        async def to_list(self) -> list[Document]:
            return [{"_id": "acme", "revision": 0}]

    mongo = cast("Mongo", SimpleNamespace(database={"revisions": Collection()}))
    group = CommitGroup(mongo, log, cast("Revisions", revisions), GroupLimits(), lambda: None)
    with pytest.raises(_Behind):
        await group._pass_fence(cast("Any", None), [attempt], NOW_MS)
    assert doubted == ["acme"] and attempt.judged_revision == 1
