"""What an ETag stands for: the revision of an object's last change. A change may say which one it has seen (RFC 9110, 13.1.1)."""

from __future__ import annotations

from py_service.errors import Problem
from py_service.stores.mongo import Document


def check_match(document: Document, if_match: int | None) -> None:
    """Raises Problem 412 when it has changed since the caller saw it."""
    if if_match is not None and int(document.get("revision") or 0) != if_match:
        raise Problem(412, "changed_meanwhile", "This was changed since it was read; read it again.")


def etag(document: Document) -> str:
    """Strong: the revision of the last change."""
    return f'"{int(document.get("revision") or 0)}"'


def read_if_match(header: str | None) -> int | None:
    """None for a missing header or `*`. Raises Problem 400 for what was never an ETag of ours."""
    if header is None or header.strip() == "*":
        return None
    text = header.strip()
    if len(text) <= 20 and text.startswith('"') and text.endswith('"') and text[1:-1].isdigit() and text.isascii():
        return int(text[1:-1])
    raise Problem(400, "if_match_invalid", "If-Match takes one ETag as it was given, or *.")
