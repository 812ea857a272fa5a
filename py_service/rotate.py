"""The composition root of `nexkey key rotate`: publishes the next access key. It needs the store and the master key, and no running api.

Each api process loads the key within seconds, the gateways and other verifiers meanwhile; it signs from its moment on.
"""

from __future__ import annotations

from py_service._core_rs import KeyRing
from py_service.errors import SettingsError
from py_service.identity.keys import KeyStore
from py_service.identity.signing_key import SigningKey
from py_service.settings import Settings, need
from py_service.stores.mongo import Mongo, now_ms, store_errors


async def rotate_access_key(settings: Settings) -> SigningKey:
    """The key that signs next; while one is on its way, that one.

    Raises SettingsError, Problem 503, and the core's error when the stored keys are sealed with another master key.
    """
    if settings.master_key is None:
        raise SettingsError("NEXKEY_MASTER_KEY: is needed to seal a key; 32 bytes in base64")
    master_key = settings.master_key

    def make_ring() -> KeyRing:
        return KeyRing(master_key.reveal())

    mongo = Mongo(need(settings.mongo_url, "NEXKEY_MONGO_URL"), settings.mongo_database, settings.store_timeout_ms)
    try:
        async with store_errors():
            await mongo.refuse_unfit_server()
        return await KeyStore(mongo.database, make_ring(), make_ring, now_ms).rotate("access", "")
    finally:
        await mongo.close()
