"""The lock in a world that delays, replays, reorders and drops, with a drifting tick and restarts, beside a plain model of its law.

Time is held in microseconds of truth; the lock sees milliseconds of its own tick, up to 100 ppm fast or slow. The organization signs with
the true time.

Held at every acceptance:
- no id opens twice in one power cycle;
- nothing is accepted at a true time >= exp + the uncertainty that the lock states;
- nothing is accepted whose iat lies before the first time that it was told since its start;
- no lease keeps the bolt back at a true time >= its exp + that uncertainty, and none of a hold that is over, or older, begins again;
- nothing is accepted while the stated uncertainty is above 1,000 ms, and the truth is inside of what the lock states.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from py_service._core_rs import KeyRing, LockRefusal, LockVerifier

ORGANIZATION, LOCK, DOOR, KEY_ID = "acme", "lock-1", "front", "acme.1"
START_MS = 1_795_420_800_000
MEMORY_MAX = 3
UNCERTAINTY_MAX_MS = 1_000

RING = KeyRing(bytes(32))
RING.generate("command", ORGANIZATION, KEY_ID)
RING.activate("command", ORGANIZATION, KEY_ID)
PUBLIC_KEY = RING.public_key("command", ORGANIZATION, KEY_ID)


@dataclass(frozen=True)
class Command:
    identifier: str
    issued_ms: int
    expires_ms: int
    message: bytes
    holds: bool = False


@dataclass(frozen=True)
class Answer:
    nonce: bytes
    told_ms: int
    message: bytes


def drift(ticks: int) -> int:
    return -(-ticks // 9_999)


@dataclass
class Model:
    """The law of docs/protocols/tokens.md in plain Python; it keeps everything and forgets by the letter."""

    nonce: bytes | None = None
    asked: int = 0
    fix: tuple[int, int, int] | None = None  # tick, now, uncertainty
    first_ms: int | None = None
    remembered: dict[str, int] = field(default_factory=dict)
    lease: tuple[str, int, int] | None = None  # hold, issued, expires
    released: bool = False

    def reading(self, tick: int) -> tuple[int, int, int] | None:
        """Now, uncertainty, drift."""
        if self.fix is None:
            return None
        elapsed = tick - self.fix[0]
        return self.fix[1] + elapsed, self.fix[2] + drift(elapsed), drift(elapsed)

    def answer(self, answer: Answer, tick: int) -> str | None:
        if self.nonce != answer.nonce:
            return "time_nonce"
        self.nonce = None
        round_trip = tick - self.asked
        uncertainty = round_trip + drift(round_trip) + 2
        held = self.reading(tick)
        earliest = held[0] - held[2] if held else answer.told_ms
        if answer.told_ms + uncertainty < earliest:
            return "time_backwards"
        self.fix = (tick, max(answer.told_ms, earliest), uncertainty)
        self.first_ms = answer.told_ms if self.first_ms is None else self.first_ms
        return None

    def command(self, command: Command, tick: int) -> str | None:
        reading = self.reading(tick)
        if reading is None or self.first_ms is None or reading[1] > UNCERTAINTY_MAX_MS:
            return "clock_unsure"
        now, uncertainty, _ = reading
        refusals = (
            (command.issued_ms < self.first_ms, "command_before_start"),
            (command.issued_ms > now + uncertainty, "command_not_yet_valid"),
            (now >= command.expires_ms, "command_expired"),
            (command.holds and self.is_replayed(command), "command_replayed"),
            (not command.holds and command.identifier in self.remembered, "command_replayed"),
        )
        for refused, code in refusals:
            if refused:
                return code
        if command.holds:
            self.lease, self.released = (command.identifier, command.issued_ms, command.expires_ms), False
            return None
        self.remembered = {name: expires for name, expires in self.remembered.items() if now < expires + uncertainty}
        if len(self.remembered) >= MEMORY_MAX:
            return "memory_full"
        self.remembered[command.identifier] = command.expires_ms
        return None

    def is_replayed(self, lease: Command) -> bool:
        """Older than the last one, or of a hold that is over."""
        if self.lease is None:
            return False
        return lease.issued_ms < self.lease[1] or (self.released and lease.identifier == self.lease[0])

    def holds(self, tick: int) -> bool:
        """Whether a lease keeps the bolt back; once it doesn't, only a newer one does again."""
        reading = self.reading(tick)
        sure = reading is not None and reading[1] <= UNCERTAINTY_MAX_MS
        stands = sure and self.lease is not None and not self.released and reading is not None and reading[0] < self.lease[2]
        self.released = self.released or not stands
        return stands


class LockWorld(RuleBasedStateMachine):
    @initialize(parts_per_million=st.integers(-100, 100), phase_us=st.integers(0, 999))
    def power_on(self, parts_per_million: int, phase_us: int) -> None:
        self.true_us = START_MS * 1_000 + phase_us
        self.parts_per_million = parts_per_million
        self.sequence = 0
        self.commands: list[Command] = []
        self.answers: list[Answer] = []
        self.questions: list[bytes] = []
        self.start()
        self.sync(0, 10)

    def start(self) -> None:
        self.started_us = self.true_us
        self.lock = LockVerifier(ORGANIZATION, LOCK, KEY_ID, PUBLIC_KEY, MEMORY_MAX)
        self.model = Model()
        self.opened: set[str] = set()

    @property
    def true_ms(self) -> int:
        return self.true_us // 1_000

    @property
    def tick(self) -> int:
        elapsed = self.true_us - self.started_us
        return (elapsed + elapsed * self.parts_per_million // 1_000_000) // 1_000

    @rule(wait_ms=st.one_of(st.integers(0, 40), st.integers(0, 6_000)))
    def wait(self, wait_ms: int) -> None:
        # Parts of a millisecond, so that ticks and times are cut at different places.
        self.true_us += wait_ms * 1_000 + wait_ms % 7 * 100

    @rule()
    def wait_for_the_end_of_a_command(self) -> None:
        """Where the law is sharp: about the expiry of the latest command, by the clock of the lock."""
        if self.commands and self.model.fix is not None:
            now_ms = self.model.fix[1] + self.tick - self.model.fix[0]
            self.true_us += max(0, self.commands[-1].expires_ms - now_ms - 1) * 1_000 + 500

    @rule(hours=st.integers(1, 4))
    def wait_long(self, hours: int) -> None:
        self.true_us += hours * 3_600_000_000

    @rule()
    def restart(self) -> None:
        self.true_us += 1_000
        self.start()

    @rule()
    def ask(self) -> None:
        self.sequence += 1
        nonce = self.sequence.to_bytes(16, "big")
        self.lock.begin_time(nonce, self.tick)
        self.model.nonce, self.model.asked = nonce, self.tick
        self.questions.append(nonce)

    @rule(there_ms=st.integers(0, 30), back_ms=st.one_of(st.integers(0, 30), st.integers(900, 1_100)))
    def sync(self, there_ms: int, back_ms: int) -> None:
        """A whole exchange, prompt or delayed."""
        self.ask()
        self.wait(there_ms)
        self.answer(self.questions[-1])
        self.wait(back_ms)
        self.deliver_answer(self.answers[-1])

    @precondition(lambda self: self.questions)
    @rule(data=st.data())
    def organization_answers(self, data: st.DataObject) -> None:
        """The latest question or an old one, as often as somebody asks."""
        self.answer(data.draw(st.sampled_from(self.questions[-3:])))

    def answer(self, nonce: bytes) -> None:
        self.answers.append(Answer(nonce, self.true_ms, RING.sign_time(ORGANIZATION, LOCK, nonce, self.true_ms)))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def answer_arrives(self, data: st.DataObject) -> None:
        """The latest, or any earlier one again."""
        self.deliver_answer(data.draw(st.sampled_from(self.answers[-4:])))

    def deliver_answer(self, answer: Answer) -> None:
        expected = self.model.answer(answer, self.tick)
        found: str | None = None
        try:
            self.lock.accept_time(answer.message, self.tick)
        except LockRefusal as refused:
            found = refused.code
        assert found == expected

    @rule(life_ms=st.one_of(st.just(5_000), st.integers(1, 5_000)))
    def organization_commands(self, life_ms: int) -> None:
        self.sequence += 1
        self.issue(f"id-{self.sequence}", life_ms)

    @rule(
        number=st.integers(1, 3), life_ms=st.one_of(st.just(5_000), st.integers(1, 5_000)),
        on_the_way_ms=st.one_of(st.none(), st.integers(0, 40)),
    )  # fmt: skip
    def organization_leases(self, number: int, life_ms: int, on_the_way_ms: int | None) -> None:
        """A lease of some hold; it comes through, or arrives some time, or never."""
        self.issue(f"hold-{number}", life_ms, holds=True)
        if on_the_way_ms is not None:
            self.wait(on_the_way_ms)
            self.deliver(self.commands[-1])

    @rule()
    def release(self) -> None:
        """The service gave no further lease."""
        self.lock.release_hold()
        self.model.released = True

    @rule(life_ms=st.one_of(st.just(5_000), st.integers(1, 5_000)), on_the_way_ms=st.integers(0, 40))
    def unlock(self, life_ms: int, on_the_way_ms: int) -> None:
        """A command that comes through."""
        self.organization_commands(life_ms)
        self.wait(on_the_way_ms)
        self.deliver(self.commands[-1])

    @precondition(lambda self: self.commands)
    @rule(data=st.data())
    def organization_commands_again(self, data: st.DataObject) -> None:
        """The same id in another message, within the life of the first: the lock must know it by its id, not by its bytes."""
        first = data.draw(st.sampled_from(self.commands[-2:]))
        if self.true_ms < first.expires_ms:
            self.issue(first.identifier, first.expires_ms - self.true_ms, holds=first.holds)

    def issue(self, identifier: str, life_ms: int, *, holds: bool = False) -> None:
        expires_ms = self.true_ms + life_ms
        action = "hold" if holds else "unlock"
        message = RING.sign_command(ORGANIZATION, LOCK, DOOR, action, identifier, self.true_ms, expires_ms)
        self.commands.append(Command(identifier, self.true_ms, expires_ms, message, holds))

    @precondition(lambda self: self.commands)
    @rule(data=st.data())
    def command_arrives(self, data: st.DataObject) -> None:
        """The latest, or any earlier one again, however late."""
        self.deliver(data.draw(st.sampled_from(self.commands[-6:])))

    @precondition(lambda self: self.commands)
    @rule()
    def latest_command_arrives_again(self) -> None:
        self.deliver(self.commands[-1])

    def deliver(self, command: Command) -> None:
        expected = self.model.command(command, self.tick)
        found: str | None = None
        try:
            take = self.lock.take_lease if command.holds else self.lock.verify
            assert take(command.message, self.tick).id == command.identifier
        except LockRefusal as refused:
            found = refused.code
        self.deliver_wrongly(command)
        if found is None:
            self.check_accepted(command)
        assert found == expected

    def deliver_wrongly(self, command: Command) -> None:
        """By the other entry: refused, and nothing is remembered of it."""
        take = self.lock.verify if command.holds else self.lock.take_lease
        try:
            take(command.message, self.tick)
        except LockRefusal as refused:
            assert refused.code == "command_action_unknown"
        else:
            raise AssertionError("one passed for the other")

    def check_accepted(self, command: Command) -> None:
        uncertainty_ms = self.lock.uncertainty_ms(self.tick)
        assert command.holds or command.identifier not in self.opened, "opened twice"
        assert self.true_us < (command.expires_ms + uncertainty_ms) * 1_000, "opened too late"
        assert self.model.first_ms is not None and command.issued_ms >= self.model.first_ms, "from before the start"
        assert uncertainty_ms <= UNCERTAINTY_MAX_MS
        self.opened.add(command.identifier)

    @invariant()
    def the_bolt_is_kept_back_by_a_lease_that_lives(self) -> None:
        stood = self.model.holds(self.tick)
        assert self.lock.holds(self.tick) == stood
        if stood:
            assert self.model.lease is not None
            assert self.true_us < (self.model.lease[2] + self.lock.uncertainty_ms(self.tick)) * 1_000, "held too long"

    @invariant()
    def truth_is_inside_of_what_the_lock_states(self) -> None:
        if self.model.fix is not None:
            now_ms, uncertainty_ms = self.lock.now_ms(self.tick), self.lock.uncertainty_ms(self.tick)
            assert (now_ms, uncertainty_ms) == self.model.reading(self.tick)[:2]  # type: ignore[index]  # there is a fix
            assert self.true_us <= (now_ms + uncertainty_ms) * 1_000
            assert self.true_us >= (now_ms - drift(self.tick - self.model.fix[0])) * 1_000


LockWorld.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLockWorld = LockWorld.TestCase
