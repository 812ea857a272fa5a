"""What a lock pins when it is enrolled: its organization, its name, its door, and the key that it will believe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_service.devices.messages import Configuration, base64url
from py_service.devices.needs import CommandKey, DeviceSigner

if TYPE_CHECKING:
    from py_service._core_rs import DeviceRecord


class Configurations:
    def __init__(self, signer: DeviceSigner, command_key: CommandKey) -> None:
        self._signer = signer
        self._command_key = command_key

    async def make(self, organization: str, device: DeviceRecord) -> Configuration:
        key_id = await self._command_key(organization)
        public_key = self._signer.public_key("command", organization, key_id)
        return Configuration(organization, device.id, device.door, key_id, base64url(public_key))
