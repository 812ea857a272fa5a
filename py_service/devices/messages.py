"""Bodies and answers of the devices room."""

from __future__ import annotations

import base64
import binascii
import contextlib
from typing import Annotated

import msgspec

from py_service.errors import Problem
from py_service.identifiers import KIND, Moment

_NONCE_BYTES_MIN = 16
_NONCE_BYTES_MAX = 32
_ASSERTION_CHARACTERS_MAX = 4_096
_BASE64URL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

Assertion = Annotated[str, msgspec.Meta(min_length=1, max_length=_ASSERTION_CHARACTERS_MAX)]
OrganizationId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["nordlicht"], extra_json_schema={KIND: "organization"})]
HoldId = Annotated[str, msgspec.Meta(min_length=1, max_length=96, examples=["unlocks-2d8cc51a6e0cd7a5:000000000003:008"])]


class TokenBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    organization: OrganizationId
    assertion: Assertion


class TimeBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`nonce` is base64url without padding, of 16 to 32 bytes."""

    organization: OrganizationId
    assertion: Assertion
    nonce: Annotated[str, msgspec.Meta(min_length=22, max_length=43)]


class HoldBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`hold`: the one that the lock keeps at the moment, to have it renewed."""

    organization: OrganizationId
    assertion: Assertion
    hold: HoldId | None = None


class GatewayToken(msgspec.Struct, frozen=True):
    token: str
    expires_at: Moment


class SignedTime(msgspec.Struct, frozen=True):
    """`message` is COSE, base64url without padding."""

    message: str


class HoldLease(msgspec.Struct, frozen=True):
    """`message`: a door command `hold`, COSE in base64url without padding; null when the bolt is not to be kept back."""

    hold: HoldId | None
    message: Annotated[str, msgspec.Meta(examples=["0oRYMaMBJwN4HmFwcGxpY2F0aW9uL25leGtleS1jb21tYW5kK2N3dA..."])] | None
    ask_again_in_ms: Annotated[int, msgspec.Meta(examples=[2_000])]


class Configuration(msgspec.Struct, frozen=True):
    """What a lock pins at enrolment. `public_key` is base64url without padding."""

    organization: str
    lock: str
    door: str | None
    key_id: str
    public_key: str


TOKEN_BODY = msgspec.json.Decoder(TokenBody)
HOLD_BODY = msgspec.json.Decoder(HoldBody)
TIME_BODY = msgspec.json.Decoder(TimeBody)


def base64url(value: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def nonce_of(text: str) -> bytes:
    """The nonce's bytes. Raises Problem 400 `field_invalid`."""
    value = b""
    if _BASE64URL.issuperset(text):  # the decoder would take `+` and `/` too
        with contextlib.suppress(binascii.Error):
            value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if not _NONCE_BYTES_MIN <= len(value) <= _NONCE_BYTES_MAX:
        raise Problem(400, "field_invalid", "Expected 16 to 32 bytes in base64url - at `$.nonce`")
    return value
