"""Where a grant is: at a door, an area or a site. Whoever may write grants at that site gives, reads and takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from py_service.errors import Problem
from py_service.stores.mongo import Document

PLACES = ("door", "area", "site")
SUBJECTS = ("person", "group")


def one_of(grant: Mapping[str, object], names: tuple[str, ...]) -> tuple[str, str]:
    """Which of these it names, and the name. Raises Problem 400 when it isn't exactly one."""
    given = [(name, str(grant[name])) for name in names if grant.get(name) is not None]
    if len(given) != 1:
        raise Problem(400, "field_invalid", f"Exactly one of {', '.join(names)} is needed.")
    return given[0]


async def site_of_grant(find: Callable[[str, str], Awaitable[Document | None]], grant: Mapping[str, object]) -> str | None:
    """`find` takes kind and id. None (the whole organization) when the grant's place is gone. Raises Problem 400 and what `find` raises."""
    kind, identifier = one_of(grant, PLACES)
    place = await find(kind, identifier)
    if place is None:
        return None
    return identifier if kind == "site" else str(place["site"])
