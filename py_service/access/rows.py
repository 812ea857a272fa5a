"""Rows of a bulk import that give access: the fields and the change of the single operation."""

from __future__ import annotations

from typing import Annotated

import msgspec

from py_service.access.give import GiveGrant
from py_service.access.messages import GrantRequest


class GrantRow(GrantRequest, kw_only=True, forbid_unknown_fields=True):
    """A grant; its person by identifier or e-mail address, its group by identifier or name."""

    person_email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    group_name: Annotated[str, msgspec.Meta(min_length=1, max_length=400)] | None = None


def give_grant(row: GrantRow) -> GiveGrant:
    """`person` and `group` are identifiers by now."""
    return GiveGrant(GrantRequest(**{field: getattr(row, field) for field in GrantRequest.__struct_fields__}))
