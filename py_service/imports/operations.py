"""What is told of the operations of imports: the API's document is made from it."""

from __future__ import annotations

from py_service.exchange import Operation
from py_service.imports.messages import Import, ImportPage, NewImport, Outcome, PartOfFile, RowResultPage
from py_service.paging import Cursor, Limit

PERMISSIONS = {"persons": "persons.write", "groups": "persons.write", "grants": "grants.write"}
AT_SITES = ("grants",)  # what a role for some sites may import

_TAG = "Imports"
_WHO = "Needs a role with `persons.write` everywhere for persons and groups, with `grants.write` for grants."
_ROLE = (
    "403 role_missing", "403 person_suspended", "403 organization_suspended", "403 not_yet_valid", "403 expired", "403 unknown_credential",
)  # fmt: skip
_CHANGE = (*_ROLE, "409 change_too_large", "422 object_invalid", "503 outcome_unknown")
_OWN = (*_CHANGE, "403 import_of_another")

LIST = Operation(
    "List imports", _TAG, {200: ImportPage}, api_keys=True, query={"limit": Limit, "cursor": Cursor}, codes=_ROLE,
    detail=f"{_WHO} The caller's own; all, for whom that role holds everywhere.",
)  # fmt: skip
BEGIN = Operation(
    "Begin an import", _TAG, {201: Import}, NewImport, api_keys=True, codes=(*_CHANGE, "409 id_taken", "409 imports_too_many"),
    example={"kind": "groups", "format": "csv"},
    shows={201: {"state": "collecting", "id": "import_5f1c2d4e8b1a7c60", "by": "p-0001"}},
    detail=f"{_WHO} Each row is decided as the single operation would be, when it is its turn, and by what the caller may then.",
)  # fmt: skip
READ = Operation("Read an import and how far it is", _TAG, {200: Import}, api_keys=True, codes=_ROLE, detail=_WHO)
PUT_PART = Operation(
    "Put a part of the file", _TAG, {200: Import}, PartOfFile, api_keys=True,
    codes=(*_OWN, "409 import_started", "409 import_too_large"), detail="Again: replaces it. For whoever made the import.",
)  # fmt: skip
START = Operation(
    "Start an import", _TAG, {200: Import}, api_keys=True, codes=(*_OWN, "409 import_started", "409 parts_missing"),
    detail="For whoever made it. Their role is asked again for every row. Again: nothing more happens, as long as it isn't over.",
)  # fmt: skip
STOP = Operation(
    "Stop an import", _TAG, {200: Import}, api_keys=True, codes=_CHANGE,
    detail=f"{_WHO} No further row is applied; those that were stay applied, unless it is all or nothing: then they are undone. "
    "One that is over stays as it is.",
)  # fmt: skip
RESULTS = Operation(
    "Read what became of each row", _TAG, {200: RowResultPage}, api_keys=True, codes=_ROLE,
    query={"limit": Limit, "cursor": Cursor, "outcome": Outcome}, detail=_WHO,
)  # fmt: skip
