"""Sees that every request comes from one address: then a proxy stands in front that
FOLDLOG_TRUSTED_PROXIES does not name.

All visitors would be one and share one rate limit. What was seen is kept in
private/one-address.json, without the address, so that `foldlog status` and the next
start can say so; it goes when a second address shows up.
"""

from __future__ import annotations

import msgspec

from shared.disk.durable import PRIVATE_MODE, publish, remove
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339
from shared.undeclared_proxy import WARNING, UndeclaredProxy, trusted_proxies

ENOUGH = 50


class ProxyWatch:
    """Looks at the address of each request until it has seen two different ones."""

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self._data = data
        self._settings = settings
        self._log = log
        self._first = ""
        self._requests = 0
        self.settled = False  # two were seen: nothing is left to look for
        self._said = False

    def saw(self, address: str) -> None:
        if not self._first:
            self._first = address
        elif address != self._first:
            self.settled = True
            self._first = ""
        self._requests += 1

    def report(self) -> None:
        """Keep or drop what was seen. It writes a file, so not on the path of a
        request: call it every few seconds.
        """
        if self.settled:
            remove(
                [self._data.one_address]
            )  # also that of another worker, which one visitor kept busy, or of the last run
        elif not self._said and self._requests >= ENOUGH:
            seen = UndeclaredProxy(rfc3339(now_ms()), self._requests, trusted_proxies(self._settings))
            publish(self._data.one_address, msgspec.json.encode(seen) + b"\n", PRIVATE_MODE)
            self._said = True
            self._log.warning("undeclared_proxy", requests=self._requests, reason=WARNING)
