"""The client's address in a line, and what the visitor's hash takes of it: an IPv4
address, or the /64 of an IPv6 one, since a household has one and changes its addresses
within it.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache

from shared.translated_addresses import WELL_KNOWN

_REMEMBERED = 1 << 14
_PRIVATE = re.compile(r"10\.|127\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd]|fe[89ab]|::1")  # fmt: skip  # noqa: E501
_V4 = re.compile(r"(?<![0-9.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9])")
_V6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.\d{1,3}){0,3}(?![0-9A-Za-z])")
_MAPPED = b"\0" * 10 + b"\xff\xff"
_TRANSLATED = WELL_KNOWN.network_address.packed[:12]


@lru_cache(maxsize=_REMEMBERED)
def client_of(text: str) -> str:
    """The client in an address field: one address (with a port or in brackets), a list
    of X-Forwarded-For, or a load balancer's address before the client's. Empty where it
    is none.
    """
    groups = [each.strip() for each in re.split(r"(?<!,) +", text.strip())]
    clients = [each.split(",")[0].strip() for each in groups if each]
    addresses = [_address(each) for each in clients]
    if not addresses or "" in addresses:
        return ""
    if len(addresses) > 1 and _PRIVATE.match(clients[-1].lower()) and not _PRIVATE.match(clients[0].lower()):
        return addresses[0]
    return addresses[-1]


def first_forwarded(text: str) -> str:
    """The first address in a list of X-Forwarded-For; empty without one."""
    return next(filter(None, (_address(each.strip()) for each in text.split(","))), "")


def network_of(address: str) -> str:
    """What the visitor's hash takes of an address in one spelling."""
    return socket.inet_pton(socket.AF_INET6, address)[:8].hex() if ":" in address else address


def _address(text: str) -> str:
    """In one spelling, IPv4 where an IPv6 address stands for one."""
    bare = text.partition("]")[0][1:] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        packed = socket.inet_pton(family, bare.partition("%")[0])
    except (OSError, ValueError):
        return ""
    if len(packed) == 4:
        return bare
    if packed.startswith((_MAPPED, _TRANSLATED)):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def masked(line: str) -> str:
    """A line for people, without the addresses in it."""
    return _V6.sub("[address]", _V4.sub("[address]", line))
