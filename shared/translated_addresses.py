"""IPv4 addresses within IPv6 ones, as a translator (NAT64, SIIT) writes them under the
well-known prefix of RFC 6052. Where it stands in front of an IPv6-only server, all IPv4
clients share that prefix, and a /64: taken for a household, they would be one visitor
and share one limit.

A prefix that a network chose for itself cannot be recognised.
"""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
WELL_KNOWN = ipaddress.IPv6Network("64:ff9b::/96")


def untranslated(address: IPAddress) -> IPAddress:
    """The IPv4 address that a translated one stands for; any other as it is."""
    if isinstance(address, ipaddress.IPv6Address) and address in WELL_KNOWN:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address
