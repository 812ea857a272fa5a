"""The checker of histories finds each kind of breach, leaves alone what races may do, and accepts whatever a model that is right makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as any_of

from tests.e2e.history import DECIDED_NS_MAX, Decision, History, Kind, Moved, Operation
from tests.e2e.history_checker import judge

CELL = "acme/grant/ada"


def change(kind: Kind, invoked: int, completed: int | None, effective_by: int | None = None, cell: str = CELL) -> Operation:
    """A give or a take; without `completed` it is unknown."""
    return Operation(cell, "owner", kind, invoked, completed, "unknown" if completed is None else "ok", effective_by_ns=effective_by)


def ask(invoked: int, completed: int | None, decision: Decision | None = None, command: str | None = None, cell: str = CELL) -> Operation:
    return Operation(cell, "phone", "ask", invoked, completed, "unknown" if decision is None else "ok", decision, command=command)


def journaled(invoked: int, completed: int, decision: Decision, command: str = "a") -> Operation:
    """An ask that heard nothing, and between which moments the journal says that it was decided."""
    return Operation(CELL, "phone", "ask", invoked, completed, "unknown", decision, command=command)


GIVEN, TAKEN = change("give", 10, 20), change("take", 30, 40, effective_by=90)


def test_a_grant_that_was_asked_for_after_the_take_had_returned_is_stale() -> None:
    verdict = judge([GIVEN, TAKEN, stale := ask(41, 45, "granted")], [])
    assert verdict.stale == [stale]
    assert not verdict.holds


@pytest.mark.parametrize(
    "answer", [ask(21, 29, "granted"), ask(25, 35, "granted"), ask(40, 45, "granted"), ask(39, 60, "refused"), ask(5, 11, "refused")]
)
def test_whoever_asks_while_it_changes_may_hear_either(answer: Operation) -> None:
    assert judge([GIVEN, TAKEN, answer], []).holds


def test_a_refusal_that_was_asked_for_after_the_give_had_returned_is_withheld() -> None:
    verdict = judge([GIVEN, withheld := ask(21, 25, "refused"), TAKEN], [])
    assert (verdict.withheld, verdict.stale) == ([withheld], [])
    assert not verdict.holds


def test_nobody_is_let_in_again_after_somebody_heard_that_it_is_over() -> None:
    """The take has not returned yet, but one answer has told that it took effect."""
    verdict = judge([GIVEN, change("take", 30, 90), ask(31, 35, "refused"), second := ask(36, 40, "granted")], [])
    assert verdict.stale == [second]


def test_what_is_given_again_counts() -> None:
    again = change("give", 50, 60)
    assert judge([GIVEN, TAKEN, again, ask(61, 65, "granted"), ask(51, 55, "granted"), ask(51, 55, "refused")], []).holds
    assert len(judge([GIVEN, TAKEN, again, ask(41, 50, "granted")], []).stale) == 1


def test_a_take_that_nobody_knows_about_obliges_nothing_until_one_is_ok() -> None:
    unknown = change("take", 30, None)
    assert judge([GIVEN, unknown, ask(50, 55, "granted"), ask(56, 60, "refused")], []).holds
    verdict = judge([GIVEN, unknown, change("take", 61, 70), ask(65, 69, "granted"), stale := ask(71, 75, "granted")], [])
    assert verdict.stale == [stale]


def test_a_give_that_nobody_knows_about_may_take_effect_until_a_later_change_has_returned() -> None:
    unknown = change("give", 50, None)
    assert judge([GIVEN, TAKEN, unknown, ask(200, 205, "granted")], []).holds
    assert judge([GIVEN, TAKEN, unknown, ask(200, 205, "refused")], []).holds
    verdict = judge([GIVEN, TAKEN, unknown, change("take", 60, 70), ask(65, 69, "granted"), stale := ask(71, 75, "granted")], [])
    assert verdict.stale == [stale]


def test_a_give_that_nobody_knows_about_may_take_effect_while_the_next_change_is_under_way() -> None:
    answers = [ask(61, 63, "refused"), ask(64, 69, "granted"), ask(71, 75, "refused")]
    assert judge([GIVEN, TAKEN, change("give", 50, None), change("take", 60, 70), *answers], []).holds


def test_what_failed_did_nothing() -> None:
    refused = Operation(CELL, "owner", "give", 50, 60, "fail")
    assert len(judge([GIVEN, TAKEN, refused, ask(61, 65, "granted")], []).stale) == 1


def test_cells_have_nothing_to_do_with_each_other() -> None:
    assert judge([GIVEN, TAKEN, change("give", 1, 2, cell="acme/grant/eve"), ask(50, 55, "granted", cell="acme/grant/eve")], []).holds


def test_an_answer_that_only_the_journal_knows_is_judged_too() -> None:
    lost = journaled(41, 55, "granted")
    assert judge([GIVEN, TAKEN, lost], []).stale == [lost]
    assert judge([GIVEN, TAKEN, lost, change("give", 50, 60)], []).holds  # it may have been decided late
    assert judge([GIVEN, TAKEN, lost, change("give", 56, 60)], []).stale == [lost]  # not as late as that
    assert judge([GIVEN, TAKEN, journaled(41, 55, "refused"), ask(56, 58, "refused")], []).holds


def test_an_answer_that_only_the_journal_knows_is_evidence() -> None:
    """It was decided, whoever heard of it."""
    open_take = change("take", 30, 90)
    assert judge([GIVEN, open_take, journaled(31, 35, "refused"), stale := ask(36, 40, "granted")], []).stale == [stale]
    assert judge([GIVEN, open_take, journaled(31, 35, "refused"), ask(34, 40, "granted")], []).holds


def test_a_grant_by_another_process_than_the_one_that_took_is_stale_all_the_same() -> None:
    taken = msgspec.structs.replace(TAKEN, process="api-1")
    other = msgspec.structs.replace(ask(41, 45, "granted", "log-of-api-2:1:0"), process="api-2")
    assert judge([GIVEN, taken, other], []).stale == [other]
    assert judge([GIVEN, taken, msgspec.structs.replace(other, invoked_ns=40)], []).holds


def test_a_bolt_that_moved_says_how_late_it_can_have_been_decided() -> None:
    """The answer came late, when it was given again: the move did not wait for that."""
    again = change("give", 92, 96)
    assert judge([GIVEN, TAKEN, again, ask(21, 99, "granted", "a")], [late := Moved("a", 91)]).late == [late]
    assert judge([GIVEN, TAKEN, again, ask(21, 99, "granted", "a")], [Moved("a", 97)]).holds


@pytest.mark.parametrize(("at", "late"), [(90, False), (91, True)])
def test_a_bolt_must_not_move_after_effective_by(at: int, late: bool) -> None:
    verdict = judge([GIVEN, TAKEN, ask(21, 25, "granted", "a")], [Moved("a", at)])
    assert verdict.late == ([Moved("a", at)] if late else [])
    assert verdict.holds is not late


def test_a_bolt_that_moves_late_on_what_was_given_again_is_right() -> None:
    assert judge([GIVEN, TAKEN, change("give", 50, 60), ask(61, 65, "granted", "a")], [Moved("a", 95)]).holds
    # Asked for before it was given again, and answered after that had begun: it may rest on either.
    assert judge([GIVEN, TAKEN, change("give", 50, 60), ask(35, 55, "granted", "a")], [Moved("a", 95)]).holds
    assert not judge([GIVEN, TAKEN, change("give", 50, 60), ask(35, 49, "granted", "a")], [Moved("a", 95)]).holds


def test_the_earliest_moment_that_a_take_promised_is_the_one_that_counts() -> None:
    takes = [TAKEN, change("take", 50, 60, effective_by=110)]
    assert len(judge([GIVEN, *takes, ask(21, 25, "granted", "a")], [Moved("a", 95)]).late) == 1


def test_a_bolt_that_moves_for_nobody_or_twice_is_a_breach() -> None:
    assert judge([GIVEN, ask(21, 25, "refused", "a")], [Moved("a", 30)]).unexplained == [Moved("a", 30)]
    assert judge([GIVEN], [Moved("b", 30)]).unexplained == [Moved("b", 30)]
    assert judge([GIVEN, ask(21, 25, "granted", "a")], [Moved("a", 30), Moved("a", 31)]).repeated == [Moved("a", 31)]


def test_a_bolt_that_moves_on_what_the_journal_does_not_allow_is_a_breach() -> None:
    """Whatever the phone was told: there is no authorization, or it says itself that nothing was commanded."""
    history, move = [GIVEN, ask(21, 25, "granted", "a")], Moved("a", 30)
    assert judge(history, [move], {"a"}).holds
    assert judge(history, [move], {"b"}).unexplained == [move]
    assert judge([GIVEN, ask(21, None, None, "a")], [move]).unexplained == [move]


def test_answers_that_could_only_be_one_thing_are_counted() -> None:
    verdict = judge([GIVEN, ask(21, 25, "granted"), ask(29, 35, "granted"), TAKEN, ask(41, 45, "refused"), ask(46, 49, "refused")], [])
    assert verdict.holds
    assert verdict.bound == {"granted": 1, "refused": 2}


def test_a_history_is_written_line_by_line_in_the_order_of_time(tmp_path: Path) -> None:
    history = History()
    for operation in (TAKEN, GIVEN):
        history.note(operation)
    history.write(tmp_path / "history.jsonl", [Moved("a", 25)])
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line).get("kind", "moved") for line in lines] == ["give", "moved", "take"]
    assert msgspec.json.decode(lines[0], type=Operation) == GIVEN
    assert abs(history.wall_ms(history.moment_of(1_700_000_000_000)) - 1_700_000_000_000) == 0


def test_what_the_journal_decided_belongs_to_the_first_ask_that_got_no_answer() -> None:
    history = History()
    second = 1_000_000_000
    asks = [ask(second, None), ask(2 * second, None), ask(3 * second, 4 * second, "granted", "told"), ask(9 * second, None)]
    for operation in asks:
        history.note(operation)
    at = [history.wall_ms(number * second) for number in range(10)]
    event = {"org": "acme", "person": "ada", "kind": "authorized"}
    events = {
        "told": {**event, "at": at[3]},
        "later": {**event, "at": at[5], "kind": "authorized.failed", "reason": "no_grant"},
        "lost": {**event, "at": at[2]},
        "of another": {**event, "person": "eve", "at": at[2]},
        "an end": {**event, "kind": "unlocked", "at": at[3]},
    }
    found = history.with_journal(events)
    assert [operation.command for operation in found] == ["lost", "later", "told", None]
    assert [operation.decision for operation in found] == ["granted", "refused", "granted", None]
    assert [operation.outcome for operation in found] == ["unknown", "unknown", "ok", "unknown"]
    lost, later = found[0], found[1]
    assert lost.completed_ns is not None and later.completed_ns is not None
    assert 2 * second - 1_000_000 <= lost.invoked_ns <= 2 * second  # decided between its T, in whole milliseconds, and a bound after it
    assert lost.completed_ns == lost.invoked_ns + DECIDED_NS_MAX
    assert (later.completed_ns - DECIDED_NS_MAX) // second == 4
    moved = history.with_journal(events, [Moved("lost", 3 * second), Moved("lost", 4 * second)])
    assert moved[0].completed_ns == 3 * second  # or the first move


def test_what_moved_was_not_asked_for_by_whoever_was_told_that_nothing_was_commanded() -> None:
    """An unknown outcome, told with a 503, that moves a bolt later is a breach; one of which nothing was heard may have been granted."""
    told, second = History(), 1_000_000_000
    event = {"org": "acme", "person": "ada", "kind": "authorized", "at": told.wall_ms(25 * second)}
    given, move = change("give", second, 2 * second), Moved("a", 30 * second)
    answered = Operation(CELL, "phone", "ask", 20 * second, None, "unknown", reason="503 outcome_unknown", answered=True)
    for operation in (given, answered):
        told.note(operation)
    assert judge(told.with_journal({"a": event}, [move]), [move], {"a"}).unexplained == [move]
    assert judge(told.with_journal({"a": event}, []), [], {"a"}).holds
    told.note(msgspec.structs.replace(answered, invoked_ns=21 * second, reason="ConnectionResetError", answered=False))
    assert judge(told.with_journal({"a": event}, [move]), [move], {"a"}).holds
    # Nor by whoever asked after it had been decided.
    late = History()
    for operation in (given, msgspec.structs.replace(answered, invoked_ns=26 * second, answered=False)):
        late.note(operation)
    assert judge(late.with_journal({"a": event}, [move]), [move], {"a"}).unexplained == [move]


def test_a_refusal_in_the_journal_that_is_not_about_access_says_nothing() -> None:
    history, second = History(), 1_000_000_000
    for operation in (change("give", second, 2 * second), ask(3 * second, None)):
        history.note(operation)
    event = {"org": "acme", "person": "ada", "kind": "authorized.failed", "at": history.wall_ms(4 * second)}
    reasons = {"grant": frozenset({"no_grant"})}
    assert judge(history.with_journal({"a": {**event, "reason": "pin_wrong"}}, refusals=reasons), []).holds
    assert len(judge(history.with_journal({"a": {**event, "reason": "no_grant"}}, refusals=reasons), []).withheld) == 1


@dataclass(frozen=True)
class Drawn:
    """One change and the asks around it. Numbers are ticks, and each ask's three moments count from the change's invocation."""

    kind: Kind
    before_effect: int
    after_effect: int
    fate: str  # "ok", "lost" (took effect, and nobody heard) or "nothing"
    asks: list[tuple[int, int, int, bool]]  # begins, decides after, hears after, heard


drawn = any_of.builds(
    Drawn,
    kind=any_of.sampled_from(["give", "take"]),
    before_effect=any_of.integers(1, 9),
    after_effect=any_of.integers(1, 9),
    fate=any_of.sampled_from(["ok", "ok", "ok", "lost", "nothing"]),
    asks=any_of.lists(any_of.tuples(any_of.integers(0, 25), any_of.integers(1, 9), any_of.integers(1, 9), any_of.booleans()), max_size=5),
)
LIFE = 40  # ticks from a decision to when its command is over


def right_history(changes: list[Drawn]) -> tuple[list[Operation], list[Moved]]:
    """What a service that is right would let happen: values by the moments at which the changes took effect."""
    operations: list[Operation] = []
    effects: list[tuple[int, Decision]] = [(-1, "refused")]
    begin = 0
    for number in changes:
        effect, end = begin + number.before_effect, begin + number.before_effect + number.after_effect
        if number.fate != "nothing":
            effects.append((effect, "granted" if number.kind == "give" else "refused"))
        known = number.fate == "ok"
        operations.append(change(number.kind, 10 * begin, 10 * end if known else None, 10 * (end + LIFE)))
        begin = end + 1
    moves: list[Moved] = []
    begin = 0
    for index, number in enumerate(changes):
        for which, (offset, decides, hears, heard) in enumerate(number.asks):
            invoked, decided = begin + offset, begin + offset + decides
            decision = next(value for moment, value in reversed(effects) if moment < decided)
            command = f"{index}.{which}"
            answered = 10 * (decided + hears) + 1
            if heard:
                operations.append(ask(10 * invoked + 1, answered, decision, command))
            elif decision == "granted":
                operations.append(journaled(10 * invoked + 1, answered, decision, command))
            else:
                operations.append(ask(10 * invoked + 1, None))
            if decision == "granted":
                moves.append(Moved(command, 10 * (decided + hears + offset)))
        begin += number.before_effect + number.after_effect + 1
    return operations, moves


@given(any_of.lists(drawn, min_size=1, max_size=12))
def test_whatever_a_model_that_is_right_makes_is_accepted(changes: list[Drawn]) -> None:
    assert judge(*right_history(changes)).holds


@given(any_of.lists(drawn, max_size=8), any_of.lists(drawn, max_size=8), any_of.sampled_from(["give", "take"]))
def test_a_breach_that_is_put_into_a_right_history_is_found(before: list[Drawn], after: list[Drawn], kind: Kind) -> None:
    """Between a change that is ok and whatever comes next, somebody hears the contrary."""
    certain = Drawn(kind, 1, 1, "ok", [])
    pause = Drawn(kind, 5, 5, "nothing", [])  # nothing can explain the contrary meanwhile
    operations, moves = right_history([*before, certain, pause, *after])
    returned = [operation for operation in operations if operation.kind != "ask"][len(before)].completed_ns
    assert returned is not None
    planted = ask(returned + 1, returned + 9, "refused" if kind == "give" else "granted", "planted")
    verdict = judge([*operations, planted], moves)
    assert planted in (verdict.withheld if kind == "give" else verdict.stale)


@given(any_of.lists(drawn, max_size=8), any_of.lists(drawn, max_size=8), any_of.sampled_from(["late", "repeated", "unexplained"]))
def test_a_move_that_is_put_into_a_right_history_is_found_and_a_near_miss_is_not(
    before: list[Drawn], after: list[Drawn], what: str
) -> None:
    """It is granted and taken, both for certain; nothing else can explain a move of it until well after it was to be over."""
    given_and_taken = [Drawn("give", 1, 1, "ok", []), Drawn("take", 5, 5, "ok", [])]
    pause = Drawn("take", LIFE, LIFE, "nothing", [])
    operations, moves = right_history([*before, *given_and_taken, pause, *after])
    give, take = [operation for operation in operations if operation.kind != "ask"][len(before) : len(before) + 2]
    assert give.completed_ns is not None and take.effective_by_ns is not None
    granted = ask(give.completed_ns + 1, give.completed_ns + 2, "granted", "planted")
    first = Moved("planted", take.effective_by_ns)
    commanded = {str(operation.command) for operation in operations} | {"planted"}
    assert judge([*operations, granted], [*moves, first], commanded).holds
    if what == "late":
        verdict = judge([*operations, granted], [*moves, found := Moved("planted", first.at_ns + 1)], commanded)
        assert verdict.late == [found]
    elif what == "repeated":
        verdict = judge([*operations, granted], [*moves, first, found := Moved("planted", first.at_ns)], commanded)
        assert verdict.repeated == [found]
    else:
        verdict = judge([*operations, granted], [*moves, first], commanded - {"planted"})
        assert verdict.unexplained == [first]
    assert not verdict.holds
