"""Detects that every request comes from one address, as behind a proxy that is missing
in FOLDLOG_TRUSTED_PROXIES.

All visitors would then count as one and share one rate limit. The finding is kept in
private/one-address.json, without the address, for `foldlog status` and the next start;
it is deleted when a second address appears.
"""

from __future__ import annotations

import msgspec

from shared.disk.durable import PRIVATE_MODE, publish, remove
from shared.disk.layout import DataDirectory
from shared.log import Log
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339
from shared.undeclared_proxy import WARNING, UndeclaredProxy, trusted_proxies

MIN_REQUESTS = 50


class UndeclaredProxyDetector:
    """Observes the address of each request until two different ones have appeared."""

    def __init__(self, data: DataDirectory, settings: Settings, log: Log) -> None:
        self._data = data
        self._settings = settings
        self._log = log
        self._first = ""
        self._requests = 0
        self.ruled_out = False  # two addresses have appeared
        self._reported = False

    def observe(self, address: str) -> None:
        if not self._first:
            self._first = address
        elif address != self._first:
            self.ruled_out = True
            self._first = ""
        self._requests += 1

    def report(self) -> None:
        """Write or delete the finding. Writes files, so not on the path of a
        request.
        """
        if self.ruled_out:
            remove([self._data.undeclared_proxy])  # also that of another worker or of the previous run
        elif not self._reported and self._requests >= MIN_REQUESTS:
            finding = UndeclaredProxy(rfc3339(now_ms()), self._requests, trusted_proxies(self._settings))
            publish(self._data.undeclared_proxy, msgspec.json.encode(finding) + b"\n", PRIVATE_MODE)
            self._reported = True
            self._log.warning("undeclared_proxy", requests=self._requests, reason=WARNING)
