"""The script of a page behind a link, run by node with as much of a browser as it uses (`pass_page.mjs`, `password_page.mjs`)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest


def node_found() -> str:
    """Its path. Without it the test is skipped; where CI is set it fails, so that nothing passes there untried."""
    node = shutil.which("node")
    if node is not None:
        return node
    missing = "the page's script needs node to be run"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


async def seen_on_page(browser: str, *arguments: str) -> dict[str, Any]:
    """What a person sees, as the `browser` tells it, which is a file beside this one; it says what its arguments are."""
    script = str(Path(__file__).with_name(browser))
    process = await asyncio.create_subprocess_exec(
        node_found(), script, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, failed = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, failed.decode()
    return dict(json.loads(told))
