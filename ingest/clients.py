"""Who sent a request, through trusted proxies: the client's address, the host it asked for, the networks it is counted by.

A header is believed only as far as trusted proxies wrote it. The address is used for the visitor hash, the rate limit and the
country, and goes no further (P11).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from multidict import MultiMapping

from shared.settings import Settings

Headers = MultiMapping[str]
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

_REMEMBERED = 4096


class Client(NamedTuple):
    """`address` is without port, IPv4 where it can be; `host` is in lower case, with its port if it has one."""

    address: str
    host: str
    through_proxy: bool


def identify(peer: str, headers: Headers, settings: Settings) -> Client:
    """The client behind a connection from `peer`: the right-most hop that is not a trusted proxy."""
    trusted = settings.trusted_proxies
    host = headers.get("Host", "")
    if not trusted or not is_trusted(peer, trusted):
        return _direct(peer, host)
    # Proxies may append to the header or add another of its kind: together, in order, they are one list.
    hops = ",".join(headers.getall("X-Forwarded-For", [])).split(",")
    address = peer
    while hops and is_trusted(address, trusted):
        hop = plain_address(hops.pop().strip())
        if hop is None:
            break
        address = hop
    return Client(address, headers.get("X-Forwarded-Host", host).strip().lower(), through_proxy=True)


@lru_cache(maxsize=_REMEMBERED)
def _direct(peer: str, host: str) -> Client:
    return Client(plain_address(peer) or peer, host.lower(), through_proxy=False)


@lru_cache(maxsize=_REMEMBERED)
def plain_address(text: str) -> str | None:
    """An address without port and brackets, IPv4-mapped IPv6 as IPv4; None for anything else."""
    bare = text.partition("]")[0].lstrip("[") if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


@lru_cache(maxsize=_REMEMBERED)
def is_trusted(address: str, trusted: Networks) -> bool:
    plain = plain_address(address)
    if plain is None:
        return False
    found = ipaddress.ip_address(plain)
    return any(found in network for network in trusted)


# A household or a host has a /64, a customer of a provider a /56 or a /48. Wider networks hold more people, so they may send
# more; without them, whoever owns a /48 would have 65,536 times the limit.
WIDTHS = ((64, 1), (56, 8), (48, 64))


@lru_cache(maxsize=_REMEMBERED)
def counted_networks(address: str) -> tuple[tuple[str, int], ...]:
    """The networks that a client is counted by, the narrowest first, each with how many times the limit it may send."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return (("", 1),)
    if isinstance(found, ipaddress.IPv4Address):
        return ((str(found), 1),)
    number = int(found)
    return tuple((f"{number >> (128 - width):x}/{width}", times) for width, times in WIDTHS)
