"""What has become of a pass."""

from __future__ import annotations

from py_service.passes.givers import is_over, was_taken_back
from py_service.passes.messages import State
from py_service.stores.mongo import Document


def state_of(document: Document, uses_left: int | None, at_ms: int) -> State:
    """The strongest first. `uses_left`: None where nothing is counted."""
    if was_taken_back(document):
        return "revoked"
    if is_over(document, at_ms):
        return "expired"
    if document["accepted_by"] is None:
        return "issued"
    return "used_up" if uses_left == 0 else "active"
