"""Ports: finding free ones, and saying clearly that one is taken."""

from __future__ import annotations

import random
import socket

from py_service.errors import SettingsError

# Below the range from which the kernel takes the ports of outgoing connections: a store that starts again must find its port free,
# and a client that dials a port where nobody listens could otherwise meet itself.
FREE_FIRST = 20_000
FREE_LAST = 31_999
TRIES_MAX = 200


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Asked without SO_REUSEPORT: a forgotten server that shares its port counts as taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str, taken: set[int]) -> int:
    """A free port that isn't in `taken`, and is put there. Raises SettingsError when there is none."""
    for _ in range(TRIES_MAX):
        port = random.randint(FREE_FIRST, FREE_LAST)
        if port not in taken and is_free(host, port):
            taken.add(port)
            return port
    raise SettingsError(f"NEXKEY_API_PORT: no free port on {host} between {FREE_FIRST} and {FREE_LAST}")


def chosen_port(setting: str, host: str, port: int, taken: set[int]) -> int:
    """`port`, or a free one for 0. Raises SettingsError that names the setting when it is taken."""
    if port == 0:
        return free_port(host, taken)
    if not is_free(host, port):
        raise SettingsError(f"{setting}: port {port} on {host} is taken (0 chooses a free one)")
    taken.add(port)
    return port
