"""Sees that every request comes from one address: then a proxy stands in front that FOLDLOG_TRUSTED_PROXIES does not name.

All visitors would be one and share one rate limit. What was seen is kept in private/one-address.json, without the address, so
that `foldlog status` and the next start can say so; it goes when a second address shows up.
"""

from __future__ import annotations

import msgspec

from ingest.wal.commit_queue import Log
from shared.disk.durable import PRIVATE_MODE, publish, remove
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.timestamps import now_ms, rfc3339

ENOUGH = 50
WARNING = (
    "every request without a key comes from one address: if a proxy stands in front of Foldlog, name it in "
    "FOLDLOG_TRUSTED_PROXIES and let it send X-Forwarded-For; until then all visitors count as one and share one rate limit"
)


class OneAddress(msgspec.Struct, frozen=True):
    """When it was noticed, after how many requests, and with which proxies trusted."""

    since: str
    requests: int
    trusted_proxies: str


_ONE_ADDRESS = msgspec.json.Decoder(OneAddress)


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
        """Keep or drop what was seen. It writes a file, so not on the path of a request: call it every few seconds."""
        if self.settled:
            remove([self._data.one_address])  # also that of another worker, which one visitor kept busy, or of the last run
        elif not self._said and self._requests >= ENOUGH:
            seen = OneAddress(rfc3339(now_ms()), self._requests, _names(self._settings))
            publish(self._data.one_address, msgspec.json.encode(seen) + b"\n", PRIVATE_MODE)
            self._said = True
            self._log.warning("one_address", requests=self._requests, reason=WARNING)


def load(data: DataDirectory, settings: Settings) -> OneAddress | None:
    """What was seen last, if the same proxies were trusted then: with others it says nothing any more."""
    try:
        seen = _ONE_ADDRESS.decode(data.one_address.read_bytes())
    except (FileNotFoundError, PermissionError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return seen if seen.trusted_proxies == _names(settings) else None


def warning(data: DataDirectory, settings: Settings) -> str | None:
    """The sentence for an operator, or None when there is nothing to say."""
    return WARNING if load(data, settings) else None


def _names(settings: Settings) -> str:
    return " ".join(str(network) for network in settings.trusted_proxies)
