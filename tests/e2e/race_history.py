"""The history of revokes against unlocks, and its judge: invoke, ok, fail, unknown (in the manner of Jepsen).

Pure: no sockets, no clock. All moments are `time.time_ns() // 1_000_000` of one machine, or finer where ties matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Unlock:
    """`outcome`: granted, refused, or unknown (an error or no answer). `command` is the attempt's id, when there was an answer."""

    pair: int
    door: str
    invoked_ns: int
    outcome: str
    command: str | None


@dataclass(frozen=True, slots=True)
class Revoke:
    """`returned_ns` None: unknown, it promises nothing. `effective_by_ms` as the service said."""

    pair: int
    door: str
    returned_ns: int | None
    effective_by_ms: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A bolt that was drawn back."""

    command: str
    at_ms: int


@dataclass(slots=True)
class History:
    unlocks: list[Unlock] = field(default_factory=list)
    revokes: list[Revoke] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """`stale`: granted although asked for after the revoke had returned. `late_moves`: a bolt moved on it after `effective_by`."""

    judged: int
    stale: list[Unlock]
    late_moves: list[Moved]
    unexplained_moves: list[Moved]

    @property
    def holds(self) -> bool:
        return not (self.stale or self.late_moves or self.unexplained_moves)


def judge(history: History, moves: list[Moved]) -> Verdict:
    """What breaks the promise."""
    revokes = {revoke.pair: revoke for revoke in history.revokes if revoke.returned_ns is not None}
    by_command = {unlock.command: unlock for unlock in history.unlocks if unlock.command is not None}
    after = [unlock for unlock in history.unlocks if _asked_after(unlock, revokes.get(unlock.pair))]
    stale = [unlock for unlock in after if unlock.outcome == "granted"]
    late, unexplained = [], []
    for move in moves:
        unlock = by_command.get(move.command)
        if unlock is None:
            # An unlock whose answer was unknown has no id here; it may have opened, if it wasn't asked for too late.
            continue
        if unlock.outcome == "refused":
            unexplained.append(move)
        revoke = revokes.get(unlock.pair)
        if revoke is not None and move.at_ms > revoke.effective_by_ms:
            late.append(move)
    return Verdict(len(after), stale, late, unexplained)


def _asked_after(unlock: Unlock, revoke: Revoke | None) -> bool:
    return revoke is not None and revoke.returned_ns is not None and unlock.invoked_ns > revoke.returned_ns
