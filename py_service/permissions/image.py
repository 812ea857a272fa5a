"""Images: whole after-states of objects, the unit of snapshots and change records (docs/protocols/documents.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from py_service.stores.mongo import plain


class Image(TypedDict):
    """`document` None is a tombstone."""

    kind: str
    id: str
    document: dict[str, object] | None


STORED_ONLY = ("_id", "org", "by_name", "listed")  # how a document is found; no part of what it says
_ENCODER = msgspec.json.Encoder(enc_hook=plain)


def body_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a stored document, as an image has it."""
    return {name: value for name, value in document.items() if name not in STORED_ONLY}


def image_of(kind: str, document: Mapping[str, Any]) -> Image:
    """The image of a stored document."""
    return {"kind": kind, "id": str(document["id"]), "document": body_of(document)}


def encode_images(images: list[Image]) -> bytes:
    """As the core reads them."""
    return _ENCODER.encode(images)
