"""The counters of a day: events per quarter of an hour, event and value of a dimension.

They are the day's old counters plus the new events. Where something old changed (an
event was replaced, or values were counted under `(other)`), they are counted again from
the day's whole archive, so that they depend on the events alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.context import PassContext
from compactor.fold.working_tables import DayCounters, NewCounters, NewEvents
from compactor.generations.archive import events_of, open_parts
from compactor.sql import count_rows, sql_file, sql_list, sql_text
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import COUNTER_COLUMNS, DAY_SUM_SUFFIX, OTHER, TOTAL
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Day, Part
from shared.schema import COUNTED_DIMENSIONS
from shared.sql.archive_events import empty_relation_sql

if TYPE_CHECKING:
    import duckdb

_COUNTER_COLUMNS = ", ".join(COUNTER_COLUMNS)
# In the order in which they are capped.
CAPPED_DIMENSIONS = ("event", "site", *COUNTED_DIMENSIONS)
# As the rows of counters name them.
ALL_DIMENSIONS = (*COUNTED_DIMENSIONS, TOTAL)


def count_new_events(database: duckdb.DuckDBPyConnection, _events: NewEvents) -> NewCounters:
    """Count all new events of the pass, whatever their day."""
    _count_events(database, "new_events", "new_counters", ALL_DIMENSIONS)
    return NewCounters()


def _count_events(database: duckdb.DuckDBPyConnection, events: str, table: str, dimensions: Sequence[str]) -> None:
    """Make a table of the counters of a relation of events."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE event_keys AS SELECT row_number() OVER () AS key, * FROM "
        f"(SELECT DISTINCT time_bucket(INTERVAL 15 minutes, time) AS bucket, site, bot, event FROM {events})"
    )
    counted = [name for name in dimensions if name != TOTAL]
    # The first dimension is the highest bit of grouping_id. A bit is 0 where the rows
    # are grouped by that dimension.
    bits = {name: 1 << place for place, name in enumerate(reversed(counted))}
    all_bits = (1 << len(bits)) - 1
    rows = sql_file(
        __file__,
        "count_events.sql",
        events=events,
        values=", ".join(counted),
        sets=", ".join("(key)" if name == TOTAL else f"(key, {name})" for name in dimensions),
        names=" ".join(f"WHEN {all_bits - bit} THEN '{name}'" for name, bit in bits.items()),
        total=TOTAL,
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {rows}")


def counting_sql(events: str) -> str:
    """SQL of the counters of a relation of events, one dimension after the other: the
    definition that `verify` compares published counters with.
    """
    dimensions = {TOTAL: "NULL", **{name: name for name in COUNTED_DIMENSIONS}}
    return " UNION ALL ".join(
        f"SELECT time_bucket(INTERVAL 15 minutes, time) AS bucket, site, bot, event, '{dimension}' AS dimension, "
        f"{column}::VARCHAR AS value, count(*) AS events, NULL::BIGINT AS visitors FROM {events} GROUP BY ALL"
        for dimension, column in dimensions.items()
    )


def build_day_counters(database: duckdb.DuckDBPyConnection, rows: str) -> DayCounters:
    """Make `day_counters` from a query for rows of counters, which may repeat a key."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE day_counters AS SELECT bucket, site, bot, event, dimension, value, "
        f"sum(events)::BIGINT AS events, visitors FROM ({rows}) GROUP BY ALL"
    )
    return DayCounters()


def load_day_counters(context: PassContext, day: date, counters: Sequence[Part]) -> DayCounters:
    """Make `day_counters` from the published counters of a day. Raises PartDamaged."""
    rows = empty_relation_sql(COUNTER_COLUMNS)
    if counters:
        rows = f"read_parquet({sql_list(verified_parts(context.data, 'counters', day, counters))})"
    context.database.execute(f"CREATE OR REPLACE TEMP TABLE day_counters AS FROM {rows}")
    return DayCounters()


def add_new_counters(context: PassContext, day: date, old: Day, new: NewCounters) -> DayCounters:
    """Make `day_counters` from the old counters of a day and its new events. Raises
    PartDamaged.
    """
    added = _new_counters_sql(day, new)
    if not old.counters:  # then no key is repeated
        context.database.execute(f"CREATE OR REPLACE TEMP TABLE day_counters AS {added}")
        counters = DayCounters()
    else:
        counters = build_day_counters(context.database, f"{added} UNION ALL {_old_counters_sql(context, day, old)}")
    return cap_values(context.database, counters, context.settings.max_values)


def recount_day(
    context: PassContext, day: date, archive: tuple[Part, ...], old: Day, new: NewCounters, dimensions: Sequence[str]
) -> DayCounters:
    """As `add_new_counters`, but these dimensions are counted again from all events of
    the day.

    Rare values of a capped dimension are never counted one by one.
    """
    database, max_values = context.database, context.settings.max_values
    source = events_of(open_parts(context.data, "archive", day, archive))
    capped = [name for name in old.capped if _find_top_values(database, source, name, max_values)]
    columns = ", ".join(
        f"CASE WHEN {name} IS NULL OR {name} IN (FROM top_values_{name}) THEN {name} ELSE '{OTHER}' END AS {name}"
        for name in capped
    )
    events = f"(SELECT * REPLACE ({columns}) FROM {source})" if capped else source
    _count_events(database, events, "recounted", dimensions)
    is_recounted = f"dimension IN ({', '.join(map(sql_text, dimensions))})"
    rows = f"SELECT {_COUNTER_COLUMNS} FROM recounted UNION ALL {_new_counters_sql(day, new)} AND NOT {is_recounted}"
    if old.counters:  # visitors of an expired archive cannot be counted again
        rows += f" UNION ALL {_old_counters_sql(context, day, old)} AND (visitors IS NOT NULL OR NOT {is_recounted})"
    counters = cap_values(database, build_day_counters(database, rows), max_values, capped)
    found = {*capped, *counters.capped}
    return DayCounters(tuple(name for name in CAPPED_DIMENSIONS if name in found))


def _new_counters_sql(day: date, _new: NewCounters) -> str:
    return f"SELECT {_COUNTER_COLUMNS} FROM new_counters WHERE bucket::DATE = DATE '{day}'"


def _old_counters_sql(context: PassContext, day: date, old: Day) -> str:
    """The counters that the day had, without the sums of whole days."""
    paths = verified_parts(context.data, "counters", day, old.counters)
    return (
        f"SELECT {_COUNTER_COLUMNS} FROM read_parquet({sql_list(paths)}) "
        f"WHERE NOT ends_with(dimension, '{DAY_SUM_SUFFIX}')"
    )


def _find_top_values(database: duckdb.DuckDBPyConnection, source: str, name: str, max_values: int) -> bool:
    """Make the table `top_values_<name>` of the values that are counted one by one.
    Returns whether there are others.
    """
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE all_values AS SELECT {name} AS value, count(*) AS events FROM {source} "
        f"WHERE {name} IS NOT NULL GROUP BY ALL"
    )
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE top_values_{name} AS "
        f"SELECT value FROM all_values ORDER BY events DESC, value LIMIT {max_values}"
    )
    return count_rows(database, "all_values") > max_values


def cap_values(
    database: duckdb.DuckDBPyConnection, _counters: DayCounters, max_values: int, done: Sequence[str] = ()
) -> DayCounters:
    """Count the rarest values of each dimension that has more than `max_values` under
    `(other)`. The dimensions in `done` are capped already.
    """
    capped = []
    for name in _with_many_rows(database, max_values):
        column = name if name in {"event", "site"} else "value"
        rows = f"dimension = '{TOTAL if column == name else name}'"
        distinct = f"SELECT count(DISTINCT {column}) FROM day_counters WHERE {rows} AND visitors IS NULL"
        if name not in done and one_number(database, distinct) > max_values:
            scope = "true" if column == name else rows
            text = sql_file(__file__, "cap_values.sql", column=column, rows=rows, scope=scope, other=OTHER)
            database.execute(f"CREATE OR REPLACE TEMP TABLE day_counters AS {text}", {"max_values": max_values})
            capped.append(name)
    return DayCounters(tuple(capped))


def _with_many_rows(database: duckdb.DuckDBPyConnection, max_values: int) -> Iterator[str]:
    """The dimensions with more than `max_values` rows: no other can have as many
    values.
    """
    if count_rows(database, "day_counters") <= max_values:
        return
    rows = dict(
        database.execute("SELECT dimension, count(*) FROM day_counters WHERE visitors IS NULL GROUP BY ALL").fetchall()
    )
    for name in CAPPED_DIMENSIONS:
        if rows.get(name if name in COUNTED_DIMENSIONS else TOTAL, 0) > max_values:
            yield name


def add_day_sums(database: duckdb.DuckDBPyConnection, _counters: DayCounters) -> None:
    """Add the sums of whole UTC days to `day_counters`, so that a report of a month
    need not add up every quarter of an hour.
    """
    database.execute(f"DELETE FROM day_counters WHERE ends_with(dimension, '{DAY_SUM_SUFFIX}')")
    database.execute(
        "INSERT INTO day_counters BY NAME SELECT date_trunc('day', bucket) AS bucket, site, bot, event, "
        f"dimension || '{DAY_SUM_SUFFIX}' AS dimension, value, sum(events)::BIGINT AS events, visitors "
        "FROM day_counters WHERE visitors IS NULL GROUP BY ALL"
    )


def total_events(database: duckdb.DuckDBPyConnection, counters: Iterable[Path]) -> int:
    """How many events parts of counters contain."""
    sql = f"SELECT sum(events)::BIGINT FROM read_parquet($1) WHERE dimension = '{TOTAL}'"
    paths = [str(path) for path in counters]
    return one_number(database, sql, [paths]) if paths else 0
