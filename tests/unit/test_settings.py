"""Settings: what is missing, unknown or out of range is named at the start, not found out later."""

from __future__ import annotations

import pytest

from py_service.errors import SettingsError
from py_service.settings import Settings, read_settings
from py_service.supervise.environment import settings_environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPERATOR_ORGANIZATION", "Not:An:Id"), ("OPERATOR_ORGANIZATION", "a\n"), ("OPERATOR_ORGANIZATION", "a" * 65),
        ("LOG_LEVEL", "verbose"), ("LOG_LEVEL", ""), ("LOG_LEVEL", "notset"),
        ("API_PORT", "99999"), ("API_PORT", "-1"), ("GATEWAY_PORT", "65536"), ("API_PORT", "http"),
        ("COMMAND_SECONDS_MAX", "5"), ("NO_SUCH", "1"),
        ("API_WORKERS", "0"), ("STORE_TIMEOUT_MS", "0"), ("GROUP_EVENTS_MAX", "-5"), ("GROUP_EVENTS_MAX", "1001"),
        ("REQUESTS_CONCURRENT_MAX", "0"),
        ("UNLOCKS_PER_MINUTE_MAX", "0"), ("REQUESTS_PER_MINUTE_MAX", "many"), ("OPEN_REQUESTS_PER_MINUTE_MAX", "0"),
        ("SIGN_INS_PER_MINUTE_MAX", "-1"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"), ("TRUSTED_PROXIES", "balancer"), ("FORWARDED_HEADER", "x-real-ip"),
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


@pytest.mark.parametrize("fence", ["NEXKEY_FENCE", "NEXKEY_EDGE_FENCE"])
def test_the_fences_stay_on_in_production(fence: str) -> None:
    with pytest.raises(SettingsError, match=fence):
        read_settings({fence: "0", "NEXKEY_ENVIRONMENT": "production"})


def test_trusted_proxies_are_networks_and_reach_a_child_as_they_are() -> None:
    settings = read_settings({"NEXKEY_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32,192.0.2.1"})
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]
    assert read_settings(own(settings)).trusted_proxies == settings.trusted_proxies
    assert read_settings(own(read_settings({}))).trusted_proxies == ()


def own(settings: Settings) -> dict[str, str]:
    """What a child is given of it."""
    environment = settings_environment(settings, Settings.__dataclass_fields__)
    return {name: value for name, value in environment.items() if name.startswith("NEXKEY_")}


def test_what_a_command_reads_is_no_setting_of_the_service() -> None:
    assert read_settings({"NEXKEY_TOKEN": "x", "NEXKEY_API_URL": "https://nexkey.example"}) == read_settings({})
