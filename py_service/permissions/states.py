"""Records of stateful rules as they lie in the store (`states`, docs/protocols/documents.md).

The unlock path counts in them, a reset clears them.
"""

from __future__ import annotations

from py_service.stores.mongo import Document

STATES = "states"
_HELD_BY_THE_STORE = ("_id", "org", "inside_of", "inside_by", "person")


def state_name(organization: str, key: str) -> str:
    """The `_id` of a record; `key` as the core names it."""
    return f"{organization}:{key}"


def state_document(organization: str, key: str, record: Document) -> Document:
    """Whole, to be replaced; whoever is inside an area is found by it, and it by whoever is inside, or has left and may be put back."""
    document: Document = {"_id": state_name(organization, key), "org": organization, **record}
    kind, _, rest = key.partition(".")
    if kind == "inside" and (record.get("entered_at") is not None or record.get("left_at") is not None):
        area, _, person = rest.partition(".")
        document |= {"inside_of": f"{organization}:{area}", "inside_by": f"{organization}:{person}", "person": person}
    return document


def record_of(document: Document) -> Document:
    """As the core reads it: without what only the store needs, numbers as numbers."""
    fields = {name: value for name, value in document.items() if name not in _HELD_BY_THE_STORE}
    return {name: int(value) if isinstance(value, int) and not isinstance(value, bool) else value for name, value in fields.items()}
