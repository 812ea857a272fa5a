"""A believable organization as documents (docs/protocols/documents.md), the same for the same seed. Tests and load tests use it too.

Pure: no store, no clock (`now_ms` comes in), no password. Writing it lives in `seed.py`, its names in `names.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from py_service._core_rs import DeviceKey
from py_service.demo.names import AREAS, FIRST_NAMES, HOLIDAYS, LAST_NAMES, SITES
from py_service.permissions.image import image_of
from py_service.simulators.device_api import encode_base64url
from py_service.simulators.lock import LockIdentity

Document = dict[str, object]
Role = Literal["owner", "facility", "employee", "night_guard", "cleaner", "contractor", "guest"]

DAY_MS = 86_400_000
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
EVERY_DAY = [*WORKDAYS, "sat", "sun"]

# collection -> the kind of its images
IMAGE_KINDS = {
    "organizations": "organization",
    "sites": "site",
    "areas": "area",
    "doors": "door",
    "devices": "device",
    "persons": "person",
    "groups": "group",
    "schedules": "schedule",
    "calendars": "calendar",
    "grants": "grant",
}


# What most areas and doors don't have.
PLAIN: dict[str, Document] = {
    "areas": {"anti_passback": "off", "anti_passback_minutes": None, "occupancy_max": None},
    "doors": {"modes": [], "enters": None, "leaves": None, "two_persons_seconds": None, "sharing": False},
}


@dataclass(frozen=True, slots=True)
class DemoPerson:
    id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class DemoOrganization:
    """`documents`: collection -> documents, without accounts and revision. `cast`: who plays which part. `accounts`: who may sign in."""

    id: str
    documents: dict[str, list[Document]] = field(repr=False)
    locks: tuple[LockIdentity, ...] = field(repr=False)
    persons: tuple[DemoPerson, ...] = field(repr=False)
    cast: dict[Role, DemoPerson]

    @property
    def accounts(self) -> tuple[DemoPerson, ...]:
        return tuple(self.cast.values())

    def doors(self, area: str | None = None) -> list[str]:
        """Door ids, of one area if asked."""
        return [str(door["id"]) for door in self.documents["doors"] if area is None or door["area"] == area]

    def images(self) -> bytes:
        """The whole organization as a snapshot for `PermissionIndex.load`: JSON array of images."""
        return msgspec.json.encode(
            [image_of(kind, document) for collection, kind in IMAGE_KINDS.items() for document in self.documents.get(collection, [])]
        )


def build_demo(
    seed: bytes, *, now_ms: int, organization: str = "nordlicht", name: str = "Nordlicht Instruments", persons: int = 200, doors: int = 40
) -> DemoOrganization:
    """Three sites in three time zones, `doors` doors with a lock each, `persons` persons (12 at least), nested groups, schedules, grants.

    `seed` is secret: the locks' keys come from it. `now_ms` sets the contractor's weeks.
    """
    builder = _Builder(organization, seed, now_ms)
    builder.put("organizations", organization, {"name": name, "active": True})
    builder.places(doors)
    builder.schedules()
    cast = builder.people(max(persons, 12))
    builder.grants(cast)
    builder.shared_pass("visitors-of-clara", "Clara, for her visitors", "berlin", "berlin-main-entrance", cast["owner"])
    return DemoOrganization(organization, builder.documents, tuple(builder.locks), tuple(builder.persons), cast)


def build_neighbour(seed: bytes, *, now_ms: int, organization: str = "hafenblick") -> DemoOrganization:
    """A second, small organization on the same system, for checks that tenants never meet: one site, two doors, an owner."""
    builder = _Builder(organization, seed, now_ms)
    builder.put("organizations", organization, {"name": "Hafenblick Apartments", "active": True})
    builder.put(
        "sites", "hamburg", {"name": "Hamburg", "address": "Am Sandtorkai 1, Hamburg", "time_zone": "Europe/Berlin", "locked_down": False}
    )
    builder.put("areas", "hamburg-house", {"site": "hamburg", "name": "House", "locked_down": False})
    for door in ("front-door", "cellar"):
        builder.door(door, door.replace("-", " ").capitalize(), "hamburg", "hamburg-house")
    owner = builder.person("Hanna Petersen", groups=[], roles=["owner"])
    builder.grant({"person": owner.id, "site": "hamburg"})
    return DemoOrganization(organization, builder.documents, tuple(builder.locks), tuple(builder.persons), {"owner": owner})


class _Builder:
    """Collects documents. Every identifier is a slug, so that a person can type it."""

    def __init__(self, organization: str, seed: bytes, now_ms: int) -> None:
        self.organization = organization
        self.documents: dict[str, list[Document]] = {}
        self.locks: list[LockIdentity] = []
        self.persons: list[DemoPerson] = []
        self._seed = seed
        self._now_ms = now_ms
        self._chance = random.Random(f"nexkey demo {organization}")  # names only; keys come from the seed
        self._grants = 0

    def put(self, collection: str, identifier: str, fields: Document) -> None:
        document: Document = {
            "_id": f"{self.organization}:{identifier}",
            "org": self.organization,
            "id": identifier,
            **PLAIN.get(collection, {}),
            **fields,
        }
        if collection == "organizations":
            document["_id"] = self.organization
        self.documents.setdefault(collection, []).append(document)

    def places(self, doors: int) -> None:
        for site, (name, address, zone) in SITES.items():
            self.put("sites", site, {"name": name, "address": address, "time_zone": zone, "locked_down": False})
            ground = f"{site}-ground"
            self.put("floors", ground, {"site": site, "name": f"{name} ground floor", "level": 0})
            for area, (area_name, _) in AREAS.items():
                at: Document = {"site": site, "floor": ground}
                self.put("areas", f"{site}-{area}", {**at, "name": f"{name} {area_name.lower()}", "locked_down": False})
            outer: Document = {"name": f"{name}, outer doors", "doors": [], "areas": [f"{site}-lobby"], "sites": [], "at_sites": [site]}
            outer |= {"engaged": False, "engaged_at": None, "engaged_by": None}
            self.put("lockdown_plans", f"{site}-outer-doors", outer)
        openings = [(site, area, door) for area, (_, names) in AREAS.items() for door in names for site in SITES]
        for number in range(doors):
            site, area, opening = openings[number % len(openings)]
            floor = number // len(openings)
            suffix = f" {floor + 1}" if floor else ""
            self.door(f"{site}-{_slug(opening + suffix)}", f"{SITES[site][0]} {opening.lower()}{suffix}", site, f"{site}-{area}")

    def door(self, door: str, name: str, site: str, area: str) -> None:
        lock = f"lock-{door}"[:64]
        key_seed = hmac.digest(self._seed, f"{self.organization}/{lock}".encode(), hashlib.sha256)
        public_key = encode_base64url(DeviceKey.from_seed(key_seed).public_key)
        self.put("doors", door, {"site": site, "area": area, "name": name, "lock": lock, "mode": "locked", "locked_down": False})
        self.put("devices", lock, {"kind": "lock", "door": door, "at_site": site, "public_key": public_key, "active": True})
        self.locks.append(LockIdentity(lock, door, key_seed))

    def schedules(self) -> None:
        for site in SITES:
            self.put("calendars", f"{site}-holidays", {"name": f"Holidays in {SITES[site][0]}", "dates": list(HOLIDAYS[site])})
            half_day: Document = {"date": "2026-12-24", "windows": [{"start": "07:00", "end": "12:00"}]}
            window: Document = {"days": WORKDAYS, "start": "07:00", "end": "19:00"}
            self._schedule(
                f"{site}-office-hours", f"Office hours {SITES[site][0]}", window, calendar=f"{site}-holidays", exceptions=[half_day]
            )
        # No calendar: guards and cleaners come on holidays too.
        self._schedule("night-shift", "Night shift", {"days": EVERY_DAY, "start": "22:00", "end": "06:00"})
        self._schedule("cleaning", "Cleaning", {"days": EVERY_DAY, "start": "17:00", "end": "21:00"})

    def _schedule(
        self, identifier: str, name: str, window: Document, *, calendar: str | None = None, exceptions: list[Document] | None = None
    ) -> None:
        fields: Document = {"name": name, "windows": [window], "calendar": calendar, "holiday_windows": [], "exceptions": exceptions or []}
        self.put("schedules", identifier, fields)

    def people(self, count: int) -> dict[Role, DemoPerson]:
        for site in SITES:
            self.put("groups", f"{site}-staff", {"name": f"Staff {SITES[site][0]}", "includes": []})
        # Nested: who is staff of a site is in `everyone` too, and every technician is in `engineering`.
        self.put("groups", "everyone", {"name": "Everyone", "includes": [f"{site}-staff" for site in SITES]})
        self.put("groups", "technicians", {"name": "Technicians", "includes": []})
        self.put("groups", "engineering", {"name": "Engineering", "includes": ["technicians"]})
        self.put("groups", "interns", {"name": "Interns", "includes": []})
        four_weeks = (self._now_ms - 7 * DAY_MS, self._now_ms + 21 * DAY_MS)
        cast: dict[Role, DemoPerson] = {
            "owner": self.person("Clara Lindqvist", groups=["berlin-staff"], roles=["owner"]),
            "facility": self.person("Ravi Menon", groups=["singapore-staff", "technicians"]),
            "employee": self.person("Amelie Brandt", groups=["berlin-staff", "engineering"]),
            "night_guard": self.person("Viktor Hahn", groups=[]),
            "cleaner": self.person("Rosa Silva", groups=[]),
            "contractor": self.person("Owen Price", groups=[], kind="contractor", valid=four_weeks),
            "guest": self.person("Noor Haddad", groups=[], kind="guest"),
        }
        for role, limited_to in (("site_manager", "new-york"), ("reception", "berlin"), ("auditor", None), ("installer", None)):
            home = limited_to or "singapore"
            self.person(self._name(), groups=[f"{home}-staff"], roles=[role], sites=None if limited_to is None else [limited_to])
        sites = list(SITES)
        while len(self.persons) < count:
            number = len(self.persons)
            extra = ["technicians"] if number % 9 == 0 else ["engineering"] if number % 4 == 0 else ["interns"] if number % 11 == 0 else []
            self.person(self._name(), groups=[f"{sites[number % 3]}-staff", *extra])
        return cast

    def person(
        self,
        name: str,
        *,
        groups: list[str],
        roles: list[str] | None = None,
        sites: list[str] | None = None,
        kind: str = "employee",
        valid: tuple[int, int] | None = None,
    ) -> DemoPerson:
        number = len(self.persons) + 1
        base = name.lower().replace(" ", ".")
        taken = any(person.email.startswith(f"{base}@") for person in self.persons)
        person = DemoPerson(f"p-{number:04d}", name, f"{base}{number if taken else ''}@{self.organization}.example")
        self.persons.append(person)
        fields: Document = {"name": name, "email": person.email, "kind": kind, "state": "active", "groups": groups, "tokens_valid_after": 0}
        fields["valid_from"], fields["valid_until"] = valid or (None, None)
        fields["roles"] = [{"role": role, "sites": sites} for role in roles or []]
        self.put("persons", person.id, fields)
        return person

    def grants(self, cast: dict[Role, DemoPerson]) -> None:
        for site in SITES:
            self.grant({"group": "everyone", "area": f"{site}-lobby", "schedule": f"{site}-office-hours"})
            self.grant({"group": f"{site}-staff", "area": f"{site}-offices", "schedule": f"{site}-office-hours"})
            self.grant({"group": "engineering", "area": f"{site}-lab", "schedule": f"{site}-office-hours"})
            self.grant({"group": "technicians", "area": f"{site}-server"})
            self.grant({"group": "interns", "area": f"{site}-server", "effect": "deny"})
            self.grant({"group": f"{site}-staff", "area": f"{site}-logistics", "schedule": f"{site}-office-hours"})
            for always in ("owner", "facility"):
                self.grant({"person": cast[always].id, "site": site})
        self.grant({"person": cast["night_guard"].id, "site": "berlin", "schedule": "night-shift"})
        self.grant({"person": cast["cleaner"].id, "area": "berlin-offices", "schedule": "cleaning"})
        weeks: Document = {"valid_from": self._now_ms - 7 * DAY_MS, "valid_until": self._now_ms + 21 * DAY_MS}
        self.grant({"person": cast["contractor"].id, "area": "berlin-lab", "schedule": "berlin-office-hours", **weeks})

    def grant(self, fields: Document) -> None:
        self._grants += 1
        whole: Document = {"effect": "allow", "person": None, "group": None, "door": None, "area": None, "site": None}
        whole |= {"schedule": None, "valid_from": None, "valid_until": None} | fields
        self.put("grants", f"g-{self._grants:04d}", whole)

    def shared_pass(self, identifier: str, name: str, site: str, door: str, holder: DemoPerson) -> None:
        """One that was accepted, and that its holder may pass on."""
        window: Document = {"valid_from": self._now_ms, "valid_until": self._now_ms + 90 * DAY_MS, "schedule": None}
        terms: Document = {"name": name, "doors": [door], **window, "uses": None, "passes_on_max": 1, "receiver": {"email": holder.email}}
        held: Document = {"accepted_by": holder.id, "accepted_at": self._now_ms, "accepted_key": None, "concerns": [holder.id]}
        above: Document = {"given_by": None, "parent": None, "above": [], "counts_above": [], "link": 0}
        self.put("passes", identifier, {**terms, **held, **above, "at_sites": [site]})
        grant: Document = {"effect": "allow", "person": holder.id, "group": None, "door": door, "area": None, "site": None, **window}
        self.put("grants", f"{identifier}_00", {**grant, "pass": {"id": identifier, "given_by": None, "counts": []}})

    def _name(self) -> str:
        return f"{self._chance.choice(FIRST_NAMES)} {self._chance.choice(LAST_NAMES)}"


def _slug(text: str) -> str:
    return text.lower().replace(" ", "-")
