"""Events and their identifiers (docs/protocols/documents.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from py_service.stores.mongo import plain

Event = dict[str, Any]  # BSON is open; docs/protocols/documents.md names the fields
SEQUENCE_DIGITS = 12
INDEX_DIGITS = 3
COMMAND_LIFE_MS_MAX = 5_000
COMMAND_REPLAYED = "command_replayed"
LOCK_CLOCK_ERROR_MS_MAX = 1_000  # a lock that is less sure of the time refuses
# What whoever may see events sees of one, beside its id.
SHOWN = (
    "kind", "at", "attempt", "door", "person", "lock", "reason", "rule", "revision", "passed_back", "actor", "subject", "sites", "detail",
)  # fmt: skip

_ENCODER = msgspec.json.Encoder(enc_hook=plain)


def make_event(kind: str, organization: str, at_ms: int, **fields: object) -> Event:
    """An event without its empty fields."""
    event: Event = {"kind": kind, "org": organization, "at": at_ms}
    for name, value in fields.items():
        if value is not None:
            event[name] = value
    return event


def command_expires_at_ms(at_ms: int, wait_seconds: int | None) -> int:
    """The latest moment of the command that a grant of `at_ms` (its T) leads to: T + 5 s, or T + the wait that was asked for."""
    life = min(COMMAND_LIFE_MS_MAX, wait_seconds * 1_000) if wait_seconds else COMMAND_LIFE_MS_MAX
    return at_ms + life


def journal_id(log: str, seq: int) -> str:
    """`_id` of a journal document."""
    return f"{log}:{seq:012d}"


def event_id(log: str, seq: int, index: int) -> str:
    """An event's name, before and after projection."""
    return f"{log}:{seq:012d}:{index:03d}"


@dataclass(frozen=True, slots=True)
class EventName:
    """The parts of an event's id."""

    log: str
    seq: int
    index: int

    @property
    def journal_id(self) -> str:
        return journal_id(self.log, self.seq)


def parse_event_id(text: str) -> EventName | None:
    """None when `text` isn't an event's id; bounded before it is parsed."""
    if len(text) > 96:
        return None
    parts = text.split(":")
    if len(parts) != 3:
        return None
    log, seq, index = parts
    digits = len(seq) == SEQUENCE_DIGITS and len(index) == INDEX_DIGITS and (seq + index).isascii() and (seq + index).isdigit()
    if not digits or not log.isascii():
        return None
    return EventName(log, int(seq), int(index))


CERTAINLY_SHUT = ("door_unreachable", "command_expired", "lock_refused", "lock_jammed")


def stayed_shut(event: Mapping[str, Any]) -> bool:
    """Whether this end of an attempt says for certain that the door didn't open. Of a command that was used before nobody can."""
    if event["kind"] == "not_commanded":
        return True
    said = event.get("detail") or {}
    return event["kind"] == "unlocked.failed" and event.get("reason") in CERTAINLY_SHUT and said.get("lock_reason") != COMMAND_REPLAYED


class Cut(NamedTuple):
    """Connections that end: those whose token was decided before that revision, of the subject, or of all when it is None."""

    organization: str
    subject: str | None
    revision: int


def cut_of(event: Mapping[str, Any]) -> Cut | None:
    """What a change ends is written in its event: whoever reads the journal later ends the same as who committed it."""
    match event.get("cuts"):
        case "subject":
            return Cut(str(event["org"]), str(event["subject"]), int(event["revision"]))
        case "organization":
            return Cut(str(event["org"]), None, int(event["revision"]))
        case _:
            return None


def topics_of(event: Mapping[str, object]) -> tuple[str, ...]:
    """The organization's feed, and the person's own for what is about a person at a door."""
    organization = event["org"]
    feed = f"organizations/{organization}/events"
    person = event.get("person")
    return (feed, f"organizations/{organization}/persons/{person}/events") if person else (feed,)


def event_body(identifier: str, event: Mapping[str, object]) -> bytes:
    """JSON as subscribers see it: what `GET /v1/events` shows. What only the service needs (`taken`, `key`, `wait`, `cuts`) stays."""
    return _ENCODER.encode({"id": identifier, **{name: event[name] for name in SHOWN if name in event}})
