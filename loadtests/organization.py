"""The organization that the load acts on: the demonstration's, with access around the clock, so that the hour of the day changes nothing.

Pure: no store, no clock (`now_ms` comes in).
"""

from __future__ import annotations

from loadtests.plan import Cast
from py_service.demo.organization import DemoOrganization, Document, build_demo

DOORS = 40
PERSONS = 220
STRANGERS = 80
LOCKABLE = 10


def build_organization(seed: bytes, *, now_ms: int) -> tuple[DemoOrganization, Cast]:
    """`PERSONS` persons, of whom the residents may open every door; `STRANGERS` more who may open none; `DOORS` doors with a lock each."""
    demo = build_demo(seed, now_ms=now_ms, persons=PERSONS, doors=DOORS, organization="loadtest", name="Load Test Works")
    strangers = _add_strangers(demo)
    _open_around_the_clock(demo)
    doors = demo.doors()
    lockable = doors[:: DOORS // LOCKABLE][:LOCKABLE]
    return demo, Cast(
        organization=demo.id,
        manager=demo.cast["owner"].id,
        auditor=_holder(demo, "auditor"),
        residents=_residents(demo),
        strangers=strangers,
        doors=[door for door in doors if door not in lockable],
        lockable=lockable,
    )


def _add_strangers(demo: DemoOrganization) -> list[str]:
    """Persons in no group and with no grant, made after the guest's likeness."""
    guest = next(document for document in demo.documents["persons"] if document["id"] == demo.cast["guest"].id)
    names = [f"stranger-{number:03d}" for number in range(1, STRANGERS + 1)]
    for name in names:
        own: Document = {"_id": f"{demo.id}:{name}", "id": name, "name": name, "email": f"{name}@{demo.id}.example"}
        demo.documents["persons"].append({**guest, **own})
    return names


def _open_around_the_clock(demo: DemoOrganization) -> None:
    """Everybody on the staff may open every door of every site, always; the deny rules go."""
    grants = [grant for grant in demo.documents["grants"] if grant["effect"] == "allow"]
    pattern = grants[0]
    cleared: Document = {"person": None, "door": None, "area": None, "schedule": None, "valid_from": None, "valid_until": None}
    for site in demo.documents["sites"]:
        name = f"g-always-{site['id']}"
        own: Document = {"_id": f"{demo.id}:{name}", "id": name, "group": "everyone", "site": site["id"]}
        grants.append({**pattern, **cleared, **own})
    demo.documents["grants"] = grants


def _residents(demo: DemoOrganization) -> list[str]:
    """Who is in a staff group, without those whose validity ends."""
    return [
        str(person["id"])
        for person in demo.documents["persons"]
        if person["valid_until"] is None and any(str(group).endswith("-staff") for group in _groups(person))
    ]


def _groups(person: Document) -> list[object]:
    groups = person["groups"]
    return groups if isinstance(groups, list) else []


def _holder(demo: DemoOrganization, role: str) -> str:
    for person in demo.documents["persons"]:
        roles = person["roles"]
        if isinstance(roles, list) and any(held["role"] == role for held in roles):
            return str(person["id"])
    raise LookupError(f"nobody is {role}")
