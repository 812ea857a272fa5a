"""Settings: what is missing, unknown or out of range is named at the start, not found out later."""

from __future__ import annotations

import pytest

from py_service.errors import SettingsError
from py_service.settings import read_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "verbose"), ("LOG_LEVEL", ""), ("LOG_LEVEL", "notset"),
        ("API_PORT", "99999"), ("API_PORT", "-1"), ("GATEWAY_PORT", "65536"), ("API_PORT", "http"),
        ("COMMAND_SECONDS_MAX", "5"), ("NO_SUCH", "1"),
        ("API_WORKERS", "0"), ("STORE_TIMEOUT_MS", "0"), ("GROUP_EVENTS_MAX", "-5"), ("REQUESTS_CONCURRENT_MAX", "0"),
        ("FENCE", "yes"), ("ENVIRONMENT", "staging"), ("MASTER_KEY", "@"), ("MASTER_KEY", "c2hvcnQ="),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^NEXKEY_{name}: "):
        read_settings({f"NEXKEY_{name}": value})


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "INFO"])
def test_levels_of_the_log(level: str) -> None:
    assert read_settings({"NEXKEY_LOG_LEVEL": level}).log_level == level


@pytest.mark.parametrize("port", ["0", "1", "65535"])
def test_ports(port: str) -> None:
    settings = read_settings({"NEXKEY_API_PORT": port, "NEXKEY_GATEWAY_PORT": port})
    assert (settings.api_port, settings.gateway_port) == (int(port), int(port))


def test_the_fence_stays_on_in_production() -> None:
    with pytest.raises(SettingsError, match=r"^NEXKEY_FENCE: "):
        read_settings({"NEXKEY_FENCE": "0", "NEXKEY_ENVIRONMENT": "production"})
