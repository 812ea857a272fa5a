"""Limits of the edge. What a limit costs is said where it is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from py_service.settings import Network


@dataclass(frozen=True, slots=True)
class Limits:
    """`always_open` are paths that answer even when the process is full. Quotas are of one process (edge/meter.py).

    `trusted_proxies` and `forwarded_header`: who is believed about a client's address, by which header (edge/address.py).
    """

    requests_concurrent_max: int = 4_096
    body_seconds_max: float = 5.0
    header_count_max: int = 64
    header_bytes_max: int = 16_384
    path_characters_max: int = 1_024
    query_characters_max: int = 5_120  # the beginning of a name of 200 characters, percent-encoded, beside the longest cursor and filters
    query_fields_max: int = 16
    unlocks_per_minute_max: int = 120
    requests_per_minute_max: int = 1_200
    open_requests_per_minute_max: int = 6_000
    sign_ins_per_minute_max: int = 30
    trusted_proxies: Sequence[Network] = ()
    forwarded_header: str = "x-forwarded-for"
    always_open: frozenset[str] = field(default_factory=lambda: frozenset({"/healthz", "/readyz", "/metrics"}))
