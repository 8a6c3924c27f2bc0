"""The counters of a day: events per quarter of an hour, event and value of a dimension.

They are the day's old counters plus the new events. Where something old changed (an
event was replaced, or values were counted under `(other)`), they are counted again from
the day's whole archive, so that they depend on the events alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb

from compactor.context import PassContext
from compactor.sql import count_rows, sql_list, sql_text
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_SUM_SUFFIX, OTHER, TOTAL
from shared.generations.part_integrity import verified_part, verified_parts
from shared.generations.snapshot import Day, Part
from shared.schema import COUNTED_DIMENSIONS
from shared.sql.archive_events import from_archive_sql

_COUNTER_COLUMNS = ", ".join(COUNTER_COLUMNS)
# In the order in which they are capped.
CAPPED_DIMENSIONS = ("event", "site", *COUNTED_DIMENSIONS)
# As the rows of counters name them.
EVERY_DIMENSION = (*COUNTED_DIMENSIONS, TOTAL)


def count_new_events(database: duckdb.DuckDBPyConnection) -> None:
    """Make the table `delta`: the counters of all new events of the pass, whatever
    their day.
    """
    count_events(database, "fresh", "delta")


def count_events(
    database: duckdb.DuckDBPyConnection, source: str, table: str, dimensions: Sequence[str] = EVERY_DIMENSION
) -> None:
    """Make a table of the counters of a relation of events: what `counting_sql` says,
    in one scan and half the time.

    Quarter of an hour, site, bot and event are few together: a number stands for them
    while values are grouped.
    """
    bucket = "time_bucket(INTERVAL 15 minutes, time)"
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE keys AS SELECT row_number() OVER () AS key, * FROM "
        f"(SELECT DISTINCT {bucket} AS bucket, site, bot, event FROM {source})"
    )
    counted = [name for name in dimensions if name != TOTAL]
    values = ", ".join(counted)
    sets = ", ".join("(key)" if name == TOTAL else f"(key, {name})" for name in dimensions)
    # The first dimension is the highest bit of grouping_id. A bit is 0 where the rows
    # are grouped by that dimension.
    bits = {name: 1 << place for place, name in enumerate(reversed(counted))}
    every = (1 << len(bits)) - 1
    names = " ".join(f"WHEN {every - bit} THEN '{name}'" for name, bit in bits.items())
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE {table} AS
        SELECT bucket, site, bot, event, CASE dimension {names} ELSE '{TOTAL}' END AS dimension, value, events,
            NULL::BIGINT AS visitors
        FROM (
            SELECT key, grouping_id({values}) AS dimension, coalesce({values}) AS value, count(*) AS events
            FROM (SELECT k.key, {values} FROM {source} e JOIN keys k
                ON {bucket} = k.bucket AND e.site = k.site AND e.bot = k.bot AND e.event = k.event)
            GROUP BY GROUPING SETS ({sets})
        ) JOIN keys USING (key)
        """
    )


def counting_sql(source: str) -> str:
    """SQL that counts the events of a relation by quarter of an hour, event and every
    dimension.
    """
    dimensions = {TOTAL: "NULL", **{name: name for name in COUNTED_DIMENSIONS}}
    return " UNION ALL ".join(
        f"SELECT time_bucket(INTERVAL 15 minutes, time) AS bucket, site, bot, event, '{dimension}' AS dimension, "
        f"{column}::VARCHAR AS value, count(*) AS events, NULL::BIGINT AS visitors FROM {source} GROUP BY ALL"
        for dimension, column in dimensions.items()
    )


def add_day_sums(database: duckdb.DuckDBPyConnection) -> None:
    """Add to the table `counted` what whole UTC days come to, so that a report of a
    month need not add up every quarter.
    """
    database.execute(f"DELETE FROM counted WHERE ends_with(dimension, '{DAY_SUM_SUFFIX}')")
    database.execute(
        "INSERT INTO counted BY NAME SELECT date_trunc('day', bucket) AS bucket, site, bot, event, "
        f"dimension || '{DAY_SUM_SUFFIX}' AS dimension, value, sum(events)::BIGINT AS events, visitors "
        "FROM counted WHERE visitors IS NULL GROUP BY ALL"
    )


def add_counters(context: PassContext, day: date, old: Day) -> None:
    """Make `counted` of the counters that the day had and its new events."""
    if old.counters is None:  # no key is there twice
        context.database.execute(f"CREATE OR REPLACE TEMP TABLE counted AS {_delta(day)}")
        return
    before = _counters(verified_part(context.data, "counters", day, old.counters))
    build_day_counters(context.database, f"{_delta(day)} UNION ALL {before}")


def _delta(day: date) -> str:
    """SQL of what the pass adds to the counters of a day."""
    return f"SELECT {_COUNTER_COLUMNS} FROM delta WHERE bucket::DATE = DATE '{day}'"


def _counters(path: Path) -> str:
    """SQL of the counters of a part, without the sums of whole days."""
    return f"SELECT {_COUNTER_COLUMNS} FROM read_parquet({sql_list([path])}) WHERE NOT ends_with(dimension, '{DAY_SUM_SUFFIX}')"


def recount_day(
    context: PassContext, day: date, archive: tuple[Part, ...], old: Day, dimensions: Sequence[str]
) -> tuple[str, ...]:
    """As `add_counters` and `cap_values`, with these dimensions of all events of the
    day.

    Rare values are never counted one by one.
    """
    database, data, max_values = context.database, context.data, context.settings.max_values
    paths = verified_parts(data, "archive", day, archive)
    source = from_archive_sql(f"read_parquet({sql_list(paths)})") if paths else "(FROM fresh WHERE false)"
    capped = [name for name in old.capped if _find_most(database, source, name, max_values)]
    columns = ", ".join(
        f"CASE WHEN {name} IS NULL OR {name} IN (SELECT value FROM most_{name}) THEN {name} ELSE '{OTHER}' END AS {name}"
        for name in capped
    )
    count_events(database, f"(SELECT * REPLACE ({columns}) FROM {source})" if capped else source, "recount", dimensions)
    again = f"dimension IN ({', '.join(map(sql_text, dimensions))})"
    rows = f"SELECT {_COUNTER_COLUMNS} FROM recount UNION ALL {_delta(day)} AND NOT {again}"
    if old.counters is not None:  # visitors kept of a day cannot be counted again
        before = _counters(verified_part(data, "counters", day, old.counters))
        rows += f" UNION ALL {before} AND (visitors IS NOT NULL OR NOT {again})"
    build_day_counters(database, rows)
    found = {*capped, *cap_values(database, max_values, capped)}
    return tuple(name for name in CAPPED_DIMENSIONS if name in found)


def _find_most(database: duckdb.DuckDBPyConnection, source: str, name: str, max_values: int) -> bool:
    """Make the table `most_<name>` of the values of a dimension that are kept. Returns
    whether there are more.
    """
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE every AS SELECT {name} AS value, count(*) AS events FROM {source} "
        f"WHERE {name} IS NOT NULL GROUP BY ALL"
    )
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE most_{name} AS SELECT value FROM every ORDER BY events DESC, value LIMIT {max_values}"
    )
    return count_rows(database, "every") > max_values


def build_day_counters(database: duckdb.DuckDBPyConnection, source: str) -> None:
    """Make the table `counted`, the counters of one day, from rows of counters that may
    repeat a key.
    """
    database.execute(
        "CREATE OR REPLACE TEMP TABLE counted AS SELECT bucket, site, bot, event, dimension, value, "
        f"sum(events)::BIGINT AS events, visitors FROM ({source}) GROUP BY ALL"
    )


def cap_values(database: duckdb.DuckDBPyConnection, max_values: int, done: Sequence[str] = ()) -> tuple[str, ...]:
    """Count the rarest values of a dimension that has too many under `(other)`. Returns
    the dimensions that had.

    Those that are `done` are passed over.
    """
    capped = []
    for dimension, column, where in (
        ("event", "event", f"dimension = '{TOTAL}'"),
        ("site", "site", f"dimension = '{TOTAL}'"),
        *((name, "value", f"dimension = '{name}'") for name in COUNTED_DIMENSIONS),
    ):
        if dimension not in done and _distinct(database, column, where) > max_values:
            scope = "" if column != "value" else f"AND {where}"
            database.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE counted AS
                SELECT bucket, site, bot, event, dimension, value, sum(events)::BIGINT AS events, visitors FROM (
                    SELECT * REPLACE (CASE WHEN {column} IS NOT NULL AND visitors IS NULL {scope} AND {column} NOT IN (
                        SELECT {column} FROM counted WHERE {where} AND {column} IS NOT NULL AND visitors IS NULL
                        GROUP BY ALL ORDER BY sum(events) DESC, {column} LIMIT {max_values}
                    ) THEN '{OTHER}' ELSE {column} END AS {column}) FROM counted
                ) GROUP BY ALL
                """
            )
            capped.append(dimension)
    return tuple(capped)


def _distinct(database: duckdb.DuckDBPyConnection, column: str, where: str) -> int:
    return count_rows(
        database, f"(SELECT DISTINCT {column} FROM counted WHERE {where} AND {column} IS NOT NULL AND visitors IS NULL)"
    )


def total_events(database: duckdb.DuckDBPyConnection, counters: Path) -> int:
    """How many events a part of counters contains."""
    sql = f"SELECT sum(events)::BIGINT FROM read_parquet($1) WHERE dimension = '{TOTAL}'"
    return one_number(database, sql, [str(counters)])
