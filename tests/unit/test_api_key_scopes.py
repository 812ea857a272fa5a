"""Nobody gives a key more than they may do: asked for every scope at every site, also by the roles of a later table."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from py_service.errors import Problem
from py_service.identity.api_keys import ChangeKey, MakeKey
from tests.unit.identity_support import NOW_MS

if TYPE_CHECKING:
    from py_service.permissions.change import View
    from py_service.stores.mongo import Document

VALUES: Document = {"name": "Key", "scopes": ["persons.read", "doors.write"], "sites": ["hq", "lab"], "expires_at": None}


class MadeView:
    """A caller who may write keys, and do what `may` says; one key, `k1`, is here."""

    organization, at_ms, actor = "acme", NOW_MS, None

    def __init__(self, *may: tuple[str, str | None]) -> None:
        self.may = {("keys.write", None), *may}

    def require(self, permission: str, site: str | None) -> None:
        if (permission, site) not in self.may:
            raise Problem(403, "role_missing", permission)

    async def find_ended_or_not(self, kind: str, identifier: str) -> None:
        return None

    async def get(self, kind: str, identifier: str) -> Document:
        return {"id": identifier, "name": "Key", "scopes": ["persons.read"], "sites": None, "expires_at": NOW_MS + 1, "active": True}

    async def get_many(self, kind: str, identifiers: list[str]) -> list[Document]:
        return []


@pytest.mark.parametrize(
    "may",
    [
        [("persons.read", "hq"), ("persons.read", "lab"), ("doors.write", "hq")],
        [("persons.read", "hq"), ("persons.read", "lab")],
        [],
    ],
)
async def test_a_scope_that_is_not_ones_own_at_every_site_is_refused(may: list[tuple[str, str | None]]) -> None:
    with pytest.raises(Problem, match="403 role_missing"):
        await MakeKey(None, VALUES).plan(cast("View", MadeView(*may)))


@pytest.mark.parametrize("wider", [{"scopes": ["persons.read", "doors.write"]}, {"scopes": ["doors.write"]}])
async def test_a_key_is_made_wider_only_by_who_may_do_as_much(wider: Document) -> None:
    with pytest.raises(Problem, match="403 role_missing"):
        await ChangeKey("k1", wider, None).plan(cast("View", MadeView(("persons.read", None))))
