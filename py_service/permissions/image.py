"""Images: whole after-states of objects, the unit of snapshots and change records (docs/protocols/documents.md)."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from py_service.stores.mongo import plain


class Image(TypedDict):
    """`document` None is a tombstone."""

    kind: str
    id: str
    document: dict[str, object] | None


_ENCODER = msgspec.json.Encoder(enc_hook=plain)


def encode_images(images: list[Image]) -> bytes:
    """As the core reads them."""
    return _ENCODER.encode(images)
