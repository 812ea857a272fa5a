"""Who holds a door, an area or a site locked down: somebody by hand, and each lockdown plan that is engaged.

A place is locked down for as long as anybody holds it. `locked_down` says so. `lockdown_revision` says when the latest began: who asked or
opened a door before it doesn't count after it. The two are all that the index reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MANUAL = "manual"
Place = Mapping[str, Any]


def plan_holder(plan: str) -> str:
    """How a lockdown plan stands among the holders."""
    return f"plan:{plan}"


def held_by(place: Place) -> list[str]:
    """The holders of a stored place, sorted. One from before they were written down was locked down by hand."""
    known = place.get("held_by")
    if known is None:
        return [MANUAL] if place.get("locked_down") else []
    return [str(holder) for holder in known]


def with_holder(place: Place, holder: str, revision: int) -> dict[str, Any]:
    """The place as it is when this one holds it too, from the change of this revision on."""
    return _with(place, {*held_by(place), holder}) | {"lockdown_revision": revision}


def without_holder(place: Place, holder: str) -> dict[str, Any]:
    """The place as it is when this one has let go."""
    return _with(place, {*held_by(place)} - {holder})


def _with(place: Place, holders: set[str]) -> dict[str, Any]:
    return {**place, "held_by": sorted(holders), "locked_down": bool(holders)}
