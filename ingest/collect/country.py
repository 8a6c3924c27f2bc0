"""The visitor's country: two letters from a trusted proxy's header, else from the
operator's MaxMind file, else absent.

The address is looked up here and goes no further (P11): no log line and no message
holds it, and those remembered are forgotten with the first visitor of each minute. A
file that goes bad never costs an event: the last good one stays in use.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import maxminddb
from maxminddb import InvalidDatabaseError, Reader

from shared.log import Log
from shared.settings import Settings, SettingsError

LOOK_EVERY_S = 60.0
_REMEMBERED = 4096

Clock = Callable[[], float]
Stamp = tuple[int, int, int]  # inode, modification time in ns, size: another one is another file


class _Unreadable(Exception):
    """Why a country file cannot be used, in words for an operator."""


class CountryLookup:
    """Says which country a visitor is in. Raises SettingsError when
    FOLDLOG_COUNTRY_FILE cannot be used.
    """

    def __init__(self, settings: Settings, log: Log, clock: Clock = time.monotonic) -> None:
        path = settings.country_file
        self._file = _CountryFile(path, log, clock) if path is not None else None

    def of(self, address: str, header: str | None) -> str | None:
        """Two upper-case letters, or None. `header` is what a trusted proxy said: None
        where there is none to trust.
        """
        country = country_code(header) if header is not None else None
        if country is None and self._file is not None:
            return self._file.country(address)
        return country


def country_code(text: object) -> str | None:
    """The code in upper case; None for what names no country."""
    if not isinstance(text, str) or len(text) != 2 or not (text.isascii() and text.isalpha()):
        return None  # Cloudflare's T1 (Tor) among them
    code = text.upper()
    return None if code in {"XX", "ZZ"} else code  # Cloudflare's unknown, Unicode's


class _CountryFile:
    """A country database that the operator may replace at any time. Belongs to one
    thread.
    """

    def __init__(self, path: Path, log: Log, clock: Clock) -> None:
        self._path = path
        self._log = log
        self._clock = clock
        self._look_at = clock() + LOOK_EVERY_S
        self._complaints: set[tuple[Stamp | None, str]] = set()
        try:
            self._reader, self._stamp = _open(path)
        except _Unreadable as error:
            raise SettingsError(
                f"FOLDLOG_COUNTRY_FILE takes a country database in MaxMind's format, such as GeoLite2-Country.mmdb; "
                f"{path} cannot be used: {error}. Put such a file there, or leave the setting out."
            ) from None
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def country(self, address: str) -> str | None:
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            # The keys are addresses: without new visitors to push them out they would
            # stay as long as the process.
            self._remembered.cache_clear()
            self._refresh()
        return self._remembered(address)

    def _refresh(self) -> None:
        """Use the file that is there now. A bad one is tried again at each look: it may
        be half copied, or not yet readable.
        """
        found = _stamp(self._path)
        if found == self._stamp:
            return
        try:
            reader, stamp = _open(self._path)
        except _Unreadable as error:
            self._complain(found, str(error))
            return
        self._reader.close()
        self._reader, self._stamp = reader, stamp
        self._complaints.clear()

    def _look_up(self, address: str) -> str | None:
        ip = _parsed(address)
        if ip is None or (ip.version == 6 and self._reader.metadata().ip_version == 4):
            return None
        try:
            record = self._reader.get(ip)
        except (InvalidDatabaseError, ValueError, TypeError):  # all that a damaged record was seen to raise
            # Not the error's own text: it is the library's to choose, and may name the
            # address.
            self._complain(self._stamp, "a record in it is damaged")
            return None
        return _country_in(record)

    def _complain(self, stamp: Stamp | None, reason: str) -> None:
        """Log what is wrong with a file: once, not once a minute or once a visitor."""
        if (stamp, reason) not in self._complaints:
            self._complaints.add((stamp, reason))
            self._log.error("country_file_unreadable", path=str(self._path), reason=reason)


def _open(path: Path) -> tuple[Reader, Stamp]:
    """Read the whole file into memory. Raises _Unreadable.

    Not mapped: a file that is overwritten in place would change, or shrink (SIGBUS),
    under the reader. Not the C extension, which only maps: damaged files that get past
    its checks end the process with SIGSEGV, and its errors name the address. The price
    is a copy per worker and a slower lookup, about 0.1 ms instead of 0.01, for what is
    not remembered.
    """
    try:
        with path.open("rb") as file:
            # Taken before reading: a file that is being written meanwhile has another
            # stamp at the next look.
            stamp = _stamp_of(os.fstat(file.fileno()))
            return maxminddb.open_database(file, maxminddb.MODE_FD), stamp
    except OSError as error:
        raise _Unreadable(error.strerror or str(error)) from None
    except (InvalidDatabaseError, ValueError, TypeError):
        raise _Unreadable("it is no MaxMind database, or is damaged") from None


def _stamp(path: Path) -> Stamp | None:
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def _stamp_of(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, as IPv4 where it is IPv4 in IPv6's clothes (::ffff:192.0.2.1): not
    every file has those.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _country_in(record: object) -> str | None:
    """Where the address is, else where its network is registered (satellites,
    anycast).
    """
    if not isinstance(record, dict):
        return None
    for part in ("country", "registered_country"):
        place = record.get(part)
        code = country_code(place.get("iso_code")) if isinstance(place, dict) else None
        if code is not None:
            return code
    return None
