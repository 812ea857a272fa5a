"""Limits of the edge and the meter that slows down guessing. What a limit costs is said where it is applied.

Each worker process meters for itself, so a client that reaches all N workers gets N times the rate.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field

from py_service.errors import Problem

_CLIENTS_MAX = 10_000  # about 2 MB; the client that was silent longest is forgotten first


@dataclass(frozen=True, slots=True)
class Limits:
    """`metered` names routes as `METHOD pattern`; `always_open` are paths that answer even when the process is full."""

    requests_concurrent_max: int = 4_096
    body_seconds_max: float = 5.0
    header_count_max: int = 64
    header_bytes_max: int = 16_384
    path_characters_max: int = 1_024
    query_characters_max: int = 2_048
    query_fields_max: int = 16
    metered_burst: int = 30
    metered_per_second: float = 0.5
    metered: frozenset[str] = field(default_factory=lambda: frozenset({"POST /v1/sign-in"}))
    always_open: frozenset[str] = field(default_factory=lambda: frozenset({"/healthz", "/readyz", "/metrics"}))


class ClientMeter:
    """A token bucket per client address (IPv6: per /64, which is what one client is given)."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now_seconds: float) -> None:
        """Take one token. `client` is `address:port`, `now_seconds` a monotonic time. Raises Problem 429 `rate_limited`."""
        key = _client_key(client)
        tokens, seen = self._buckets.pop(key, (self._burst, now_seconds))
        tokens = min(self._burst, tokens + (now_seconds - seen) * self._per_second)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now_seconds)
        if len(self._buckets) > _CLIENTS_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            wait_seconds = int((1.0 - tokens) / self._per_second) + 1
            raise Problem(429, "rate_limited", "Too many attempts from this address.", retry_after_seconds=wait_seconds)


def _client_key(client: str) -> str:
    address = client.rpartition(":")[0].strip("[]")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
