"""Pages of lists: how many, and from where on. What a place is, the room knows; a cursor only carries it, and holds no organization."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec

from py_service.errors import Problem

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX, description=f"How many at most; {LIMIT_DEFAULT} when it isn't given.")]
Cursor = Annotated[str, msgspec.Meta(description="`next_cursor` of the page before; opaque.", extra_json_schema={"x-nexkey-cursor": True})]
NextCursor = Annotated[str | None, msgspec.Meta(description="For the next page; null when this is the last.")]


def read_limit(text: str | None) -> int:
    """Raises Problem 400 `query_invalid`."""
    if text is None:
        return LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LIMIT_MAX):
        raise Problem(400, "query_invalid", f"limit takes 1 to {LIMIT_MAX}.")
    return int(text)


def write_cursor(kind: str, place: str) -> str:
    """Opaque to clients: the page after this one begins at `place`. `kind` keeps the cursors of different lists apart."""
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).rstrip(b"=").decode()


def read_place(kind: str, cursor: str, characters_max: int) -> str:
    """Raises Problem 400 `cursor_invalid`."""
    text = ""
    if len(cursor) <= characters_max:
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            text = ""
    if not text.startswith(f"{kind}:"):
        raise cursor_invalid()
    return text[len(kind) + 1 :]


def cursor_invalid() -> Problem:
    """Not one that was given out for this list."""
    return Problem(400, "cursor_invalid", "The cursor is not one of ours.")
