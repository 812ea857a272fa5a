"""The unit tests' edge, served by Granian: `python -m tests.integration.edge_served <port>`. Says its worker's process id."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import cast

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

from py_service.edge.limits import Limits
from py_service.edge.server import Composition, EdgeApplication
from tests.unit.edge_support import Edge


async def compose() -> Composition:
    composition = await Edge(Limits(body_seconds_max=0.3)).compose()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    return composition


def load() -> Callable[..., object]:
    return cast("Callable[..., object]", EdgeApplication(compose))


if __name__ == "__main__":
    settings = {"interface": Interfaces.RSGI, "loop": Loops.uvloop, "http": HTTPModes.http1, "websockets": False, "log_enabled": False}
    Granian("edge", port=int(sys.argv[1]), **settings).serve(target_loader=load, wrap_loader=False)  # type: ignore[arg-type]
