"""The order of events in a part of a finished day."""

from __future__ import annotations

from compactor.sql import sql_file
from shared.schema import STORED_COLUMNS
from shared.sql.texts import TextNumbers

# DuckDB reads milliseconds as microseconds and would write them as such: a third more
# bytes. Of a relation `e`.
STORED_COLUMNS_SQL = ", ".join(
    f"e.{name}::TIMESTAMP_MS AS {name}" if kind == "TIMESTAMP" else f"e.{name}" for name, kind in STORED_COLUMNS.items()
)


def clustered(events: str) -> str:
    """SQL of stored events in the order of site, country, visitor, session and time."""
    numbers = TextNumbers()
    return sql_file(
        __file__,
        "clustered.sql",
        events=events,
        columns=STORED_COLUMNS_SQL,
        site=numbers.number("e.site"),
        country=numbers.number("e.country"),
    )
