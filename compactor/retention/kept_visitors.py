"""Counting the visitors of a calendar day one last time before its archive expires: in
total and per value of each dimension. They are kept with the counters.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from compactor.context import PassContext
from compactor.fold.count_rows import choose_as_published, published_sites
from compactor.generations.archive import archived_events, open_parts
from compactor.generations.counter_parts import stored_counters
from compactor.sql import count_rows, run_script, sql_file
from shared.generations.counter_schema import COUNTER_COLUMNS, OTHER, SITE, TOTAL
from shared.generations.snapshot import Snapshot
from shared.schema import DIMENSIONS, column_sql
from shared.sql.texts import TextNumbers, by_numbers
from shared.timestamps import utc_naive

if TYPE_CHECKING:
    import duckdb


def create_kept_visitors(database: duckdb.DuckDBPyConnection) -> None:
    """The table `kept_visitors`, empty, with the columns of counters."""
    columns = ", ".join(f"{name} {type_}" for name, type_ in COUNTER_COLUMNS.items())
    database.execute(f"CREATE OR REPLACE TEMP TABLE kept_visitors ({columns})")


def count_visitors(
    context: PassContext, snapshot: Snapshot, day: date, local: tuple[datetime, datetime], utc_days: list[date]
) -> None:
    """Add to `kept_visitors` the visitors between two instants, in total and per value
    of each dimension. Values that the counters of `day` have not kept are `(other)`.
    """
    capped = {name for each in utc_days if each in snapshot.days for name in snapshot.days[each].capped}
    published = stored_counters(open_parts(context.data, "counters", day, snapshot.days[day].counters))
    span = f"time >= '{utc_naive(local[0])}' AND time < '{utc_naive(local[1])}'"
    events = f"(FROM {archived_events(context.data, snapshot, utc_days)} WHERE {span})"
    for dimension in (TOTAL, *DIMENSIONS):
        by_numbers(
            lambda numbers, name=dimension: _count(  # type: ignore[misc]
                context, name, events, published if name in capped else None, numbers, utc_naive(local[0])
            )
        )


def _count(
    context: PassContext, dimension: str, events: str, published: str | None, numbers: TextNumbers, start: datetime
) -> bool:
    """Count one dimension. Returns whether two of its texts share a number."""
    database = context.database
    value = "NULL" if dimension == TOTAL else column_sql(dimension)
    if published is not None and dimension == SITE:
        kept = f"SELECT number AS value FROM ({published_sites(published, numbers)})"
        database.execute(f"CREATE OR REPLACE TEMP TABLE kept_values AS {kept}")
    elif published is not None:
        choose_as_published(database, dimension, published, numbers)
    else:
        database.execute(f"CREATE OR REPLACE TEMP TABLE kept_values (value {numbers.type})")
    text = sql_file(
        __file__,
        "count_visitors.sql",
        events=events,
        value=f"{value}::VARCHAR",
        site_number=numbers.number("site"),
        value_number=numbers.number("value"),
        visitor_number=TextNumbers(strong=True).number("visitor"),
        is_capped="false" if published is None else "true",
        is_ambiguous=f"{numbers.is_ambiguous('site')} OR {numbers.is_ambiguous('value')}",
        other=OTHER,
        dimension=dimension,
        start=str(start),
    )
    run_script(database, text)
    if count_rows(database, "(FROM counted_visitors WHERE is_ambiguous LIMIT 1)"):
        return True
    database.execute(f"INSERT INTO kept_visitors SELECT {', '.join(COUNTER_COLUMNS)} FROM counted_visitors")
    return False
