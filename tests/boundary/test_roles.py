"""One table of roles: the core's. The protocol, the bodies of the API and what its operations say of themselves follow it."""

from __future__ import annotations

import asyncio
import re
import typing
from pathlib import Path

from py_service import _core_rs
from py_service.directory.fields import Role
from tests.boundary.project_files import read
from tests.e2e.route_table import route_table


def test_the_protocol_has_the_table_of_the_core() -> None:
    section = read(Path("docs/protocols/documents.md")).partition("## Roles\n")[2].partition("\n## ")[0]
    roles, _, all_there_are = section.partition("All there are: ")
    table = {role: set(permissions) for role, permissions in _core_rs.roles()}
    said = {role: set(re.findall(r"`([a-z.]+)`", told)) for role, told in re.findall(r"`([a-z_]+)`: ((?:`[a-z.]+`(?:, )?)+)\.", roles)}
    assert said == {role: permissions for role, permissions in table.items() if role not in ("owner", "admin")}
    assert set(re.findall(r"`([a-z.]+)`", all_there_are.partition(". ")[0])) == table["owner"]
    assert table["owner"] - table["admin"] == {"owner"}


def test_a_role_that_can_be_given_is_one_of_the_core() -> None:
    assert list(typing.get_args(Role)) == [role for role, _ in _core_rs.roles()]


def test_every_operation_asks_for_a_permission_that_somebody_can_have() -> None:
    asked = {route.about.permission for route in asyncio.run(route_table())} - {None}
    assert asked <= set(_core_rs.roles()[0][1])
    assert len(asked) > 8
