"""Own traffic that is not to be counted: addresses in FOLDLOG_EXCLUDE_NETWORKS.

Its events are refused, not dropped behind a 200: `accepted` means stored (P1, P8), and
a person of the office sees in the browser's console why nothing is counted. The address
is compared here and kept nowhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from ingest.http.problem import Problem

_REMEMBERED = 4096


class OwnTraffic:
    def __init__(self, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
        self._networks = networks
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def __bool__(self) -> bool:
        """Whether any networks are named."""
        return bool(self._networks)

    def check(self, address: str) -> None:
        """Raises Problem 403 for an address of these networks."""
        if self.includes(address):
            raise Problem(
                403, "excluded_network", "events from this address are not counted: it is in FOLDLOG_EXCLUDE_NETWORKS"
            )

    def includes(self, address: str) -> bool:
        """Whether an address in one spelling is in these networks."""
        return bool(self._networks) and self._remembered(address)

    def _look_up(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)
