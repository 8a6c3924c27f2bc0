"""Ids for visitors without one: a keyed hash of site, address and user agent, with a
salt that lives one day (P11).

All workers share the salt of the day (daily_salt.py), and all hosts of a store
(sharing/salt.py). Without it no hash can be traced to an address. The address itself is
never stored.

An event that happened on another day than that of its receipt is hashed with its day,
so that no hash stands on two days. The salt of its own day may be gone, so the hash is
not that of the visitor's other events of that day, either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple

from ingest.collect.daily_salt import day_at, delete_expired_salt, salt_of_day
from ingest.http.client_address import rate_limit_networks
from shared.disk.layout import DataDirectory
from shared.settings import Settings

_HASH_BYTES = 12


class DailyVisitor(NamedTuple):
    """The visitor of one request, for its events without one: `today` from `start_ms`
    to `end_ms` (not included), the day of receipt; another one `on` each other day.
    """

    today: str
    start_ms: int
    end_ms: int
    on: Callable[[int], str]


class _Today(NamedTuple):
    """A calendar day in `FOLDLOG_TIMEZONE`, in epoch milliseconds, and its salt."""

    start_ms: int
    end_ms: int
    salt: bytes


_NO_DAY = _Today(0, 0, b"")


class VisitorHash:
    """Makes visitor ids. They are the same in all workers, and after a restart."""

    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._data = data
        self._zone = settings.zone
        self._is_shared = bool(settings.hosts_database)
        self._today = _NO_DAY

    def __call__(self, received_ms: int, site: str, address: str, ua: str) -> DailyVisitor:
        today = self._today  # read once, because maintenance may drop it in its thread
        if not today.start_ms <= received_ms < today.end_ms:
            today = self._today = self._load_day(received_ms)
        found: dict[str, str] = {}

        def on(time_ms: int) -> str:
            day = day_at(self._zone, time_ms).day
            if day not in found:
                found[day] = hash_visitor(today.salt, site, address, ua, day=day)
            return found[day]

        return DailyVisitor(hash_visitor(today.salt, site, address, ua), today.start_ms, today.end_ms, on)

    def delete_expired_salt(self, now_ms: int) -> None:
        """Delete a salt whose day is over, even if no visitor needs the next one."""
        if not self._today.start_ms <= now_ms < self._today.end_ms:
            self._today = _NO_DAY
        delete_expired_salt(self._data, day_at(self._zone, now_ms).day)

    def _load_day(self, epoch_ms: int) -> _Today:
        day = day_at(self._zone, epoch_ms)
        salt = salt_of_day(self._data, day, is_shared=self._is_shared)
        return _Today(day.start_ms, day.end_ms, bytes.fromhex(salt.salt))


def hash_visitor(salt: bytes, site: str, address: str, ua: str, *, day: str = "") -> str:
    """16 characters of HMAC-SHA-256 over site, address and user agent, for a late event
    with its day before them. Of an IPv6 address the /64 counts, as for the rate limit:
    a device changes the rest as often as it likes. NUL, which no header has, separates
    the texts.
    """
    network, _ = rate_limit_networks(address)[0]
    message = "\x00".join([*([day] if day else []), site, network, ua]).encode("utf-8", "surrogateescape")
    return base64.urlsafe_b64encode(hmac.digest(salt, message, hashlib.sha256)[:_HASH_BYTES]).decode("ascii")
