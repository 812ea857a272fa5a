"""The frames between a device and the gateway (docs/protocols/realtime.md), as far as the simulators speak them. No behaviour."""

from __future__ import annotations

import msgspec

SUBPROTOCOL = "nexkey.v1.json"
FRAME_BYTES_MAX = 262_144


class Position(msgspec.Struct):
    epoch: str
    offset: int


class ServerFrame(msgspec.Struct):
    """Any frame of the gateway: `type` says which of the fields count."""

    type: str
    command: str = ""
    message: str = ""
    number: int = 0
    expires_at: int = 0
    position: Position | None = None
    recovered: bool = False
    reason: str | None = None
    event: msgspec.Raw = msgspec.Raw(b"null")
    code: str = ""
    detail: str = ""


_DECODER = msgspec.json.Decoder(ServerFrame)
_ENCODER = msgspec.json.Encoder()


def decode_frame(text: str | bytes) -> ServerFrame:
    """Raises msgspec.MsgspecError."""
    return _DECODER.decode(text)


def encode_frame(frame: dict[str, object]) -> str:
    return _ENCODER.encode(frame).decode()
