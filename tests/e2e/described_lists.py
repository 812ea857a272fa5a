"""Lists as the document describes them, and what each of their filters keeps, said again in plain Python over the items that are shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.described import Described, resolved

Item = dict[str, Any]
OF_A_PAGE = {"limit", "cursor", "sort", "at"}  # and the moment of a question
# What is at a site; whatever else a role for some sites may list, it reads whole.
AT_SITES: dict[str, Callable[[Item, Known], Iterable[str | None]]] = {
    "/v1/sites": lambda item, known: [item["id"]],
    "/v1/floors": lambda item, known: [item["site"]],
    "/v1/areas": lambda item, known: [item["site"]],
    "/v1/doors": lambda item, known: [item["site"]],
    "/v1/devices": lambda item, known: [known.sites_of["door"].get(item["door"])],
    "/v1/grants": lambda item, known: known.sites_named(item),
    "/v1/passes": lambda item, known: known.sites_named(item),
    "/v1/lockdown-plans": lambda item, known: known.sites_named(item),
}
# Where an item names what it is filtered by under another name than the filter's, or its plural.
ELSEWHERE: dict[tuple[str, str], Callable[[Item, Known], Iterable[str | None]]] = {
    ("/v1/api-keys", "active"): lambda item, known: [str(item["active"]).lower()],
    ("/v1/groups", "group"): lambda item, known: item["includes"],
    ("/v1/persons", "role"): lambda item, known: [held["role"] for held in item["roles"]],
    ("/v1/passes", "site"): lambda item, known: known.sites_named(item),
    ("/v1/passes", "person"): lambda item, known: [item["given_by"], item["accepted_by"]],
    ("/v1/passes", "pass"): lambda item, known: known.passes_above(item),
}


@dataclass(slots=True)
class Known:
    """What an item alone doesn't show. `sites_of`: of each kind of place, by its id, where it is."""

    sites_of: dict[str, dict[str, str]] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)

    def sites_named(self, item: Item) -> list[str]:
        """Those of all doors, areas and sites that it names."""
        named = [(kind, name) for kind in ("door", "area", "site") for name in item.get(f"{kind}s") or [item.get(kind)] if name]
        return [self.sites_of[kind][name] for kind, name in named]

    def at(self, site: str, path: str, items: list[Item]) -> list[Item]:
        """What a role for this site is shown of a list: all of whose places are there."""
        where = AT_SITES.get(path)
        return items if where is None else [item for item in items if set(where(item, self)) == {site}]

    def passes_above(self, item: Item) -> Iterator[str]:
        """From which it was passed on, at any remove."""
        above = item["parent"]
        while above is not None:
            yield above
            above = self.parents[above]


@dataclass(frozen=True, slots=True)
class Filter:
    """One of a list's. `values`: those that it takes, where the document names them."""

    path: str
    name: str
    values: tuple[str, ...]

    def named_by(self, item: Item, known: Known) -> set[str]:
        """By which values this item is found, but for the beginning of its name."""
        if found := ELSEWHERE.get((self.path, self.name)):
            return {value for value in found(item, known) if value is not None}
        if self.name in item:
            return set() if item[self.name] is None else {str(item[self.name])}
        return set(item[f"{self.name}s"])

    def kept(self, items: list[Item], value: str, known: Known) -> list[Item]:
        """In their order."""
        if self.name == "name":
            return [item for item in items if folded(item["name"]).startswith(folded(value))]
        return [item for item in items if value in self.named_by(item, known)]

    def candidates(self, items: list[Item], known: Known) -> list[str]:
        """Every value that the document names, or that an item has: of names the first letters."""
        if self.values:
            return list(self.values)
        if self.name == "name":
            return sorted({part for item in items if item["name"] for part in (item["name"][:1], item["name"][:4].upper(), item["name"])})
        return sorted({value for item in items for value in self.named_by(item, known)})


def folded(name: str | None) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name or "").casefold())


def is_list(described: Described) -> bool:
    """Whether it answers with pages."""
    return described.method == "GET" and any(parameter["name"] == "cursor" for parameter in described.operation["parameters"])


def filters_of(described: Described) -> list[Filter]:
    """Query parameters that say which items: not those of the page, nor those without which there is no list."""
    return [
        Filter(described.path, parameter["name"], tuple(resolved(described.document, parameter["schema"]).get("enum", ())))
        for parameter in described.operation["parameters"]
        if parameter["in"] == "query" and not parameter["required"] and parameter["name"] not in OF_A_PAGE
    ]
