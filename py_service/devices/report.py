"""Whether a report was signed by the lock that it names. What it means for an attempt is the unlock room's and the worker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_service._core_rs import ReportError, verify_report
from py_service.devices.needs import Devices

if TYPE_CHECKING:
    from py_service._core_rs import Report

REPORT_BYTES_MAX = 1_024


class ReportRefused(Exception):
    """A report that is nobody's word. Codes: those of the core's ReportError, `report_device_unknown`, `report_device_inactive`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def verify(index: Devices, organization: str, lock: str, report: bytes) -> Report:
    """The report, if the lock signed it and is switched on. Raises ReportRefused."""
    if len(report) > REPORT_BYTES_MAX:
        raise ReportRefused("report_malformed")
    device = index.device(organization, lock)
    if device is None:
        raise ReportRefused("report_device_unknown")
    if not device.active:  # a lock is switched off when its key may be in other hands
        raise ReportRefused("report_device_inactive")
    try:
        return verify_report(device.public_key, report, lock)
    except ReportError as error:
        raise ReportRefused(error.code) from None
