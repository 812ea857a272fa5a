"""Which network a client is in: the peer of the connection, or whom a trusted proxy names.

A header that names a client is believed only from a trusted network, and only the one header that the proxy is known to set: of the
other, and of everything left of the first address that isn't trusted, a client could have written any part.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from py_service.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
HOPS_MAX = 16  # of a chain of proxies, from the right
CHARACTERS_MAX = 64  # of one address, with a zone
REMEMBERED = 4_096  # what was read lately: to read an address takes longer than to meter it
CLIENT_PREFIX = 64  # of IPv6: what one client is given


class ClientNetworks:
    """`trusted`: networks of proxies. `header`: the one that they set, `x-forwarded-for` or `forwarded`."""

    def __init__(self, trusted: Sequence[Network] = (), header: str = "x-forwarded-for") -> None:
        self._trusted = trusted
        self._header = header

    def of(self, peer: str, headers: Mapping[str, str]) -> str:
        """An IPv4 address or an IPv6 /64. `peer` is `address:port` (or something without an address: taken as it is)."""
        host = peer.rpartition(":")[0].strip("[]")
        address = _parsed(host)
        if address is None:
            return host
        if self._is_trusted(address):
            address = self._named(address, headers.get(self._header, ""))
        return _network(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _named(self, proxy: Address, header: str) -> Address:
        """The right-most address that isn't a trusted proxy's; the last one that could be read when the chain breaks before it."""
        found = proxy
        for hop in reversed(header.rsplit(",", HOPS_MAX)[-HOPS_MAX:]):
            named = _parsed(_host(hop if self._header == "x-forwarded-for" else _for_of(hop)))
            if named is None:
                break
            found = named
            if not self._is_trusted(found):
                break
        return found


def _for_of(element: str) -> str:
    """The value of `for` in a forwarded-element (RFC 7239 section 4), or nothing."""
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _host(hop: str) -> str:
    """Without the port that some proxies add."""
    text = hop.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@lru_cache(REMEMBERED)
def _network(address: Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address.packed, CLIENT_PREFIX), strict=False))
    return str(address)


def _parsed(text: str) -> Address | None:
    """An IPv4 address inside IPv6 is the IPv4 address."""
    return _read(text) if len(text) <= CHARACTERS_MAX else None


@lru_cache(REMEMBERED)
def _read(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
