"""`nexkey key rotate` beside a running service: the next key is published, nobody's token fails, a foreign master key changes nothing."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

from py_service.settings import MASTER_KEY_BYTES
from py_service.supervise.environment import API_FIELDS, settings_environment
from tests.e2e.running import Service, running_service, until


async def rotated(service: Service, **changed: str) -> tuple[int, str]:
    """Exit status and everything that was printed."""
    environment = settings_environment(service.stack.settings, API_FIELDS) | changed
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "py_service", "key", "rotate",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_the_next_key_is_published_and_signs_later(tmp_path: Path) -> None:
    async with running_service(tmp_path, locks=False, doors=2) as service, service.client() as client:
        owner = service.owner()

        async def published() -> list[str]:
            return sorted(key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"])

        assert await published() == ["access.1"]
        status, printed = await rotated(service)
        assert status == 0 and printed.startswith("access.2 signs from "), printed
        assert (await rotated(service))[1] == printed  # one on its way is enough

        async def both() -> bool:
            return await published() == ["access.1", "access.2"]

        for _ in range(service.stack.settings.api_workers * 4):  # whichever process answers
            await until(both, 15)
        assert (await client.get("/v1/me", headers=owner)).status_code == 200
        account = service.made.account("owner")
        signed_in = await client.post("/v1/sign-in", json={"email": account.email, "password": account.password})
        header = signed_in.json()["access_token"].split(".")[0]
        assert b'"kid":"access.1"' in base64.urlsafe_b64decode(header + "==")

        another = base64.b64encode(os.urandom(MASTER_KEY_BYTES)).decode()
        status, printed = await rotated(service, NEXKEY_MASTER_KEY=another)
        assert status != 0 and another not in printed, printed
        assert await service.database["signing_keys"].count_documents({"purpose": "access"}) == 2
