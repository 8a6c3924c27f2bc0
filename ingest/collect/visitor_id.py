"""Ids for visitors without one: a keyed hash of site, address and user agent, with a
salt that lives one day (P11).

All workers share the salt in private/salt.json. It is replaced at midnight of
FOLDLOG_TIMEZONE; without the old one no hash can be traced to an address. The address
itself is never stored.

An event that happened on another day than that of its receipt is hashed with its day,
so that no hash stands on two days. The salt of its own day may be gone, so the hash is
not that of the visitor's other events of that day, either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import msgspec
from filelock import UnixFileLock

from shared.disk.durable import PRIVATE_MODE, publish, remove
from shared.disk.layout import DataDirectory
from shared.settings import Settings

_HASH_BYTES = 12


class Salt(msgspec.Struct, frozen=True):
    """The salt of one calendar day in `FOLDLOG_TIMEZONE`, as hex."""

    day: str
    salt: str


_SALT = msgspec.json.Decoder(Salt)


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
        self._today = _NO_DAY

    def __call__(self, received_ms: int, site: str, address: str, ua: str) -> DailyVisitor:
        today = self._today  # read once, because maintenance may drop it in its thread
        if not today.start_ms <= received_ms < today.end_ms:
            today = self._today = self._load_day(received_ms)
        found: dict[str, str] = {}

        def on(time_ms: int) -> str:
            day = self._day(time_ms).isoformat()
            if day not in found:
                found[day] = hash_visitor(today.salt, day, site, address, ua)
            return found[day]

        return DailyVisitor(hash_visitor(today.salt, site, address, ua), today.start_ms, today.end_ms, on)

    def delete_expired_salt(self, now_ms: int) -> None:
        """Delete a salt whose day is over, even if no visitor needs the next one."""
        if not self._today.start_ms <= now_ms < self._today.end_ms:
            self._today = _NO_DAY
        delete_expired_salt(self._data, self._day(now_ms).isoformat())

    def _load_day(self, epoch_ms: int) -> _Today:
        day = self._day(epoch_ms)
        salt = salt_of_day(self._data, day.isoformat())
        start_ms, end_ms = (self._midnight_ms(day + timedelta(days=n)) for n in (0, 1))
        return _Today(start_ms, end_ms, bytes.fromhex(salt.salt))

    def _midnight_ms(self, day: date) -> int:
        return round(datetime.combine(day, time(), self._zone).timestamp() * 1000)

    def _day(self, epoch_ms: int) -> date:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(self._zone).date()


def hash_visitor(salt: bytes, *texts: str) -> str:
    """16 characters of HMAC-SHA-256 over site, address and user agent, for a late event
    with its day before them. NUL, which no header has, separates the texts.
    """
    message = "\x00".join(texts).encode("utf-8", "surrogateescape")
    return base64.urlsafe_b64encode(hmac.digest(salt, message, hashlib.sha256)[:_HASH_BYTES]).decode("ascii")


def salt_of_day(data: DataDirectory, day: str) -> Salt:
    """The salt of `day`: the stored one, or a new one that replaces an older one.

    A stored salt of the next day is used as well: another worker passed midnight first,
    or this clock stepped back over it.
    """
    with UnixFileLock(data.salt_lock, fallback_to_soft=False, mode=PRIVATE_MODE):
        stored = _load(data)
        if stored is not None and _is_valid_on(stored, day):
            return stored
        new = Salt(day, secrets.token_hex(32))
        publish(data.salt, msgspec.json.encode(new) + b"\n", PRIVATE_MODE)
        return new


def delete_expired_salt(data: DataDirectory, day: str) -> None:
    """Delete the stored salt unless it is that of `day` or of the next: another worker
    may have passed midnight first.
    """
    stored = _load(data)
    if stored is None or _is_valid_on(stored, day):
        return
    with UnixFileLock(data.salt_lock, fallback_to_soft=False, mode=PRIVATE_MODE):
        stored = _load(data)
        if stored is not None and not _is_valid_on(stored, day):
            remove([data.salt])


def _is_valid_on(stored: Salt, day: str) -> bool:
    return stored.day in {day, (date.fromisoformat(day) + timedelta(days=1)).isoformat()}


def _load(data: DataDirectory) -> Salt | None:
    try:
        return _SALT.decode(data.salt.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
