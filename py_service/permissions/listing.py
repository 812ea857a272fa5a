"""What objects are listed by: fields that exist only so that one index serves each list (docs/protocols/documents.md, query law).

`by_name` is `<organization>:<beginning of the folded name>:<id>`: one list in the order of names is one range of it. Of what has no name
it is `<organization>:@<created_at, 15 digits>:<id>`, its place in the order of time.
`listed` holds `<organization>:<field>=<value>` for each reference and state: "all of this group", "is this schedule in use", one equality.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

REFERENCES = {
    "floor": ("site",),
    "area": ("site", "floor"),
    "door": ("site", "area", "enters", "leaves"),
    "device": ("door", "kind", "public_key"),
    "person": ("state", "kind", "email"),
    "schedule": ("calendar",),
    "pass": ("schedule",),
    "grant": ("person", "group", "door", "area", "site", "schedule", "effect"),
}
NAMELESS = ("grant",)
# Behind it stands a time. It sorts behind the colon that ends an empty name: by that a version before placed what has no name, and what
# such a version gave comes first.
AT_TIME = "@"
AT_SITE = "at"  # whatever is at a site, also what names only a door or an area of it
MANY = {
    "person": {"groups": "group"},
    "group": {"includes": "group"},
    "lockdown_plan": {"doors": "door", "areas": "area", "sites": "site"},
    "pass": {"doors": "door", "above": "pass", "concerns": "person"},
}

PLACE_BYTES_MAX = 1_024  # more than 200 characters of any script have, as long as folding makes no more of them


def folded(name: str) -> str:
    """For sorting and comparing: without case and width (Unicode NFKC case folding)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def name_place(name: str) -> str:
    """By what a name stands in its order: the beginning of it, folded. Two names that only differ further on are in the order of their ids.

    One character can be eighteen (U+FDFA), so a name of 200 could be 6,600 bytes, and no cursor of that fits into a URL.
    """
    return folded(name).encode()[:PLACE_BYTES_MAX].decode(errors="ignore")  # the half of a character at the end is left out


def name_key(organization: str, name: str, identifier: str) -> str:
    return f"{organization}:{name_place(name)}:{identifier}"


def time_key(organization: str, created_at: int, identifier: str) -> str:
    """`created_at`: ms since the epoch."""
    return f"{organization}:{AT_TIME}{created_at:015d}:{identifier}"


def listed_key(organization: str, field: str, value: str) -> str:
    return f"{organization}:{field}={value}"


def object_key(organization: str, kind: str, identifier: str) -> str:
    """`_id` of an object; the organization is its own."""
    return organization if kind == "organization" else f"{organization}:{identifier}"


def stored_object(organization: str, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The document that stands in the store for an image's body: its `_id`, its organization, and what it is listed by."""
    identifier = str(body["id"])
    document = {"_id": object_key(organization, kind, identifier), "org": organization, **body}
    if body.get("ended_at") is None:
        at_ms = body.get("created_at") if kind in NAMELESS else None  # the demonstration's grants were given at no moment: they come first
        name = str(body.get("name") or "")
        document["by_name"] = name_key(organization, name, identifier) if at_ms is None else time_key(organization, at_ms, identifier)
    document["listed"] = _keys(organization, kind, body)
    return document


def sites_of(kind: str, body: Mapping[str, Any]) -> list[str]:
    """Where an object is, also one that has ended: at all sites of what it names. Empty: at none, it is the organization's."""
    site = body["id"] if kind == "site" else body.get("at_site") or body.get("site")
    return ([] if site is None else [str(site)]) + [str(each) for each in body.get("at_sites") or []]


def listed_sites(document: Mapping[str, Any]) -> list[str]:
    """The same, of a stored object that has not ended, by what it is listed by."""
    keys = [str(key).partition(":")[2] for key in document["listed"]]
    return [key.removeprefix(f"{AT_SITE}=") for key in keys if key.startswith(f"{AT_SITE}=")]


def _keys(organization: str, kind: str, body: Mapping[str, Any]) -> list[str]:
    if body.get("ended_at") is not None:
        return []
    keys = [listed_key(organization, name, str(body[name])) for name in REFERENCES.get(kind, ()) if body.get(name) is not None]
    keys += [listed_key(organization, AT_SITE, site) for site in sites_of(kind, body)]
    for field, name in MANY.get(kind, {}).items():
        keys += [listed_key(organization, name, value) for value in body.get(field) or []]
    if kind == "door":
        keys += sorted({listed_key(organization, "schedule", scheduled["schedule"]) for scheduled in body.get("modes") or []})
    if kind == "grant" and body.get("pass") is not None:
        keys.append(listed_key(organization, "pass", str(body["pass"]["id"])))
    if kind == "person":
        keys += [listed_key(organization, "role", held["role"]) for held in body.get("roles") or []]
    return keys
