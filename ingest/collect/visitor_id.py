"""Visitors who bring no id: a keyed hash of site, address and user agent under a salt
that lives one day (P11).

The salt is shared by all workers through private/salt.json and replaced at midnight of
FOLDLOG_TIMEZONE; the old one is gone then, and with it every way back from a hash to an
address. The address itself is never stored.
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
    """Makes visitor ids. The same for all workers, and after a restart on the same
    day.
    """

    def __init__(self, data: DataDirectory, settings: Settings) -> None:
        self._data = data
        self._zone = settings.zone
        self._salt = Salt("", "")

    def __call__(self, received_ms: int, site: str, address: str, ua: str) -> str:
        day, salt = (
            self._day(received_ms),
            self._salt,
        )  # looked at once: housekeeping may forget it meanwhile, in its thread
        if day != salt.day:
            salt = self._salt = salt_of_day(self._data, day)
        return hash_visitor(bytes.fromhex(salt.salt), site, address, ua)

    def forget_past_days(self, now_ms: int) -> None:
        """Destroy a salt whose day is over, also when no visitor comes who would need
        the next one.
        """
        day = self._day(now_ms)
        if self._salt.day != day:
            self._salt = Salt("", "")
        drop_salt_of_other_days(self._data, day)

    def _day(self, epoch_ms: int) -> str:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(self._zone).date().isoformat()


def hash_visitor(salt: bytes, site: str, address: str, ua: str) -> str:
    """16 characters of HMAC-SHA-256 over the three, unambiguously separated."""
    message = "\x00".join((site, address, ua)).encode("utf-8", "surrogateescape")
    return base64.urlsafe_b64encode(hmac.digest(salt, message, hashlib.sha256)[:_HASH_BYTES]).decode("ascii")


def salt_of_day(data: DataDirectory, day: str) -> Salt:
    """Today's salt: the kept one, or a new one that replaces an older one.

    That of tomorrow is used as it is: another worker was faster over midnight, or this
    clock stepped back over it.
    """
    with UnixFileLock(data.salt_lock, fallback_to_soft=False, mode=PRIVATE_MODE):
        kept = _load(data)
        if kept is not None and _serves(kept, day):
            return kept
        made = Salt(day, secrets.token_hex(32))
        publish(data.salt, msgspec.json.encode(made) + b"\n", PRIVATE_MODE)
        return made


def drop_salt_of_other_days(data: DataDirectory, day: str) -> None:
    """Remove the kept salt unless it is that of `day`, or of the next: a worker may be
    late over midnight.
    """
    kept = _load(data)
    if kept is None or _serves(kept, day):
        return
    with UnixFileLock(data.salt_lock, fallback_to_soft=False, mode=PRIVATE_MODE):
        kept = _load(data)
        if kept is not None and not _serves(kept, day):
            remove([data.salt])


def _serves(kept: Salt, day: str) -> bool:
    return kept.day in {day, (date.fromisoformat(day) + timedelta(days=1)).isoformat()}


def _load(data: DataDirectory) -> Salt | None:
    try:
        return _SALT.decode(data.salt.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
