"""The plain twin of `settle` and `give_back`, written from "Stateful rules" of docs/protocols/documents.md and from nothing else.

Records are dictionaries by key, as the service keeps them in `states`; nothing is ever missing. Part of no process: it is what the
core is compared with.
"""

import copy
import datetime
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.property.oracle import Document, Judged, Organization, documents, number, text

Record = dict[str, Any]
Records = dict[str, Record]
PIN_TRIES_MAX = 5
PIN_WAIT_MS = 600_000
OPENERS_MAX = 3
FIRST_DAY = datetime.date(1970, 1, 1)


class Asking(NamedTuple):
    """Who asks for which door, when, with what PIN (right, wrong, or none), by a token of which session, issued when; and the revision of
    the permissions."""

    person: str
    door: str
    now_ms: int
    pin: bool | None
    issued_at_ms: int
    session: str
    revision: int


class Outcome(NamedTuple):
    allowed: bool
    reason: str
    rule: str | None
    taken: Record
    records: Records


class Refused(Exception):
    def __init__(self, reason: str, rule: str | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rule = rule


def tidy(record: Record) -> Record:
    """Without what says nothing: nobody, never, none."""
    return {field: value for field, value in record.items() if value not in (None, 0, False, [])}


def settle(organization: Organization, asking: Asking, records: Records) -> Outcome:
    """What `asking` comes to, and the records after it. The records that are given stay as they are."""
    judged = organization.judge(asking.person, asking.door, asking.now_ms)
    answer = judged.answer
    if not organization.is_stateful(judged, asking.door):
        return Outcome(*answer, {}, records)
    attempt = Attempt(organization, asking, judged, records)
    try:
        rule = attempt.settled()
    except Refused as refused:
        kept = {key for key in attempt.records if key.startswith("pin.")}
        if refused.reason in ("second_person_needed", "occupancy_full"):
            kept.add(f"door.{asking.door}")
        after = records | {key: attempt.records[key] for key in kept & attempt.records.keys()}
        return Outcome(False, refused.reason, refused.rule, {}, after)
    return Outcome(True, "granted", rule, tidy(attempt.taken), attempt.records)


class Attempt:
    """One attempt, on a copy of the records."""

    def __init__(self, organization: Organization, asking: Asking, judged: Judged, records: Records) -> None:
        self.organization = organization
        self.asking = asking
        self.judged = judged
        self.door = organization.bag["door"][asking.door]
        self.records: Records = copy.deepcopy(records)
        self.taken: Record = {"passes": []}

    def record(self, key: str) -> Record:
        return self.records.setdefault(key, {})

    def settled(self) -> str | None:
        """The rule. Raises Refused."""
        asking, judged = self.asking, self.judged
        answer, today = judged.answer, None if judged.day is None else (judged.day - FIRST_DAY).days
        door = self.record(f"door.{asking.door}")
        open_for_all = self.is_open_for_all(today, door)
        if not answer.allowed and not open_for_all:
            raise Refused(answer.reason, answer.rule)
        if answer.allowed and judged.mode == "card_and_pin":
            self.hear_pin()
        self.taken |= self.move(asking.person)
        if open_for_all:
            self.keep_open(door)
            return asking.door
        if self.door.get("two_persons_seconds") is not None and judged.mode != "unlocked":
            rule = self.hear_two(door)
        else:
            rule = self.use(judged, self.taken["passes"]) or answer.rule
        if today is not None:
            door |= {"opened_day": today, "openers": 1, "opened_revision": asking.revision}
            self.taken |= {"opened_for_all": True, "opened_day": today, "opened_revision": asking.revision}
        return rule

    def is_open_for_all(self, today: int | None, door: Record) -> bool:
        return today is not None and door.get("opened_day") == today and self.is_since_lockdown(door.get("opened_revision", 0))

    def is_since_lockdown(self, revision: int) -> bool:
        places = self.organization.lockdown_places(self.asking.door, self.door)
        return all(revision >= number(holder, "lockdown_revision") for _, holder, _ in places)

    def keep_open(self, door: Record) -> None:
        """Who would have opened it alone, without a use that is counted, is one more of those who did; three are counted."""
        opens = self.judged.answer.allowed and not self.judged.choices and self.door.get("two_persons_seconds") is None
        if opens and door["openers"] < OPENERS_MAX:
            door["openers"] += 1
            self.taken |= {"opened_for_all": True} | {field: door[field] for field in ("opened_day", "opened_revision")}

    def hear_pin(self) -> None:
        record, now_ms = self.record(f"pin.{self.asking.person}"), self.asking.now_ms
        over = record.get("wrong_since") is None or now_ms - record["wrong_since"] >= PIN_WAIT_MS
        wrong, since = (0, now_ms) if over else (record["wrong"], record["wrong_since"])
        if wrong >= PIN_TRIES_MAX:
            raise Refused("rate_limited", None)
        if self.asking.pin is None:
            raise Refused("pin_needed", None)
        record.clear()
        if not self.asking.pin:
            record.update(wrong=wrong + 1, wrong_since=since)
            raise Refused("pin_wrong", None)

    def move(self, person: str) -> Record:
        """Out of one area and into another: what of it counted."""
        moved: Record = {}
        area = self.organization.counted_area(self.door, "leaves")
        if area is not None and (since := inside_since(self.records, area, person)) is not None:
            at_ms = move_ms(self.records, area, person, self.asking.now_ms)
            self.record(f"area.{area}")["count"] -= 1
            self.record(f"inside.{area}.{person}").update(entered_at=None, left_at=at_ms)
            moved |= {"left": area, "left_at": at_ms, "left_inside_since": since}
        area = self.organization.counted_area(self.door, "enters")
        if area is not None:
            moved |= self.enter(area, person)
        return moved

    def enter(self, area: str, person: str) -> Record:
        terms, record, now_ms = self.organization.bag["area"][area], self.record(f"area.{area}"), self.asking.now_ms
        since, rule = inside_since(self.records, area, person), terms.get("anti_passback", "off")
        at_ms = move_ms(self.records, area, person, now_ms)
        moved: Record = {"entered": area, "entered_at": at_ms, "entered_inside_since": since}
        if since is None:
            limit = terms.get("occupancy_max")
            if isinstance(limit, int) and record.get("count", 0) >= limit:
                raise Refused("occupancy_full", area)
            record["count"] = record.get("count", 0) + 1
        elif rule == "soft":
            moved["passed_back"] = area
        elif rule == "hard" or (rule == "timed" and not is_over(terms, since, now_ms)):
            raise Refused("anti_passback", area)
        self.record(f"inside.{area}.{person}")["entered_at"] = at_ms
        record["last_at"] = max(at_ms, record.get("last_at") or at_ms)
        return moved

    def use(self, judged: Judged, passes: list[str]) -> str | None:
        """The grant on which a use was counted; null when none is counted."""
        for grant_id, grant in judged.choices:
            limits = list(limits_of(grant))
            if all(self.record(f"pass.{name}").get("used", 0) < uses for name, uses in limits):
                for name in dict.fromkeys(name for name, _ in limits):
                    self.record(f"pass.{name}")["used"] = self.record(f"pass.{name}").get("used", 0) + 1
                    passes.append(name)
                return grant_id
        if judged.choices:
            raise Refused("pass_used_up", judged.choices[0][0])
        return None

    def hear_two(self, door: Record) -> str | None:
        """Two come by what is their own, one lately and one now; else whoever asks now is the first. By passes alone nobody is either."""
        own = self.organization.judge_own(self.asking.person, self.asking.door, self.asking.now_ms)
        if not own.answer.allowed:
            self.use(self.judged, [])
            raise Refused("second_person_needed", self.asking.door)
        asking, first, within_ms = self.asking, door.get("first_person"), int(str(self.door["two_persons_seconds"])) * 1_000
        full: Refused | None = None
        lately = first not in (None, asking.person) and abs(asking.now_ms - door["first_at"]) <= within_ms
        lately = lately and self.is_since_lockdown(door.get("first_revision", 0))
        if lately and self.token_stands(str(first), door["first_issued_at"], door["first_session"]):
            firsts = self.organization.judge_own(str(first), asking.door, asking.now_ms)
            before = copy.deepcopy(self.records)
            try:
                without_pin = self.judged.mode == "card_and_pin" and not door.get("first_with_pin")
                if not firsts.answer.allowed or without_pin:
                    raise Refused("nobody", None)
                moved = self.move(str(first))
            except Refused as refused:
                self.records = before
                full = refused if refused.reason == "occupancy_full" else None
            else:
                self.remember_first({})
                self.taken |= {"first_person": first, "first_moved": tidy(moved) or None}
                return own.answer.rule
        shown = {"first_issued_at": asking.issued_at_ms, "first_session": asking.session, "first_revision": asking.revision}
        pin = self.judged.mode == "card_and_pin"
        self.remember_first({"first_person": asking.person, "first_at": asking.now_ms, "first_with_pin": pin, **shown})
        raise full or Refused("second_person_needed", asking.door)

    def remember_first(self, first: Record) -> None:
        names = ("first_person", "first_at", "first_with_pin", "first_issued_at", "first_session", "first_revision")
        self.record(f"door.{self.asking.door}").update({name: first.get(name) for name in names})

    def token_stands(self, person: str, issued_at_ms: int, session: str) -> bool:
        """Not revoked since: neither by name, nor with all of that person's, nor by the person's own end."""
        document = self.organization.bag["person"].get(person)
        return (
            document is not None
            and issued_at_ms >= number(document, "tokens_valid_after")
            and session not in self.organization.bag["session"]
        )


def rules_told(organization: Organization, asking: Asking, records: Records) -> list[tuple[str, str, str]]:
    """What an explanation tells of every stateful rule that is asked (rule, of what, verdict), also behind one that refuses."""
    judged = organization.judge(asking.person, asking.door, asking.now_ms)
    if not organization.is_stateful(judged, asking.door):
        return []
    attempt, answer, told = Attempt(organization, asking, judged, records), judged.answer, list[tuple[str, str, str]]()
    today, door = None if judged.day is None else (judged.day - FIRST_DAY).days, attempt.record(f"door.{asking.door}")
    open_for_all = attempt.is_open_for_all(today, door)
    if today is not None:
        told.append(("first_person_in", asking.door, "holds" if answer.allowed or open_for_all else answer.reason))
    if not answer.allowed and not open_for_all:
        return told
    if answer.allowed and judged.mode == "card_and_pin":
        told.append(("card_and_pin", asking.door, verdict_of(attempt.hear_pin)))
    if (out_of := organization.counted_area(attempt.door, "leaves")) is not None:
        told.append(("leaves", out_of, "holds"))
    verdict, area = verdict_of(lambda: attempt.move(asking.person)), organization.counted_area(attempt.door, "enters")
    terms = {} if area is None else organization.bag["area"][area]
    if terms.get("anti_passback", "off") != "off":
        told.append(("anti_passback", str(area), verdict if verdict == "anti_passback" else "holds"))
    if terms.get("occupancy_max") is not None:
        told.append(("occupancy", str(area), verdict if verdict == "occupancy_full" else "holds"))
    if open_for_all:
        return told
    for grant_id, grant in judged.choices:
        left = all(attempt.record(f"pass.{name}").get("used", 0) < uses for name, uses in limits_of(grant))
        told.append(("uses", grant_id, "holds" if left else "pass_used_up"))
    if attempt.door.get("two_persons_seconds") is not None and judged.mode != "unlocked":
        verdict = verdict_of(lambda: attempt.hear_two(door))
        told.append(("two_persons", asking.door, verdict if verdict in ("holds", "occupancy_full") else "second_person_needed"))
    return told


def verdict_of(ask: Callable[[], object]) -> str:
    try:
        ask()
    except Refused as refused:
        return refused.reason
    return "holds"


def limits_of(grant: Document) -> Iterator[tuple[str, int]]:
    """The passes that a use of this grant counts against, with their uses."""
    terms = grant["pass"]
    assert isinstance(terms, dict)
    for count in documents(terms, "counts"):
        uses = count["uses"]
        assert isinstance(uses, int)
        yield text(count, "pass") or "", uses


def is_over(terms: Document, since_ms: int, now_ms: int) -> bool:
    """Whether a timed anti-passback has ended; without minutes it never does."""
    minutes = terms.get("anti_passback_minutes")
    return isinstance(minutes, int) and now_ms - since_ms >= minutes * 60_000


def move_ms(records: Records, area: str, person: str, now_ms: int) -> int:
    """After the area's reset and whatever the person did there before, also by a clock that is behind."""
    inside, reset_at = records.get(f"inside.{area}.{person}", {}), records.get(f"area.{area}", {}).get("reset_at")
    before: list[int] = [moment for moment in (reset_at, inside.get("entered_at"), inside.get("left_at")) if moment is not None]
    return max([now_ms, *(moment + 1 for moment in before)])


def inside_since(records: Records, area: str, person: str) -> int | None:
    entered_at: int | None = records.get(f"inside.{area}.{person}", {}).get("entered_at")
    reset_at = records.get(f"area.{area}", {}).get("reset_at")
    return None if entered_at is None or (reset_at is not None and entered_at <= reset_at) else entered_at


def give_back(asking: Asking, taken: Record, records: Records) -> Records:
    """The records without what the grant of `asking` took; what somebody did since stays."""
    after = copy.deepcopy(records)
    for name in taken.get("passes", []):
        record = after.setdefault(f"pass.{name}", {})
        record["used"] = max(0, record.get("used", 0) - 1)
    for person, moved in ((asking.person, taken), (taken.get("first_person"), taken.get("first_moved", {}))):
        if person is not None:
            undo_entry(person, moved, after)
            undo_leaving(person, moved, after)
    door = after.setdefault(f"door.{asking.door}", {})
    same = all(door.get(field) == taken.get(field) for field in ("opened_day", "opened_revision"))
    if taken.get("opened_for_all") and same:
        door["openers"] -= 1
        door["opened_day"] = door["opened_day"] if door["openers"] else None
    return after


def undo_entry(person: str, moved: Record, after: Records) -> None:
    area = moved.get("entered")
    if area is None:
        return
    if inside_since(after, area, person) == moved["entered_at"]:
        before = moved.get("entered_inside_since")
        after[f"inside.{area}.{person}"]["entered_at"] = before
        if before is None:
            after[f"area.{area}"]["count"] -= 1


def undo_leaving(person: str, moved: Record, after: Records) -> None:
    area = moved.get("left")
    if area is None:
        return
    counted, record = after.setdefault(f"area.{area}", {}), after.setdefault(f"inside.{area}.{person}", {})
    was_reset = counted.get("reset_at") is not None and moved["left_inside_since"] <= counted["reset_at"]
    if inside_since(after, area, person) is None and record.get("left_at") == moved["left_at"] and not was_reset:
        record.update(entered_at=moved["left_inside_since"], left_at=None)
        counted["count"] = counted.get("count", 0) + 1
