"""SQL of the rows of counters parts, as version 2 has them.

A part of version 1 has no rows of the dimension `event`: its rows of the total stand
for them. Its sums of whole days repeat other rows, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_ROWS_SUFFIX, EVENT, TOTAL
from shared.sql.archive_events import empty_relation_sql
from shared.sql.parquet import parquet

_COLUMNS = ", ".join(COUNTER_COLUMNS)
# The dimension that a row counts, whether by quarter of an hour or by day.
DIMENSION_SQL = f"regexp_replace(dimension, '{DAY_ROWS_SUFFIX}$', '')"


def row_names(dimensions: Iterable[str]) -> list[str]:
    """What rows of these dimensions are named, by quarter of an hour and by day."""
    return [name + suffix for name in dimensions for suffix in ("", DAY_ROWS_SUFFIX)]


def counters_sql(paths: Mapping[int, str]) -> str:
    """A relation with COUNTER_COLUMNS over counters parts. `paths`: by version of the
    parts, SQL of a list of their paths.
    """
    sources = [f"FROM {parquet(paths[2])} SELECT {_COLUMNS}"] if 2 in paths else []
    if 1 in paths:
        sources += _version_1(parquet(paths[1]))
    return f"({' UNION ALL '.join(sources)})" if sources else empty_relation_sql(COUNTER_COLUMNS)


def _version_1(source: str) -> list[str]:
    has_own_rows = f"dimension <> '{TOTAL}' AND NOT ends_with(dimension, '{DAY_ROWS_SUFFIX}')"
    is_total = f"FROM {source} WHERE dimension = '{TOTAL}' AND visitors IS NULL"
    return [
        f"SELECT bucket, site, bot, {_named('NULL', TOTAL)}, events, visitors {is_total}",
        f"SELECT bucket, site, bot, {_named('event', EVENT)}, events, visitors {is_total}",
        f"SELECT {_COLUMNS} FROM {source} WHERE visitors IS NOT NULL OR ({has_own_rows})",
    ]


def _named(event: str, dimension: str) -> str:
    return f"{event}::VARCHAR AS event, '{dimension}' AS dimension, NULL::VARCHAR AS value"
