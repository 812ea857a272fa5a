"""Settings come from the environment, once, at the start. An unknown `NEXKEY_*` name stops the start: it is a typing error.

Secrets are wrapped so that no log line and no traceback shows them.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_service.errors import SettingsError

MASTER_KEY_BYTES = 32
PORT_MAX = 65_535
GROUP_EVENTS_MAX = 1_000  # an event's id ends with its place in the document, in three digits
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
IDENTIFIER = re.compile(r"[a-z0-9_-]{1,64}\Z")
FORWARDED_HEADERS = ("x-forwarded-for", "forwarded")
CLIENT_VARIABLES = frozenset({"NEXKEY_API_URL", "NEXKEY_TOKEN"})  # of the commands that speak HTTP: no process of the service reads them

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Secret:
    """Bytes that do not show themselves."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Each field is `NEXKEY_<FIELD>` in the environment."""

    mongo_url: str | None = None  # none: `nexkey up` starts the embedded store
    mongo_database: str = "nexkey"
    redis_url: str | None = None
    data_folder: Path = Path(".nexkey")
    master_key: Secret | None = None  # base64, 32 bytes; the api needs it, and `nexkey key rotate`
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    api_workers: int = 2
    operator_organization: str | None = None  # its owners found, suspend and archive organizations over HTTP; none: nobody does
    public_url: str = "http://127.0.0.1:8080"  # what links to people begin with
    smtp_url: str | None = None  # smtp://user:password@host:587 (STARTTLS) or smtps://; none: mails are kept in the data folder
    mail_from: str = "Nexkey <nexkey@localhost>"
    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8081
    gateway_threads: int = 1
    jwks_url: str | None = None  # none: the api on this machine
    environment: str = "development"  # "production" refuses debug builds and embedded stores
    log_level: str = "info"

    # The fences, that of the commit groups and that of the edge (and of devices), can be switched off only to show that the revoke races
    # then fail. Refused in production.
    fence: bool = True
    edge_fence: bool = True

    # Limits
    store_timeout_ms: int = 800
    bus_timeout_ms: int = 200
    group_events_max: int = 256
    group_bytes_max: int = 1_000_000
    queue_members_max: int = 4_096
    requests_concurrent_max: int = 4_096

    # Quotas: for each process. Of a person or an API key, then of a client's address (IPv6: /64), for operations without a caller.
    unlocks_per_minute_max: int = 120
    requests_per_minute_max: int = 1_200
    open_requests_per_minute_max: int = 6_000  # what isn't proved to be anybody's, too; all locks of a site come from one address
    sign_ins_per_minute_max: int = 30

    # Proxies that are believed about who the client is: networks, with commas between them. Only this one header of theirs is read.
    trusted_proxies: tuple[Network, ...] = ()
    forwarded_header: str = "x-forwarded-for"  # or "forwarded" (RFC 7239)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises SettingsError that names the setting."""
    source = os.environ if environment is None else environment
    known = {f"NEXKEY_{name.upper()}": name for name in Settings.__dataclass_fields__}
    values: dict[str, object] = {}
    for variable, text in source.items():
        if not variable.startswith("NEXKEY_") or variable in CLIENT_VARIABLES:
            continue
        if variable not in known:
            raise SettingsError(f"{variable}: no such setting")
        name = known[variable]
        values[name] = _read(variable, name, text)
    settings = Settings(**values)  # type: ignore[arg-type]  # each value was read by the type of its field
    _check(settings)
    return settings


def _read(variable: str, name: str, text: str) -> object:
    kind = str(Settings.__dataclass_fields__[name].type)
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise SettingsError(f"{variable}: not a whole number") from None
    if kind == "bool":
        if text not in ("0", "1"):
            raise SettingsError(f"{variable}: 0 or 1")
        return text == "1"
    if kind == "Path":
        return Path(text)
    if kind.startswith("tuple[Network"):
        return _networks(variable, text)
    if kind.startswith("Secret"):
        return _secret(variable, text)
    return text or None if "None" in kind else text


def _secret(variable: str, text: str) -> Secret:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError(f"{variable}: not base64") from None
    if len(value) != MASTER_KEY_BYTES:
        raise SettingsError(f"{variable}: {MASTER_KEY_BYTES} bytes are needed")
    return Secret(value)


def _networks(variable: str, text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None


def _check(settings: Settings) -> None:
    positive = (
        "api_workers",
        "gateway_threads",
        "store_timeout_ms",
        "bus_timeout_ms",
        "group_events_max",
        "group_bytes_max",
        "queue_members_max",
        "requests_concurrent_max",
        "unlocks_per_minute_max",
        "requests_per_minute_max",
        "open_requests_per_minute_max",
        "sign_ins_per_minute_max",
    )
    for name in positive:
        if getattr(settings, name) < 1:
            raise SettingsError(f"NEXKEY_{name.upper()}: 1 or more")
    if settings.group_events_max > GROUP_EVENTS_MAX:
        raise SettingsError(f"NEXKEY_GROUP_EVENTS_MAX: {GROUP_EVENTS_MAX} at most")
    for name in ("api_port", "gateway_port"):  # 0: one that is free
        if not 0 <= getattr(settings, name) <= PORT_MAX:
            raise SettingsError(f"NEXKEY_{name.upper()}: 0 to {PORT_MAX}")
    if settings.log_level.lower() not in LOG_LEVELS:
        raise SettingsError(f"NEXKEY_LOG_LEVEL: one of {', '.join(LOG_LEVELS)}")
    if settings.forwarded_header not in FORWARDED_HEADERS:
        raise SettingsError(f"NEXKEY_FORWARDED_HEADER: one of {', '.join(FORWARDED_HEADERS)}")
    if not settings.public_url.startswith(("http://", "https://")):
        raise SettingsError("NEXKEY_PUBLIC_URL: begins with http:// or https://")
    if settings.operator_organization is not None and IDENTIFIER.match(settings.operator_organization) is None:
        raise SettingsError("NEXKEY_OPERATOR_ORGANIZATION: the id of an organization, 1 to 64 of a-z, 0-9, _ and -")
    if settings.environment not in ("development", "production"):
        raise SettingsError("NEXKEY_ENVIRONMENT: development or production")
    if settings.environment == "production" and not (settings.fence and settings.edge_fence):
        raise SettingsError("NEXKEY_FENCE, NEXKEY_EDGE_FENCE: the fences can't be switched off in production")


def need(value: str | None, variable: str) -> str:
    """A setting that this process can't do without. Raises SettingsError."""
    if not value:
        raise SettingsError(f"{variable}: is needed here")
    return value
