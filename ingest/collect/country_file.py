"""The operator's country database in MaxMind's format, read again when it is replaced.

The address is looked up here and never stored (P11): no log line contains it, and the
cache is cleared once a minute. A defective file never costs an event: the last good one
stays in use.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import maxminddb
from maxminddb import InvalidDatabaseError, Reader

from ingest.collect.country import NOWHERE, Place, country_code
from shared.log import Log
from shared.settings import SettingsError

POLL_S = 60.0
_CACHED = 4096
TEXT_MAX = 100

Clock = Callable[[], float]
Stamp = tuple[int, int, int]  # inode, mtime in ns, size


class _Unreadable(Exception):
    """Why a country file cannot be used."""


class CountryFile:
    """A country database that the operator may replace at any time. Not thread-safe.

    Raises SettingsError when the file cannot be used at start.
    """

    def __init__(self, path: Path, log: Log, clock: Clock) -> None:
        self._path = path
        self._log = log
        self._clock = clock
        self._poll_at = clock() + POLL_S
        self._reported: set[tuple[Stamp | None, str]] = set()
        try:
            self._reader, self._stamp = _open(path)
        except _Unreadable as error:
            raise SettingsError(
                f"FOLDLOG_COUNTRY_FILE takes a country database in MaxMind's format, such as GeoLite2-Country.mmdb; "
                f"{path} cannot be used: {error}. Replace the file, or remove the setting."
            ) from None
        self._cached = lru_cache(maxsize=_CACHED)(self._query)

    def place(self, address: str) -> Place:
        now = self._clock()
        if now >= self._poll_at:
            self._poll_at = now + POLL_S
            # The keys are addresses, which must not stay in memory for longer.
            self._cached.cache_clear()
            self._refresh()
        return self._cached(address)

    def _refresh(self) -> None:
        """Use the current file. An unreadable one is retried at each poll: it may be
        half copied.
        """
        found = _stamp(self._path)
        if found == self._stamp:
            return
        try:
            reader, stamp = _open(self._path)
        except _Unreadable as error:
            self._report(found, str(error))
            return
        self._reader.close()
        self._reader, self._stamp = reader, stamp
        self._reported.clear()

    def _query(self, address: str) -> Place:
        ip = _parsed(address)
        if ip is None or (ip.version == 6 and self._reader.metadata().ip_version == 4):
            return NOWHERE
        try:
            record = self._reader.get(ip)
        except (InvalidDatabaseError, ValueError, TypeError):  # what damaged records raise
            # Without the error's text, which may contain the address.
            self._report(self._stamp, "a record is damaged")
            return NOWHERE
        return _place_in(record)

    def _report(self, stamp: Stamp | None, reason: str) -> None:
        """Log a defect of the file once, not once a minute or once a visitor."""
        if (stamp, reason) not in self._reported:
            self._reported.add((stamp, reason))
            self._log.error("country_file_unreadable", path=str(self._path), reason=reason)


def _open(path: Path) -> tuple[Reader, Stamp]:
    """Read the whole file into memory. Raises _Unreadable.

    Not mapped, because a file that is overwritten in place would change or shrink
    (SIGBUS) under the reader. Not the C extension, because it only maps, crashes with
    SIGSEGV on some damaged files, and puts the address into its errors. The price is a
    copy per worker, and about 0.1 ms instead of 0.01 ms for a lookup that is not
    cached.
    """
    try:
        with path.open("rb") as file:
            # Before reading: a file that is written meanwhile has another stamp at the
            # next poll.
            stamp = _stamp_of(os.fstat(file.fileno()))
            return maxminddb.open_database(file, maxminddb.MODE_FD), stamp
    except OSError as error:
        raise _Unreadable(error.strerror or str(error)) from None
    except (InvalidDatabaseError, ValueError, TypeError):
        raise _Unreadable("not a MaxMind database, or damaged") from None


def _stamp(path: Path) -> Stamp | None:
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def _stamp_of(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, an IPv4-mapped one (::ffff:192.0.2.1) as IPv4: some files lack
    those.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _place_in(record: object) -> Place:
    """Region and city only of the country in which the address is."""
    if not isinstance(record, dict):
        return NOWHERE
    country = _country_in(record, "country")
    if country is None:
        return Place(_country_in(record, "registered_country"))
    regions = record.get("subdivisions")
    region = regions[0] if isinstance(regions, list) and regions else None
    city = record.get("city")
    names = city.get("names") if isinstance(city, dict) else None
    return Place(country, _text(region, "iso_code"), _text(names, "en"))


def _text(of: object, name: str) -> str | None:
    """A text of the operator's file, of bounded length."""
    found = of.get(name) if isinstance(of, dict) else None
    return found[:TEXT_MAX] or None if isinstance(found, str) else None


def _country_in(record: dict[str, object], part: str) -> str | None:
    """Of the address, or of its network's registration (satellites)."""
    place = record.get(part)
    return country_code(place.get("iso_code")) if isinstance(place, dict) else None
