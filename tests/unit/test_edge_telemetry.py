"""Logs: one line of JSON with the request's id, and no secret in it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from py_service.telemetry import RouteRecorder, configure_logging, logger, request_id_of


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    request_id_of.set("")


def lines(capture: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capture.readouterr().err.splitlines()]


def test_a_line_has_its_request_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    early = logger("room")  # made before the configuration, like every module's
    configure_logging("info", "production")
    request_id_of.set("request-1")
    early.info("happened", password="hunter2", Authorization="Bearer abc", refresh_token="r", door="d1")
    (line,) = lines(capsys)
    assert (line["event"], line["room"], line["level"], line["request_id"], line["door"]) == ("happened", "room", "info", "request-1", "d1")
    assert (line["password"], line["Authorization"], line["refresh_token"]) == ("***", "***", "***")


def test_levels_and_failures(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "production")
    logger("room").info("not shown")
    logger("room").error("shown", exc_info=ValueError("the cause"))
    (line,) = lines(capsys)
    assert line["event"] == "shown"
    assert "ValueError: the cause" in str(line["exception"])
    assert "request_id" not in line


def test_for_the_eye_in_development(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "development")
    logger("room").debug("seen", token="secret-token")
    shown = capsys.readouterr().err
    assert "seen" in shown
    assert "secret-token" not in shown


def test_unknown_level() -> None:
    with pytest.raises(ValueError, match="loud"):
        configure_logging("loud", "production")


def test_buckets_of_a_route() -> None:
    recorder = RouteRecorder("GET", "/")
    for milliseconds in (0.5, 30.0, 31.0, 31.1, 20_000.0):
        recorder.record(200, int(milliseconds * 1_000_000))
    buckets, sum_seconds = recorder.cumulated()
    assert dict(buckets)["0.0005"] == 1
    assert dict(buckets)["0.031"] == 3
    assert dict(buckets)["10"] == 4
    assert dict(buckets)["+Inf"] == 5
    assert sum_seconds == pytest.approx(20.0926)
