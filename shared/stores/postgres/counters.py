"""Counters in a PostgreSQL store: rows of one instance, in partitions of a month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from shared.stores.counter_rows import CounterRow, DayRows

if TYPE_CHECKING:
    from psycopg import Connection

_COLUMNS = "utc_day, key, day, dimension, site, event, value, bot, events"
_TYPES = ("date", "bytea", "date", "text", "text", "text", "text", "bool", "int8")
_SENT = """
    CREATE TEMP TABLE sent_counters (
        utc_day date, key bytea, day date, dimension text, site text, event text, value text, bot boolean, events bigint
    )
"""
_MAKE_MONTHS = """
    SELECT analytics_make_month(month) FROM (
        SELECT DISTINCT date_trunc('month', utc_day)::date AS month FROM sent_counters WHERE events <> 0
    ) AS months
"""
_UPSERT = f"""
    INSERT INTO analytics_counters AS had (instance, {_COLUMNS})
    SELECT %s, {_COLUMNS} FROM sent_counters WHERE events <> 0 ORDER BY utc_day, key
    ON CONFLICT (instance, utc_day, key) DO UPDATE SET events = excluded.events WHERE had.events <> excluded.events
"""
_DELETE_ZEROS = """
    DELETE FROM analytics_counters AS had USING sent_counters AS sent
    WHERE had.instance = %s AND sent.events = 0 AND had.utc_day = sent.utc_day AND had.key = sent.key
"""
_DELETE_OTHERS = """
    DELETE FROM analytics_counters AS had
    WHERE instance = %s AND utc_day = ANY(%s)
        AND NOT EXISTS (SELECT FROM sent_counters AS sent WHERE sent.utc_day = had.utc_day AND sent.key = had.key)
"""


def send_counters(connection: Connection, days: Iterable[DayRows]) -> list[date]:
    """Copy rows to `sent_counters`, a temporary table, and make the partitions that
    they need. Returns the days that are whole.
    """
    connection.execute(_SENT)
    whole = []
    for day in days:
        for page in day.pages:
            _copy(connection, day.utc_day, page)
        if day.whole:
            whole.append(day.utc_day)
    connection.execute("ANALYZE sent_counters")
    connection.execute(_MAKE_MONTHS)
    return whole


def _copy(connection: Connection, utc_day: date, page: Iterable[CounterRow]) -> None:
    sql = f"COPY sent_counters ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(sql.encode()) as copy:
        copy.set_types(_TYPES)
        for row in page:
            copy.write_row((utc_day, *row))


def write_counters(connection: Connection, instance: str, whole: list[date]) -> None:
    """Make the rows of an instance what `sent_counters` says, in the order of their
    keys. Of `whole` days others are deleted.
    """
    connection.execute(_DELETE_ZEROS, (instance,))
    if whole:
        connection.execute(_DELETE_OTHERS, (instance, whole))
    connection.execute(_UPSERT.encode(), (instance,))


def days_with_rows(connection: Connection, instance: str) -> set[date]:
    sql = "SELECT DISTINCT utc_day FROM analytics_counters WHERE instance = %s"
    return {day for (day,) in connection.execute(sql, (instance,)).fetchall()}


def rows_of_day(connection: Connection, instance: str, utc_day: date) -> set[CounterRow]:
    sql = (
        "SELECT key, day, dimension, site, event, value, bot, events FROM analytics_counters "
        "WHERE instance = %s AND utc_day = %s"
    )
    return {CounterRow(*row) for row in connection.execute(sql, (instance, utc_day)).fetchall()}
