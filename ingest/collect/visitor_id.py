"""Ids for visitors without one: a keyed hash of site, address and user agent, with a
salt that lives one day (P11).

All workers share the salt in private/salt.json. It is replaced at midnight of
FOLDLOG_TIMEZONE; without the old one no hash can be traced to an address. The address
itself is never stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, date, datetime, timedelta

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


class VisitorHash:
    """Makes visitor ids. They are the same in all workers, and after a restart."""

    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._data = data
        self._zone = settings.zone
        self._salt = Salt("", "")

    def __call__(self, received_ms: int, site: str, address: str, ua: str) -> str:
        day = self._day(received_ms)
        salt = self._salt  # read once, because maintenance may drop it in its thread
        if day != salt.day:
            salt = self._salt = salt_of_day(self._data, day)
        return hash_visitor(bytes.fromhex(salt.salt), site, address, ua)

    def delete_expired_salt(self, now_ms: int) -> None:
        """Delete a salt whose day is over, even if no visitor needs the next one."""
        day = self._day(now_ms)
        if self._salt.day != day:
            self._salt = Salt("", "")
        delete_expired_salt(self._data, day)

    def _day(self, epoch_ms: int) -> str:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(self._zone).date().isoformat()


def hash_visitor(salt: bytes, site: str, address: str, ua: str) -> str:
    """16 characters of HMAC-SHA-256 over the three, separated by NUL."""
    message = "\x00".join((site, address, ua)).encode("utf-8", "surrogateescape")
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
