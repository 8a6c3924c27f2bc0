"""The parts that a pass writes: for each day touched one archive part with its new
events, and its counters anew.

Counters of a day are the old ones plus the new events, unless something old changed (an
event was replaced, or values were counted under `(other)`): then they are counted again
from the day's whole archive, so that they depend on the events alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
import msgspec

from compactor.fold.load import Folded
from compactor.fold.select_segments import parts_to_merge
from shared.disk.durable import publishing
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_SUM_SUFFIX, OTHER, TOTAL
from shared.generations.part_integrity import verified_part, verified_parts
from shared.generations.snapshot import Day, Part
from shared.schema import COUNTED_DIMENSIONS, STORED_COLUMNS
from shared.sql.archive_events import from_archive_sql, to_archive_sql

# DuckDB reads milliseconds as microseconds, and would write them so: a third more
# bytes.
_STORED_COLUMNS = ", ".join(
    f"e.{name}::TIMESTAMP_MS AS {name}" if kind == "TIMESTAMP" else f"e.{name}" for name, kind in STORED_COLUMNS.items()
)
_COUNTER_COLUMNS = ", ".join(COUNTER_COLUMNS)
# Version 2 writes times as differences and ids without their lengths. Level 1 of zstd
# costs least, and what is left of an archive after these encodings is no larger with it
# than with level 3.
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2"
# In the order in which they are capped.
CAPPED_DIMENSIONS = ("event", "site", *COUNTED_DIMENSIONS)
# As the rows of counters name them.
EVERY_DIMENSION = (*COUNTED_DIMENSIONS, TOTAL)


def count_fresh(database: duckdb.DuckDBPyConnection) -> None:
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


def write_day(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    day: date,
    old: Day,
    folded: Folded,
    generation: int,
    added_at: str,
    max_values: int,
) -> Day:
    """Write what this pass changes of one day. Returns the day as the new snapshot
    names it.
    """
    new_rows = folded.new.get(day, 0)
    replaced = folded.replaced.get(day, 0)
    merged = list(old.archive) if replaced else parts_to_merge(old.archive, new_rows)
    rows = new_rows + sum(part.rows for part in merged) - replaced
    part = write_part(
        database, data.part("archive", day, generation), generation, _archive_sql(data, day, merged, replaced), rows
    )
    archive = (*(part for part in old.archive if part not in merged), *([part] if part else []))

    if (replaced or old.capped) and not old.expired:
        # Event and site stand on every row. Any other dimension can be counted again
        # alone.
        all_of_it = replaced or not set(old.capped).isdisjoint({"event", "site"})
        dimensions = EVERY_DIMENSION if all_of_it else old.capped
        capped = _count_again(database, data, day, archive, old, dimensions, max_values)
    else:
        _add_counters(database, data, day, old)
        capped = cap_values(database, max_values)
    counters = write_counters(database, data, day, generation)
    return msgspec.structs.replace(old, added_at=added_at, archive=archive, counters=counters, capped=capped)


def write_whole_day(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    day: date,
    old: Day,
    events: str,
    generation: int,
    max_values: int,
) -> Day:
    """Write a day anew from a table of all its events with ARCHIVE_COLUMNS. Returns it
    as the new snapshot names it.
    """
    rows = _count(database, events)
    part = write_part(
        database, data.part("archive", day, generation), generation, in_order(to_archive_sql(events)), rows
    )
    make_counted(database, counting_sql(events))
    capped = cap_values(database, max_values)
    counters = write_counters(database, data, day, generation)
    return msgspec.structs.replace(old, archive=(part,) if part else (), counters=counters, capped=capped)


def write_counters(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, generation: int) -> Part | None:
    """Publish the table `counted` as the counters of a day, with the sums of all its
    quarters of an hour.
    """
    add_sums(database)
    sql = f"SELECT {_COUNTER_COLUMNS} FROM counted ORDER BY dimension, site, bucket, event, bot, value"
    return write_part(database, data.part("counters", day, generation), generation, sql, _count(database, "counted"))


def add_sums(database: duckdb.DuckDBPyConnection) -> None:
    """Add to the table `counted` what whole UTC days come to, so that a report of a
    month need not add up every quarter.
    """
    database.execute(f"DELETE FROM counted WHERE ends_with(dimension, '{DAY_SUM_SUFFIX}')")
    database.execute(
        "INSERT INTO counted BY NAME SELECT date_trunc('day', bucket) AS bucket, site, bot, event, "
        f"dimension || '{DAY_SUM_SUFFIX}' AS dimension, value, sum(events)::BIGINT AS events, visitors "
        "FROM counted WHERE visitors IS NULL GROUP BY ALL"
    )


def _archive_sql(data: DataDirectory, day: date, merged: list[Part], replaced: int) -> str:
    """New events, and those of the parts that are merged with them, as they come: they
    are put in order once (settle.py).
    """
    new = to_archive_sql(f"(FROM fresh WHERE time::DATE = DATE '{day}')")
    if not merged:
        return f"FROM {new}"
    source = f"read_parquet({sql_list(verified_parts(data, 'archive', day, merged))})"
    kept = f"(SELECT {_STORED_COLUMNS} FROM {source} e)"
    if not replaced:
        return f"FROM {new} UNION ALL FROM {kept}"
    gone = f"(FROM replaced WHERE day = DATE '{day}')"
    kept = to_archive_sql(
        f"(SELECT a.* FROM {from_archive_sql(source)} a ANTI JOIN {gone} r ON a.site = r.site AND a.id = r.id)"
    )
    return in_order(f"(FROM {new} UNION ALL FROM {kept})")  # all of the day is written again


def in_order(events: str) -> str:
    """SQL of stored events in the order of site, country, visitor, session and time.

    A report by country then passes over the rest, and the columns that stay the same
    from event to event are small. One number stands for all of that: texts would take
    three times as long to sort, and spill more. Two visitors who share its 24 bits of
    them stand between each other, which does no harm.
    """
    places = f"SELECT *, row_number() OVER (ORDER BY site, country) AS place FROM (SELECT DISTINCT site, country FROM {events})"
    bits = {"p.place": 16, "hash(e.visitor)": 24, "hash(e.session)": 7, "epoch(e.time::TIME)": 17}
    number = "0::UBIGINT"
    for value, width in bits.items():
        number = f"(({number}) * {1 << width} + ({value})::UBIGINT % {1 << width})"
    return (
        f"SELECT {_STORED_COLUMNS} FROM {events} e JOIN ({places}) p "
        f"ON e.site = p.site AND e.country IS NOT DISTINCT FROM p.country ORDER BY {number}"
    )


def _add_counters(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, old: Day) -> None:
    if old.counters is None:  # no key is there twice
        database.execute(f"CREATE OR REPLACE TEMP TABLE counted AS {_delta(day)}")
        return
    make_counted(database, f"{_delta(day)} UNION ALL {_counters(verified_part(data, 'counters', day, old.counters))}")


def _delta(day: date) -> str:
    """SQL of what the pass adds to the counters of a day."""
    return f"SELECT {_COUNTER_COLUMNS} FROM delta WHERE bucket::DATE = DATE '{day}'"


def _counters(path: Path) -> str:
    """SQL of the counters of a part, without the sums of whole days."""
    return f"SELECT {_COUNTER_COLUMNS} FROM read_parquet({sql_list([path])}) WHERE NOT ends_with(dimension, '{DAY_SUM_SUFFIX}')"


def _count_again(
    database: duckdb.DuckDBPyConnection,
    data: DataDirectory,
    day: date,
    archive: tuple[Part, ...],
    old: Day,
    dimensions: Sequence[str],
    max_values: int,
) -> tuple[str, ...]:
    """As `_add_counters` and `cap_values`, with these dimensions of all events of the
    day.

    Rare values are never counted one by one.
    """
    paths = verified_parts(data, "archive", day, archive)
    source = from_archive_sql(f"read_parquet({sql_list(paths)})") if paths else "(FROM fresh WHERE false)"
    capped = [name for name in old.capped if _find_most(database, source, name, max_values)]
    columns = ", ".join(
        f"CASE WHEN {name} IS NULL OR {name} IN (SELECT value FROM most_{name}) THEN {name} ELSE '{OTHER}' END AS {name}"
        for name in capped
    )
    count_events(database, f"(SELECT * REPLACE ({columns}) FROM {source})" if capped else source, "recount", dimensions)
    again = f"dimension IN ({', '.join(map(_sql_text, dimensions))})"
    rows = f"SELECT {_COUNTER_COLUMNS} FROM recount UNION ALL {_delta(day)} AND NOT {again}"
    if old.counters is not None:  # visitors kept of a day cannot be counted again
        kept = verified_part(data, "counters", day, old.counters)
        rows += f" UNION ALL {_counters(kept)} AND (visitors IS NOT NULL OR NOT {again})"
    make_counted(database, rows)
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
    return _count(database, "every") > max_values


def make_counted(database: duckdb.DuckDBPyConnection, source: str) -> None:
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


def write_part(database: duckdb.DuckDBPyConnection, path: Path, generation: int, sql: str, rows: int) -> Part | None:
    """Publish the result of a query as a part, or nothing when it has no rows."""
    if not rows:
        return None
    with publishing(path) as beside:
        database.execute(f"COPY ({sql}) TO {_sql_text(str(beside))} ({PARQUET})")
        with beside.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(generation, rows, beside.stat().st_size, sha256)


def _distinct(database: duckdb.DuckDBPyConnection, column: str, where: str) -> int:
    return _count(
        database, f"(SELECT DISTINCT {column} FROM counted WHERE {where} AND {column} IS NOT NULL AND visitors IS NULL)"
    )


def _count(database: duckdb.DuckDBPyConnection, relation: str) -> int:
    return one_number(database, f"SELECT count(*) FROM {relation}")


def sql_list(paths: list[Path]) -> str:
    return "[" + ", ".join(_sql_text(str(path)) for path in paths) + "]"


def _sql_text(text: str) -> str:
    """A path of our own as an SQL literal: COPY takes no parameter for it."""
    return "'" + text.replace("'", "''") + "'"
