"""What is told of the directory's operations, and the types that they decode and encode: made from the table of kinds."""

from __future__ import annotations

from typing import Annotated, Any, get_type_hints

import msgspec

from py_service.directory import fields
from py_service.directory.kinds import Kind
from py_service.exchange import Operation
from py_service.identifiers import IN_PATHS, Moment
from py_service.paging import Cursor, Limit
from py_service.permissions.pages import Sort


class RolesToHold(msgspec.Struct, forbid_unknown_fields=True):
    """All roles of a person; what isn't in it is taken away."""

    roles: Annotated[list[fields.RoleToHold], msgspec.Meta(max_length=6)]


class PinToHold(msgspec.Struct, forbid_unknown_fields=True):
    """4 to 8 digits; null takes it away."""

    pin: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4,8}\Z", examples=["4711"])] | None


class Ended(msgspec.Struct):
    """`effective_by`: after it not even a command signed before can move a lock."""

    id: str
    revision: int
    effective_by: Moment


class InUse(msgspec.Struct):
    """What still names it."""

    used_by: str | msgspec.UnsetType = msgspec.UNSET


class KindOperations:
    """The five operations of one kind, the decoders of its bodies, and the types of its answers."""

    def __init__(self, kind: Kind) -> None:
        title = kind.name.capitalize()
        new, changes, self.shown = kind.types()
        self.changed = fields.changed_type(title, self.shown)
        self.page = fields.page_type(title, self.shown)
        self.new: msgspec.json.Decoder[Any] = msgspec.json.Decoder(new)
        self.changes: msgspec.json.Decoder[Any] = msgspec.json.Decoder(changes)
        tag, codes, last_owner = kind.plural.capitalize(), ("422 name_invalid", *kind.codes), "409 last_owner" in kind.codes
        query = {"limit": Limit, "cursor": Cursor, "sort": Sort, "name": str} | {name: filter_type(kind, name) for name in kind.filters}
        self.list = Operation(f"List {kind.plural}", tag, {200: self.page}, query=query, permission=kind.read)
        self.create = Operation(
            f"Create a {kind.name}", tag, {201: self.shown}, new, permission=kind.write, etag=True, example=kind.example,
            codes=("409 id_taken", *(code for code in codes if code != "409 last_owner")),
        )  # fmt: skip
        self.read = Operation(f"Read a {kind.name}", tag, {200: self.shown}, permission=kind.read, etag=True, example=kind.example)
        self.patch = Operation(
            f"Change a {kind.name}", tag, {200: self.changed}, changes, headers=("If-Match",), permission=kind.write, etag=True,
            codes=(*codes, *(["422 field_fixed"] if kind.fixed else [])),
            example={name: kind.example[name] for name in ("name", "modes") if name in kind.example},
        )  # fmt: skip
        self.end = Operation(
            f"Delete a {kind.name}", tag, {200: Ended}, headers=("If-Match",), permission=kind.write,
            codes=(
                *(["409 in_use"] if kind.used_by else []), *(["409 last_owner"] if last_owner else []),
                *(["409 locked_down"] if kind.name == "device" else []),
            ),
            members={409: InUse},
        )  # fmt: skip


def filter_type(kind: Kind, name: str) -> Any:
    """What a list of this kind can be narrowed by."""
    if name == "state":
        return fields.PersonState
    if name == "role":
        return fields.Role
    if name == "email":
        return str
    return IN_PATHS[name] if name in IN_PATHS else get_type_hints(kind.fields, include_extras=True)[name]


def set_roles_operation(person: type[msgspec.Struct]) -> Operation:
    """`person` is the type of the answer."""
    return Operation(
        "Say which roles a person has", "Persons", {200: person}, RolesToHold, headers=("If-Match",), permission="roles.write", etag=True,
        codes=("409 last_owner", "422 role_invalid"), example={"roles": [{"role": "reception", "sites": ["berlin"]}]},
    )  # fmt: skip


SUSPEND = Operation(
    "Suspend a person", "Persons", {200: Ended}, headers=("If-Match",), permission="persons.write",
    codes=("409 conflict", "409 last_owner"),
)  # fmt: skip
SET_PIN = Operation(
    "Give a person a PIN, or take it", "Persons", {200: Ended}, PinToHold, headers=("If-Match",), permission="persons.write",
    example={"pin": "4711"},
    detail="Only doors in the mode `card_and_pin` ask for it. It is kept as a keyed hash and never told.",
)  # fmt: skip
RESUME = Operation("Resume a person who was suspended", "Persons", {200: Ended}, headers=("If-Match",), permission="persons.write")
