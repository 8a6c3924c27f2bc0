"""Visitors in a PostgreSQL store: hashed with a key that all its hosts share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from shared.stores.postgres.shared_values import known_bytes, shared_bytes
from shared.stores.visitor_rows import DayVisitors, VisitorDigest

if TYPE_CHECKING:
    from psycopg import Connection

KEY_NAME = "visitor_key"
_SENT = "CREATE TEMP TABLE sent_visitors (utc_day date, day date, site text, visitors uuid[], expired bigint)"
# An array is sent as text: its hashes are digits.
_SEND = "INSERT INTO sent_visitors VALUES (%s, %s, %s, %s::text::uuid[], %s)"
_WRITE = """
    INSERT INTO analytics_visitors (instance, utc_day, day, site, generation, visitors, expired)
    SELECT %s, utc_day, day, site, %s, visitors, expired FROM sent_visitors
"""
_DIGESTS = """
    SELECT
        day, site, count(visitor), md5(string_agg(replace(visitor::text, '-', ''), ',' ORDER BY visitor)), max(expired)
    FROM analytics_visitors LEFT JOIN unnest(visitors) AS visitor ON true
    WHERE instance = %s AND utc_day = %s
    GROUP BY day, site
"""


def known_key(connection: Connection) -> bytes | None:
    """The key of all hosts; None if none has made it."""
    return known_bytes(connection, KEY_NAME)


def shared_key(connection: Connection) -> bytes:
    """The key of all hosts; the first one makes it."""
    return shared_bytes(connection, KEY_NAME)


def send_visitors(connection: Connection, days: Iterable[DayVisitors]) -> list[date]:
    """Copy rows to `sent_visitors`, a temporary table. Returns the days that are
    whole.
    """
    connection.execute(_SENT)
    whole = []
    for utc_day, pages, is_whole in days:
        for page in pages:
            rows = [(utc_day, row.day, row.site, f"{{{row.hashes}}}", row.expired) for row in page]
            with connection.cursor() as cursor:
                cursor.executemany(_SEND, rows)
        if is_whole:
            whole.append(utc_day)
    return whole


def write_visitors(connection: Connection, instance: str, generation: int, whole: list[date]) -> None:
    """Add the rows of `sent_visitors`. Of `whole` days all others are deleted."""
    if whole:
        connection.execute(
            "DELETE FROM analytics_visitors WHERE instance = %s AND utc_day = ANY(%s)", (instance, whole)
        )
    connection.execute(_WRITE, (instance, generation))


def digests_of_day(connection: Connection, instance: str, utc_day: date) -> set[VisitorDigest]:
    return {VisitorDigest(*row) for row in connection.execute(_DIGESTS, (instance, utc_day)).fetchall()}
