"""Where an event happened: a role for some sites sees what happened at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_service._core_rs import PermissionIndex


def sites_of_event(index: PermissionIndex, event: Mapping[str, Any]) -> list[str]:
    """As it says itself, whatever has become of the door. Of before events said it: where the door is now. Empty: the organization's."""
    if event.get("sites") is not None:
        return [str(site) for site in event["sites"]]
    door = None if event.get("door") is None else index.door(str(event["org"]), str(event["door"]))
    return [] if door is None else [door.site]
