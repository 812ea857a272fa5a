"""Rules that the store settles, against their twin: attempts, resets, doors that stayed shut and changes of permissions in any order.

The records are kept in a dictionary as the service keeps them in `states`: the core is given what it says that it misses and nothing
else. Every answer, what it took and every record is compared; and what must hold whatever the twin says is held by ledgers of the
test's own. What was met is counted and demanded. NEXKEY_STATEFUL_EXAMPLES sets the number of histories of a longer campaign.
"""

import collections
import copy
import json
import os
from typing import Any, ClassVar, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from py_service._core_rs import Decision, PermissionIndex, Settlement, give_back
from tests.property import stateful_oracle
from tests.property.oracle import Document, Organization
from tests.property.stateful_oracle import Asking, Record, Records, inside_since, limits_of, tidy
from tests.property.stateful_organization import AREAS, CHANGE, DOORS, GRANTS, MINUTES, PERSONS, SNAPSHOT

ORGANIZATION = "acme"
ROUNDS_MAX = 5
EXAMPLES_DEFAULT = 120
EXAMPLES = int(os.environ.get("NEXKEY_STATEFUL_EXAMPLES", EXAMPLES_DEFAULT))
STEPS = 50
ATTEMPTS_PER_EXAMPLE_MIN = 50
CALLS_MAX = 3
START_MS = 1_792_879_000_000  # an evening of October 2026, some hours before Berlin's clocks go back
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
# Another process's clock may be behind; bounds are met exactly, and passed by one.
STEPS_MS = (1, 1, 1, 500, 5_000, 59_999, MINUTE_MS, MINUTE_MS + 1, MINUTES * MINUTE_MS, 10 * MINUTE_MS, 7 * HOUR_MS, 24 * HOUR_MS, -700)
DEMANDED = {
    *("granted", "no_grant", "denied_by_rule", "person_suspended", "pass_used_up", "anti_passback", "occupancy_full"),
    *("second_person_needed", "pin_needed", "pin_wrong", "rate_limited"),
    *("took entered", "took left", "took passed_back", "took passes", "took first_person", "took opened_for_all", "took first_moved"),
    *("gave back entered", "gave back left", "gave back passes", "gave back first_moved", "gave back opened_for_all"),
    *("without a grant", "entered again", "reset", "changed"),
    *(f"told first_person_in {verdict}" for verdict in ("holds", "no_grant")),
    *(f"told card_and_pin {verdict}" for verdict in ("holds", "pin_needed", "pin_wrong", "rate_limited")),
    "told leaves holds",
    *(f"told anti_passback {verdict}" for verdict in ("holds", "anti_passback")),
    *(f"told occupancy {verdict}" for verdict in ("holds", "occupancy_full")),
    *(f"told uses {verdict}" for verdict in ("holds", "pass_used_up")),
    *(f"told two_persons {verdict}" for verdict in ("holds", "second_person_needed", "occupancy_full")),
    "told behind a refusal",
    *("lockdown, first waits True", "lockdown, was open True and is refused True"),
    *("opened past a visitor", "stays open for the next"),
    *(f"first waits, {change}" for change in ("None", "state", "use", "tokens", "session", "mode")),
}
MOMENT = st.sampled_from(STEPS_MS)
AROUND_PIN_WAIT = st.sampled_from((599_999, 600_000, 600_001))
AROUND_PASSBACK = st.sampled_from((MINUTES * MINUTE_MS - 1, MINUTES * MINUTE_MS, MINUTES * MINUTE_MS + 1))
TOKEN_MS = 360_000
CHANGES_BETWEEN = (None, "state", "use", "tokens", "session", "mode")
PERSON, DOOR = st.sampled_from(PERSONS), st.sampled_from(DOORS)
PIN = st.sampled_from((True, True, False, False, None))


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def alone_step(told: dict[str, Any]) -> str:
    """The step at which memory alone refuses."""
    return str(told["steps"][-1]["step"])


def clean(records: Records) -> Records:
    return {key: tidy(record) for key, record in records.items() if tidy(record)}


class Attempts(RuleBasedStateMachine):
    met: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self) -> None:
        super().__init__()
        self.index, self.twin, self.revision = PermissionIndex(), Organization(), 1
        self.now_ms, self.moments = START_MS, set[int]()
        self.records: Records = {}
        self.shut: list[tuple[Asking, Record]] = []  # grants that may be given back yet
        self.used: collections.Counter[str] = collections.Counter()
        self.asked: dict[str, tuple[str, int]] = {}
        self.sessions: collections.Counter[str] = collections.Counter()  # how many of a person's have ended

    @initialize(snapshot=SNAPSHOT)
    def begin(self, snapshot: list[Document]) -> None:
        self.index.load(ORGANIZATION, self.revision, encoded(snapshot))
        self.twin.apply(snapshot)

    @rule(person=PERSON, door=DOOR, moment=MOMENT, pin=PIN)
    def attempt(self, person: str, door: str, moment: int, pin: bool | None) -> None:
        self.ask(person, door, moment, pin)

    @rule(person=PERSON, door=DOOR, count=st.integers(2, 7), pin=PIN)
    def attempt_again_and_again(self, person: str, door: str, count: int, pin: bool | None) -> None:
        for _ in range(count):
            self.ask(person, door, 1_000, pin)

    @rule(persons=st.permutations(PERSONS), door=st.sampled_from(("pair", "any", "early", "keypad")), moment=MOMENT)
    def attempt_together(self, persons: list[str], door: str, moment: int) -> None:
        for person in persons[:2]:
            self.ask(person, door, moment, True)

    @rule(persons=st.permutations(PERSONS), door=st.sampled_from(("pair", "any", "early")))
    def somebody_asks_between_two(self, persons: list[str], door: str) -> None:
        """By passes alone: neither the one beside whom the first comes in, nor the first."""
        first, between, second = persons[:3]
        for person in (first, between):
            self.ask(person, door, 1, True)
        stays = self.records.get(f"door.{door}", {}).get("first_person") == first and not self.comes_by_own(between, door)
        opened = self.met["took first_person"]
        self.ask(second, door, 1, True)
        self.met["opened past a visitor"] += stays and self.met["took first_person"] > opened

    @rule(persons=st.permutations(PERSONS), door=st.sampled_from(("pair", "early", "early", "any")), kind=st.sampled_from(("door", "site")))
    def locked_down_between(self, persons: list[str], door: str, kind: str) -> None:
        """Who came before it doesn't count after it: neither as the first of two, nor for everybody."""
        for person in persons[:2] if door != "pair" else persons[:1]:
            self.ask(person, door, 1, True)
        waits = self.records.get(f"door.{door}", {}).get("first_person") == persons[0]
        was_open = self.records.get(f"door.{door}", {}).get("opened_day") is not None
        place = door if kind == "door" else "hq"
        held = {**self.twin.bag[kind][place], "lockdown_revision": self.revision + 1}
        for locked_down in (True, False):
            self.change({"kind": kind, "id": place, "document": {**held, "locked_down": locked_down}})
            if locked_down:
                assert self.ask(persons[0], door, 1, True).reason == f"{kind}_locked_down"
        opened, alone = self.met["took first_person"], self.index.check(ORGANIZATION, persons[2], door, self.now_ms + 1)
        settlement = self.ask(persons[2], door, 1, True)
        assert settlement.allowed <= alone.allowed and self.met["took first_person"] == opened
        self.met.update([f"lockdown, first waits {waits}", f"lockdown, was open {was_open} and is refused {not alone.allowed}"])

    def comes_by_own(self, person: str, door: str) -> bool:
        return self.twin.judge_own(person, door, self.now_ms).answer.allowed

    @rule(door=st.sampled_from(("entry", "exit", "pair")), moment=st.sampled_from((1, 500)))
    def attempt_all(self, door: str, moment: int) -> None:
        for person in PERSONS:
            self.ask(person, door, moment, None)

    @rule(person=PERSON, door=st.sampled_from(("keypad", "keypad", "any")), wait_ms=AROUND_PIN_WAIT)
    def guess_pins(self, person: str, door: str, wait_ms: int) -> None:
        for _ in range(6):
            self.ask(person, door, 1, False)
        # The first of them, which began the ten minutes, is five milliseconds ago.
        self.ask(person, door, wait_ms - 5, True)

    @rule(person=PERSON, door=st.sampled_from(("entry", "entry", "any")), wait_ms=AROUND_PASSBACK)
    def come_again(self, person: str, door: str, wait_ms: int) -> None:
        self.ask(person, door, 1, True)
        self.ask(person, door, wait_ms, True)

    @rule(persons=st.permutations(PERSONS), door=st.sampled_from(("pair", "pair", "any")), change=st.sampled_from(CHANGES_BETWEEN))
    def second_person_comes_late(self, persons: list[str], door: str, change: str | None) -> None:
        """Whoever asked first was suspended, was signed out, or has used up their passes meanwhile, or the door wants a PIN."""
        first, second = persons[:2]
        self.ask(first, door, 1, True)
        person = self.twin.bag["person"][first]
        if change == "state":
            self.change({"kind": "person", "id": first, "document": {**person, "state": "suspended"}})
        elif change == "use":
            for _ in range(6):
                self.ask(first, "exit", 1, True)
        elif change == "tokens":
            self.change({"kind": "person", "id": first, "document": {**person, "tokens_valid_after": self.now_ms + 1}})
        elif change == "session":
            ended = {"person": first, "ended_at": self.now_ms, "forget_at": self.now_ms + TOKEN_MS}
            self.change({"kind": "session", "id": self.session_of(first), "document": ended})
            self.sessions[first] += 1
        elif change == "mode":
            self.change({"kind": "door", "id": door, "document": {**self.twin.bag["door"][door], "mode": "card_and_pin"}})
        waits = self.records.get(f"door.{door}", {}).get("first_person") == first
        self.met[f"first waits, {change}"] += waits
        opened = self.met["took first_person"]
        self.ask(second, door, 1_000, True)
        assert not waits or change in (None, "use", "mode") or self.met["took first_person"] == opened, "opened beside a revoked token"
        if change in ("state", "tokens"):
            self.change({"kind": "person", "id": first, "document": person})

    @rule(persons=st.permutations(PERSONS), door=st.sampled_from(("early", "early", "any")), wait_ms=st.sampled_from((1, 24 * HOUR_MS)))
    def opening_for_all_is_given_back(self, persons: list[str], door: str, wait_ms: int) -> None:
        """Also when it was opened again on the day after."""
        grants = len(self.shut)
        self.ask(persons[0], door, 24 * HOUR_MS, True)
        opened = len(self.shut) > grants
        self.ask(persons[1], door, wait_ms, True)
        next_came = len(self.shut) - grants == 2 and self.shut[-1][1].get("opened_for_all", False) and wait_ms == 1
        if opened:
            self.door_stayed_shut(len(self.shut) - grants - 1)
        if opened and next_came and self.comes_by_own(persons[1], door):
            self.met["stays open for the next"] += 1
            assert self.records[f"door.{door}"].get("opened_day") is not None
        self.ask(persons[2], door, 1, True)

    @rule(person=PERSON, area=st.sampled_from(AREAS))
    def leaving_is_given_back_after_a_reset(self, person: str, area: str) -> None:
        grants = len(self.shut)
        self.ask(person, "exit", 1, True)
        self.reset(area)
        if len(self.shut) > grants:
            self.door_stayed_shut(0)

    @rule(image=CHANGE)
    def change(self, image: Document) -> None:
        self.revision += 1
        assert self.index.apply(ORGANIZATION, self.revision, encoded([image]))
        self.twin.apply([image])
        self.met["changed"] += 1

    @rule(area=st.sampled_from(AREAS))
    def reset(self, area: str) -> None:
        last_at = self.records.get(f"area.{area}", {}).get("last_at")
        self.records[f"area.{area}"] = {"count": 0, "reset_at": max(self.moment(1), last_at or 0)}
        self.met["reset"] += 1

    @precondition(lambda self: self.shut)
    @rule(which=st.integers(0, 5))
    def door_stayed_shut(self, which: int) -> None:
        """`which`: of the grants that took something, counted from the latest."""
        asking, taken = self.shut.pop(-1 - which % len(self.shut))
        expected = stateful_oracle.give_back(asking, taken, self.records)
        missing = give_back(asking.person, asking.door, asking.now_ms, encoded(taken), b"{}").missing
        known = {key: self.records.get(key, {}) for key in missing}
        settlement = give_back(asking.person, asking.door, asking.now_ms, encoded(taken), encoded(known))
        assert not settlement.missing, "one read is enough"
        self.records |= cast("Records", json.loads(settlement.records))
        assert clean(self.records) == clean(expected)
        self.used.subtract(taken.get("passes", []))
        self.met.update(f"gave back {what}" for what in taken)

    def session_of(self, person: str) -> str:
        return f"{person}-{self.sessions[person]}"

    def moment(self, step_ms: int) -> int:
        """Later by so much, or a little before; no two are the same."""
        at_ms = self.now_ms + step_ms
        while at_ms in self.moments:
            at_ms += 1
        self.moments.add(at_ms)
        self.now_ms = max(self.now_ms, at_ms)
        return at_ms

    def ask(self, person: str, door: str, step_ms: int, pin: bool | None) -> Settlement:
        at_ms = self.moment(step_ms)
        asking = Asking(person, door, at_ms, pin, at_ms, self.session_of(person), self.revision)
        expected = stateful_oracle.settle(self.twin, asking, self.records)
        told, (before, settlement) = self.explained(asking), (self.records, self.settled(asking))
        assert (told["allowed"], told["reason"], told["rule"]) == expected[:3], "what is explained is what the unlock then answers"
        taken = {} if settlement.taken is None else cast("Record", json.loads(settlement.taken))
        after = copy.deepcopy(before) | cast("Records", json.loads(settlement.records))
        assert (settlement.allowed, settlement.reason, settlement.rule) == expected[:3], asking
        assert taken == expected.taken, asking
        assert clean(after) == clean(expected.records), asking
        self.records = after
        self.met.update(("attempts", settlement.reason))
        self.met.update(f"took {what}" for what in taken)
        (self.hold_grant if settlement.allowed else self.hold_refusal)(asking, settlement, taken, before)
        if taken:
            self.shut.append((asking, taken))
        return settlement

    def settled(self, asking: Asking) -> Settlement:
        """As the service does: what is missing is read, until nothing is. All records at once come to the same."""
        decision = self.index.check(ORGANIZATION, asking.person, asking.door, asking.now_ms)
        whole = {key: self.records.get(key, {}) for key in self.every_key()}
        known: Records = {}
        for _ in range(CALLS_MAX):
            settlement = self.settled_with(asking, decision, known)
            if not settlement.missing:
                at_once = self.settled_with(asking, decision, whole)
                assert (at_once.reason, at_once.rule, at_once.taken) == (settlement.reason, settlement.rule, settlement.taken)
                assert at_once.records == settlement.records
                return settlement
            assert not settlement.allowed and not known.keys() & settlement.missing
            known |= {key: self.records.get(key, {}) for key in settlement.missing}
        raise AssertionError("records that are never enough")

    def settled_with(self, asking: Asking, decision: Decision, known: Records) -> Settlement:
        person, door, now_ms, pin, issued_at_ms, session, _ = asking
        return self.index.settle(ORGANIZATION, person, door, decision, pin, now_ms, encoded(known), issued_at_ms, session)

    def explained(self, asking: Asking) -> dict[str, Any]:
        """As it is told just before the attempt. Each stateful rule as the twin says; the first that refuses is the reason."""
        person, door, now_ms, pin = asking[:4]
        known: Records = {}
        answer: bytes | None = None
        for _ in range(CALLS_MAX + 1):
            answer, missing = self.index.explain_now(ORGANIZATION, person, door, pin, now_ms, encoded(known))
            if answer is not None:
                break
            assert missing and not known.keys() & missing
            known |= {key: self.records.get(key, {}) for key in missing}
        assert answer is not None, "records that are never enough"
        told: dict[str, Any] = json.loads(answer)
        alone = json.loads(self.index.explain(ORGANIZATION, person, door, now_ms))
        rules = [(rule["rule"], rule["of"], rule["verdict"]) for rule in told["stateful_rules"]]
        assert rules == stateful_oracle.rules_told(self.twin, asking, self.records), asking
        stateful = self.index.check(ORGANIZATION, person, door, now_ms).stateful
        assert (told["state"], alone["state"]) == (("read", "unknown") if stateful else ("none", "none"))
        assert {rule["verdict"] for rule in alone["stateful_rules"]} <= {"unknown"}
        assert {rule[:2] for rule in rules} <= {(rule["rule"], rule["of"]) for rule in alone["stateful_rules"]}
        assert all(rule["detail"] for rule in (*told["stateful_rules"], *alone["stateful_rules"]))
        if stateful:
            one_is_left = any(rule == "uses" and verdict == "holds" for rule, _, verdict in rules)
            refusing = [verdict for rule, _, verdict in rules if verdict != "holds" and not (rule == "uses" and one_is_left)]
            assert told["reason"] == (refusing[0] if refusing else "granted"), rules
            self.met["told behind a refusal"] += len(set(refusing)) > 1
        refused = not told["allowed"]
        assert [step["passed"] for step in told["steps"]][-1] == told["allowed"] and all(step["passed"] for step in told["steps"][:-2])
        assert refused or [step["step"] for step in told["steps"] if not step["passed"]] == (
            [] if alone["allowed"] else [alone_step(alone)]
        )
        if stateful and refused and alone["allowed"]:
            assert any(
                rule["detail"] in told["steps"][-1]["detail"] for rule in told["stateful_rules"] if rule["verdict"] == told["reason"]
            )
        self.met.update(f"told {rule} {verdict}" for rule, _, verdict in rules)
        return told

    def every_key(self) -> list[str]:
        inside = [f"inside.{area}.{person}" for area in AREAS for person in PERSONS]
        pins = [f"pin.{person}" for person in PERSONS]
        return [*inside, *pins, *(f"area.{area}" for area in AREAS), *(f"door.{door}" for door in DOORS), "pass.p0", "pass.p1", "pass.p2"]

    def hold_refusal(self, asking: Asking, settlement: Settlement, taken: Record, before: Records) -> None:
        """Takes nothing; changes wrong PINs and who asked first at most. Who leaves is never refused for where they are."""
        assert not taken
        old, new = clean(before), clean(self.records)
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        first = {f"door.{asking.door}"} if settlement.reason in ("second_person_needed", "occupancy_full") else set[str]()
        assert changed <= {f"pin.{asking.person}"} | first
        for key in changed & first:
            assert all(old.get(key, {}).get(field) == new[key].get(field) for field in ("opened_day", "openers", "opened_revision"))
        # Also when there is no room for two.
        if changed & first or (settlement.reason == "second_person_needed" and self.comes_by_own(asking.person, asking.door)):
            self.asked[asking.door] = (asking.person, asking.now_ms)
        door = self.twin.bag["door"][asking.door]
        if self.twin.counted_area(door, "enters") is None:
            assert settlement.reason not in ("anti_passback", "occupancy_full")

    def hold_grant(self, asking: Asking, settlement: Settlement, taken: Record, before: Records) -> None:
        door = self.twin.bag["door"][asking.door]
        self.used.update(taken.get("passes", []))
        opened_by_rule = settlement.rule in GRANTS
        self.met["without a grant"] += not opened_by_rule and door["mode"] == "first_person_in"
        if opened_by_rule and settlement.rule is not None and (grant := self.twin.bag["grant"][settlement.rule])["pass"] is not None:
            # A first person who came along used passes too, of a grant that may allow more uses of the same.
            own = {name: self.used[name] - (taken["passes"].count(name) - 1) for name, _ in limits_of(grant)}
            assert all(own[name] <= uses for name, uses in limits_of(grant)), "used more often than it may be"
        if opened_by_rule and door["two_persons_seconds"] is not None:
            first, at_ms = self.asked.pop(asking.door)
            assert first == taken["first_person"] != asking.person, "opened for one"
            assert abs(asking.now_ms - at_ms) <= int(str(door["two_persons_seconds"])) * 1_000
        else:
            assert "first_person" not in taken
        left, entered = self.twin.counted_area(door, "leaves"), self.twin.counted_area(door, "enters")
        assert left in (None, entered) or inside_since(self.records, left, asking.person) is None
        assert entered is None or inside_since(self.records, entered, asking.person) is not None
        self.met["entered again"] += taken.get("entered_inside_since") is not None

    @invariant()
    def as_many_as_counted_are_inside(self) -> None:
        for area in AREAS:
            inside = [person for person in PERSONS if inside_since(self.records, area, person) is not None]
            assert self.records.get(f"area.{area}", {}).get("count", 0) == len(inside), (area, inside)

    @invariant()
    def every_use_is_counted_once(self) -> None:
        for name in ("p0", "p1", "p2"):
            assert self.records.get(f"pass.{name}", {}).get("used", 0) == self.used[name] >= 0


def test_every_history_of_attempts_comes_to_what_the_twin_says() -> None:
    Attempts.met.clear()
    # What is drawn hangs on hypothesis and on the modules that are loaded: what is rare may need another round.
    for number in range(ROUNDS_MAX):
        run_state_machine_as_test(
            Attempts,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=EXAMPLES == EXAMPLES_DEFAULT and number == 0,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if Attempts.met.keys() >= DEMANDED:
            break
    assert Attempts.met.keys() >= DEMANDED, DEMANDED - Attempts.met.keys()
    assert Attempts.met["attempts"] >= EXAMPLES * ATTEMPTS_PER_EXAMPLE_MIN
