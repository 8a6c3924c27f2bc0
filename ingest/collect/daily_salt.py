"""The salt of a day in private/salt.json, which all workers share (P11), and the next
one where a store has said it ahead.

A salt is replaced at midnight of FOLDLOG_TIMEZONE and deleted when its day is over.
Where the hosts of a store share salts, sharing/salt.py fetches them; a day for which
this host had to make one is noted, so that answers over hosts can say so.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from shared.disk.durable import PRIVATE_MODE, publish, remove
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock

SALT_BYTES = 32


class Salt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The salt of one calendar day in `FOLDLOG_TIMEZONE`, as hex; `next` is that of the
    day after, if it is known.
    """

    day: str
    salt: str
    next: Salt | None = None


class SaltDay(msgspec.Struct, frozen=True):
    """A calendar day in `FOLDLOG_TIMEZONE`; `end_ms` is not included."""

    day: str
    start_ms: int
    end_ms: int


_SALT = msgspec.json.Decoder(Salt)
_DAYS = msgspec.json.Decoder(tuple[SaltDay, ...])


def day_at(zone: ZoneInfo, epoch_ms: int) -> SaltDay:
    """The day of an instant."""
    return _day_of(zone, datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(zone).date())


def day_after(zone: ZoneInfo, day: SaltDay) -> SaltDay:
    return _day_of(zone, date.fromisoformat(day.day) + timedelta(days=1))


def _day_of(zone: ZoneInfo, day: date) -> SaltDay:
    start_ms, end_ms = (
        round(datetime.combine(day + timedelta(days=n), time(), zone).timestamp() * 1000) for n in (0, 1)
    )
    return SaltDay(day.isoformat(), start_ms, end_ms)


def new_salt() -> str:
    return secrets.token_hex(SALT_BYTES)


def salt_of_day(data: DataDirectory, day: SaltDay, *, is_shared: bool = False) -> Salt:
    """The salt of `day`: the stored one, or a new one that replaces an older one. Where
    salts are shared over hosts, a new one is noted as this host's own.

    A stored salt of the next day is used as well: another worker passed midnight first,
    or this clock stepped back over it.
    """
    with _locked(data):
        stored = _load(data)
        current = _current(stored, day.day)
        if current is None:
            if is_shared:  # noted before it is used
                _write_own_days(data, {*own_salt_days(data), day})
            current = Salt(day.day, new_salt())
        if current is not stored:
            _write(data, current)
        return current


def known_salt(data: DataDirectory, day: str) -> Salt | None:
    """The salt that is stored for `day`, or for the next one; None without one."""
    return _current(_load(data), day)


def keep_salts_of_store(data: DataDirectory, day: SaltDay, of_day: str, following: Salt | None) -> None:
    """Keep what the store says of `day` and the next one. A salt of `day` that is in
    use stays; if it is another one than `of_day`, the day is noted, else it is not any
    more.
    """
    with _locked(data):
        stored = _load(data)
        current = _current(stored, day.day) or Salt(day.day, of_day)
        if current.day != day.day:
            return  # another worker has passed midnight
        own = {each for each in own_salt_days(data) if each.day != day.day}
        _write_own_days(data, own if current.salt == of_day else {*own, day})
        kept = replace(current, next=following) if following else current
        if kept != stored:
            _write(data, kept)


def delete_expired_salt(data: DataDirectory, day: str) -> None:
    """Delete the stored salt unless it is that of `day` or of the next: another worker
    may have passed midnight first.
    """
    stored = _load(data)
    if stored is None or _current(stored, day) is stored:
        return
    with _locked(data):
        stored = _load(data)
        current = _current(stored, day)
        if current is None and stored is not None:
            remove([data.salt])
        elif current is not None and current is not stored:
            _write(data, current)


def own_salt_days(data: DataDirectory) -> tuple[SaltDay, ...]:
    """Days with a salt of this host's own that the store has not noted yet."""
    try:
        return _DAYS.decode(data.own_salt_days.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return ()


def remove_own_salt_days(data: DataDirectory, noted: Collection[SaltDay]) -> None:
    """The store has noted these."""
    with _locked(data):
        _write_own_days(data, set(own_salt_days(data)) - set(noted))


def _current(stored: Salt | None, day: str) -> Salt | None:
    """What of the stored salt is valid on `day`."""
    if stored is None or stored.day in {day, (date.fromisoformat(day) + timedelta(days=1)).isoformat()}:
        return stored
    return stored.next if stored.next is not None and stored.next.day == day else None


@contextmanager
def _locked(data: DataDirectory) -> Iterator[None]:
    with owner_lock(data.salt_lock):
        yield


def _load(data: DataDirectory) -> Salt | None:
    try:
        return _SALT.decode(data.salt.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write(data: DataDirectory, salt: Salt) -> None:
    publish(data.salt, msgspec.json.encode(salt) + b"\n", PRIVATE_MODE)


def _write_own_days(data: DataDirectory, days: Collection[SaltDay]) -> None:
    if set(days) == set(own_salt_days(data)):
        return
    if days:
        publish(data.own_salt_days, msgspec.json.encode(sorted(days, key=lambda each: each.day)) + b"\n", PRIVATE_MODE)
    else:
        remove([data.own_salt_days])
