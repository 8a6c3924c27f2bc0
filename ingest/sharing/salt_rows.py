"""Salts in a PostgreSQL store: those of the days that are not over, and which instance
used another one when.

No statement has a salt in it: COPY carries it, so that a database that logs statements
with their parameters does not log it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ingest.collect.daily_salt import SaltDay
from shared.timestamps import rfc3339

if TYPE_CHECKING:
    from psycopg import Connection

_FIND = "SELECT day::text, salt FROM analytics_salts WHERE timezone = %s AND day = ANY (%s::date[])"
_PROPOSED = "CREATE TEMP TABLE proposed_salts (LIKE analytics_salts) ON COMMIT DROP"
_COPY = "COPY proposed_salts (timezone, day, ends_at, salt) FROM STDIN"
# Clocks may differ by some minutes. A day has at most 25 hours, and is asked for an
# hour ahead.
_MAKE = """
    INSERT INTO analytics_salts SELECT * FROM proposed_salts
    WHERE ends_at > now() - interval '10 minutes' AND ends_at < now() + interval '28 hours' ON CONFLICT DO NOTHING
"""
_EXPIRE = "DELETE FROM analytics_salts WHERE ends_at <= now() - interval '10 minutes'"
_NOTE = """
    INSERT INTO analytics_own_salts (instance, day, begins_at, ends_at)
    VALUES (%s, %s, to_timestamp(%s), to_timestamp(%s)) ON CONFLICT DO NOTHING
"""


def agree(connection: Connection, timezone: str, proposed: Mapping[SaltDay, str]) -> dict[str, str]:
    """The salts of these days, by date: those that the store has, and those `proposed`
    where it has none. A day is missing that is over, or far ahead, by the clock of the
    store.
    """
    found = _find(connection, timezone, proposed)
    missing = {day: salt for day, salt in proposed.items() if day.day not in found}
    if not missing:
        return found
    with connection.transaction():
        connection.execute(_PROPOSED)
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for day, salt in missing.items():
                copy.write_row((timezone, day.day, rfc3339(day.end_ms), bytes.fromhex(salt)))
        connection.execute(_MAKE)
    return _find(connection, timezone, proposed)


def _find(connection: Connection, timezone: str, days: Iterable[SaltDay]) -> dict[str, str]:
    rows = connection.execute(_FIND, (timezone, [day.day for day in days])).fetchall()
    return {day: bytes(salt).hex() for day, salt in rows}


def expire(connection: Connection) -> None:
    """Delete the salts of days that are over in their time zone."""
    connection.execute(_EXPIRE)


def note_own_days(connection: Connection, instance: str, days: Iterable[SaltDay]) -> None:
    for day in days:
        connection.execute(_NOTE, (instance, day.day, day.start_ms / 1000, day.end_ms / 1000))
