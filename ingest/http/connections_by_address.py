"""How many connections each address has open, so that one cannot take the places of
others. A new one beyond the bound takes the place of an idle one of the same address;
where none is idle, it is refused.

Trusted proxies have as many as they like. An IPv6 network counts as for the rate limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ingest.http.client_address import plain_address, rate_limit_networks

# So many of an address are looked at for an idle one, in turns.
_LOOKED_AT = 8


class Idling(Protocol):
    """What the bound asks of a connection."""

    def is_idle(self) -> bool: ...

    def force_close(self) -> None: ...


class ConnectionsByAddress:
    """At most `most` of each address; 0: no bound."""

    def __init__(self, most: int, is_trusted: Callable[[str], bool]) -> None:
        self._most = most
        self._is_trusted = is_trusted
        self._open: dict[str, dict[Idling, None]] = {}

    def add(self, connection: Idling, peer: str) -> bool:
        """Whether it may stay. It counts until it is removed, also if it may not."""
        if not self._is_bounded(peer):
            return True
        fits = True
        for network, times in _networks(peer):
            opened = self._open.setdefault(network, {})
            if len(opened) >= self._most * times:
                fits = self._close_idle(opened) and fits
            opened[connection] = None
        return fits

    def remove(self, connection: Idling, peer: str) -> None:
        """It is closed."""
        for network, _ in _networks(peer):
            opened = self._open.get(network)
            if opened is not None:
                opened.pop(connection, None)
                if not opened:
                    del self._open[network]

    def _is_bounded(self, peer: str) -> bool:
        return bool(self._most and peer) and not self._is_trusted(peer)

    def _close_idle(self, opened: dict[Idling, None]) -> bool:
        """Close one that is idle; the busy ones that were looked at are last in turn
        next time.
        """
        for connection in list(_first(opened, _LOOKED_AT)):
            del opened[connection]
            if connection.is_idle():
                connection.force_close()
                return True
            opened[connection] = None
        return False


def _first(opened: dict[Idling, None], count: int) -> list[Idling]:
    return [connection for connection, _ in zip(opened, range(count), strict=False)]


def _networks(peer: str) -> tuple[tuple[str, int], ...]:
    return rate_limit_networks(plain_address(peer) or peer)


UNBOUNDED = ConnectionsByAddress(0, lambda _peer: True)
