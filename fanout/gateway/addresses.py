"""Where a client is: the address that limits count by. Pure; knows addresses and one header.

`X-Forwarded-For` is what its sender says, so it is believed only as far as it was written by trusted proxies: from
the right, up to the first address that is none of theirs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

FORWARDED_HEADER = "x-forwarded-for"
_IPV6_CLIENT_BITS = 64  # what one customer is given at least (RFC 6177); single addresses would be no limit

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressReader:
    """Finds out client addresses behind trusted proxies.

    Args:
        trusted: addresses and networks of proxies, valid (`Settings.trusted_proxies`).
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = [ipaddress.ip_network(network) for network in trusted]

    def read(self, peer: str, forwarded: Iterable[str]) -> str:
        """The client's address, as limits count it: an IPv4 address, or an IPv6 network of 64 bits.

        Args:
            peer: the other end of the connection; anything that is no address (a unix socket) counts as it is.
            forwarded: values of the header `X-Forwarded-For`, in order.

        Costs 3 us, and more only with trusted proxies. Raises nothing.
        """
        address = _parse(peer)
        if address is None:
            return peer
        if self._trusted:
            hops = [hop for value in forwarded for hop in value.split(",")]
            while hops and self._is_trusted(address):
                hop = _parse(hops.pop())
                if hop is None:  # not written by a proxy that we trust to write addresses
                    break
                address = hop
        return _describe(address)

    def trace(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Of where a call says that it comes from, what can be believed: the client first, then proxies, then the peer.

        Args:
            addresses: values of `X-Forwarded-For` in order, and the peer as the last.
        """
        believed = [addresses[-1]]
        for hop in reversed(addresses[:-1]):
            nearer = _parse(believed[-1])
            if nearer is None or not self._is_trusted(nearer) or _parse(hop) is None:
                break
            believed.append(hop)
        return tuple(reversed(believed))

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def _parse(text: str) -> _Address | None:
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:443, as some proxies write
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _describe(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_CLIENT_BITS), strict=False))
