"""The environment of a child, built from nothing: what a process isn't given, it can't leak.

The master key goes to the api alone; the gateway learns of Redis and the public keys, and of no database.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from py_service.settings import Secret, Settings

# What programs need of the surroundings. No NEXKEY_* here: those come from `settings` by name.
SURROUNDINGS = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")

GATEWAY_FIELDS = ("redis_url", "jwks_url", "gateway_host", "gateway_port", "gateway_threads", "environment")
API_FIELDS = tuple(Settings.__dataclass_fields__)
WORKER_FIELDS = tuple(name for name in API_FIELDS if name != "master_key")

# The index of a large organization is hundreds of megabytes, read at random: with large pages `check` takes a quarter less (glibc 2.35).
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def surroundings(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """For programs that aren't ours: the stores."""
    environment = os.environ if source is None else source
    return {name: environment[name] for name in SURROUNDINGS if name in environment}


def settings_environment(settings: Settings, fields: Iterable[str]) -> dict[str, str]:
    """`settings` as `NEXKEY_*` variables, these fields only; plus the surroundings. Inverse of `read_settings`."""
    environment = {**surroundings(), "PYTHONUNBUFFERED": "1"}
    for name in fields:
        value: object = getattr(settings, name)
        if value is not None:
            environment[f"NEXKEY_{name.upper()}"] = _text(value)
    return environment


def _text(value: object) -> str:
    if isinstance(value, Secret):
        return base64.b64encode(value.reveal()).decode()
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    if isinstance(value, Path):
        return str(value.absolute())
    return str(value)
