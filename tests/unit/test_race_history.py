"""The judge of the revoke races sees each kind of breach, and nothing where there is none."""

from __future__ import annotations

from tests.e2e.race_history import History, Moved, Revoke, Unlock, judge

REVOKE = Revoke(1, "door", returned_ns=1_000, effective_by_ms=6_000)


def test_an_unlock_asked_for_after_the_revoke_and_granted_is_stale() -> None:
    verdict = judge(History([Unlock(1, "door", 1_001, "granted", "a")], [REVOKE]), [])
    assert not verdict.holds
    assert [unlock.command for unlock in verdict.stale] == ["a"]


def test_an_unlock_asked_for_before_the_revoke_returned_may_be_granted() -> None:
    verdict = judge(History([Unlock(1, "door", 1_000, "granted", "a")], [REVOKE]), [Moved("a", 6_000)])
    assert verdict.holds
    assert verdict.judged == 0


def test_a_bolt_that_moves_after_effective_by_is_late() -> None:
    verdict = judge(History([Unlock(1, "door", 900, "granted", "a")], [REVOKE]), [Moved("a", 6_001)])
    assert [move.command for move in verdict.late_moves] == ["a"]
    assert not verdict.holds


def test_a_bolt_that_moves_for_a_refused_unlock_is_a_breach() -> None:
    verdict = judge(History([Unlock(1, "door", 900, "refused", "a")], [REVOKE]), [Moved("a", 1)])
    assert not verdict.holds


def test_a_revoke_whose_outcome_is_unknown_promises_nothing() -> None:
    unknown = Revoke(1, "door", returned_ns=None, effective_by_ms=0)
    assert judge(History([Unlock(1, "door", 9_000, "granted", "a")], [unknown]), [Moved("a", 9_999)]).holds


def test_pairs_are_judged_apart() -> None:
    assert judge(History([Unlock(2, "door", 9_000, "granted", "a")], [REVOKE]), []).holds
