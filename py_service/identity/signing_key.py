"""A signing key's life, as a pure function of its document and the time: published, active, still verifying, retired.

Every process comes to the same answer without talking to another: a key signs from its `activate_at`, which lies far enough ahead for
everybody to have loaded it, until the next key's; then it verifies for as long as a token that it signed can live.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

State = Literal["active", "verifying", "retired"]

# Gateways fetch the key set every 60 s, caches hold it for 30 s at most, processes load keys every few seconds.
PUBLISHED_AHEAD_MS = 120_000
# An access token lives 300 s; the rest is for clocks.
VERIFIES_AFTERWARDS_MS = 360_000


class SigningKey(msgspec.Struct, frozen=True):
    """A document of `signing_keys`. `sealed` is encrypted under the master key; `activate_at` in ms since the epoch."""

    purpose: str
    org: str
    kid: str
    sealed: bytes
    state: State
    created_at: int
    activate_at: int

    @property
    def number(self) -> int:
        """`kid` ends in `.<number>`; the order of the keys of one purpose and organization."""
        return int(self.kid.rpartition(".")[2])

    @property
    def document_id(self) -> str:
        return f"{self.purpose}:{self.org}:{self.kid}"


def states_at(keys: Iterable[SigningKey], now_ms: int) -> dict[str, State]:
    """State by `kid` of the keys of one purpose and organization. One is active whenever there is one at all that isn't retired."""
    alive = sorted((key for key in keys if key.state != "retired"), key=lambda key: key.number)
    if not alive:
        return {}
    states: dict[str, State] = {}
    active = next((key for key in reversed(alive) if key.activate_at <= now_ms), alive[0])
    for key, following in zip(alive, [*alive[1:], None], strict=True):
        over = following is not None and now_ms >= following.activate_at + VERIFIES_AFTERWARDS_MS
        states[key.kid] = "active" if key is active else "retired" if over else "verifying"
    return states
