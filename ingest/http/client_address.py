"""Identifies the client behind trusted proxies: its address, the requested host, and
the networks that its rate limit applies to.

Forwarding headers count only as far as trusted proxies wrote them. The address is used
for the visitor hash, the rate limit and the country, and is never stored (P11).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from multidict import MultiMapping

from shared.host_names import lower_host
from shared.settings import Settings
from shared.translated_addresses import IPAddress, untranslated

Headers = MultiMapping[str]

_REMEMBERED = 4096
# Longer ones than any host and hop are looked up anew each time: what is remembered is
# bounded in bytes.
_REMEMBERED_CHARS = 300


class Client(NamedTuple):
    """`address`: without port, IPv4 where possible. `host`: lower case, with its port
    if any.
    """

    address: str
    host: str
    through_proxy: bool


class _Hop(NamedTuple):
    address: str | None  # None: not an address
    is_trusted: bool


class Proxies:
    """The proxies of FOLDLOG_TRUSTED_PROXIES, and the clients behind them."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = settings.trusted_proxies
        # A visitor sends several events, and all requests come through the same
        # proxies.
        self._look_up = lru_cache(maxsize=_REMEMBERED)(self._hop)
        self._direct = lru_cache(maxsize=_REMEMBERED)(_direct)

    def identify(self, peer: str, headers: Headers) -> Client:
        """The client behind a connection from `peer`: the right-most hop that is not a
        trusted proxy.
        """
        host = headers.get("Host", "")
        hop = self._look_up(peer) if self._trusted else _UNTRUSTED
        if not hop.is_trusted:
            return self._direct(peer, host) if len(host) <= _REMEMBERED_CHARS else _direct(peer, host)
        # Proxies may append to the header or add another one: in order, they form one
        # list.
        address, left = peer, ",".join(headers.getall("X-Forwarded-For", []))
        while left and hop.is_trusted:
            left, _, last = left.rpartition(",")
            hop = self._look_up(last) if len(last) <= _REMEMBERED_CHARS else _UNTRUSTED
            address = hop.address or address
        # The first proxy was asked for the first host of the list. Some send the header
        # empty.
        asked = headers.get("X-Forwarded-Host", "").partition(",")[0].strip()
        return Client(address, lower_host(asked or host), through_proxy=True)

    def is_trusted(self, peer: str) -> bool:
        return self._look_up(peer).is_trusted

    def _hop(self, text: str) -> _Hop:
        """An IPv4 address that a translator wrote is a client's: it makes no proxy."""
        found = _parsed(text)
        if found is None:
            return _UNTRUSTED
        return _Hop(str(untranslated(found)), any(found in network for network in self._trusted))


_UNTRUSTED = _Hop(None, is_trusted=False)


def _direct(peer: str, host: str) -> Client:
    return Client(plain_address(peer) or peer, lower_host(host), through_proxy=False)


def plain_address(text: str) -> str | None:
    """The address without blanks, port, brackets and zone, and an IPv4 address as such
    that an IPv6 one stands for; None if invalid.
    """
    found = _parsed(text)
    return str(untranslated(found)) if found else None


def _parsed(text: str) -> IPAddress | None:
    """IPv4-mapped IPv6 is IPv4: so a socket for both writes it."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    bare = bare.partition("%")[0]
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


# A household or a host has a /64, a customer of a provider a /56 or a /48. Wider
# networks have more users and a higher limit; without these tiers, a client with a /48
# would have 65,536 times the limit.
WIDTHS = ((64, 1), (56, 8), (48, 64))


@lru_cache(maxsize=_REMEMBERED)
def rate_limit_networks(address: str) -> tuple[tuple[str, int], ...]:
    """The networks that a client's requests count for, narrowest first, each with its
    multiple of the limit.
    """
    if ":" not in address:
        return ((address, 1),)
    try:
        number = int(ipaddress.IPv6Address(address))
    except ValueError:
        return (("", 1),)
    return tuple((f"{number >> (128 - width):x}/{width}", times) for width, times in WIDTHS)
