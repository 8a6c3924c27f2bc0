"""Counting the visitors of a calendar day one last time before its archive expires: in
total and per value of each dimension. They are kept with the counters.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple

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


class _Counting(NamedTuple):
    """What is counted: events (SQL) of a local day from `start`. `published`: the
    counters that say what the `capped` dimensions keep.
    """

    events: str
    start: datetime
    published: str
    capped: set[str]


def count_visitors(
    context: PassContext, snapshot: Snapshot, day: date, local: tuple[datetime, datetime], utc_days: list[date]
) -> None:
    """Add to `kept_visitors` the visitors between two instants, in total and per value
    of each dimension. Values and sites that the counters of `day` have not kept are
    `(other)`, so that there are about as many rows as counters.
    """
    capped = {name for each in utc_days if each in snapshot.days for name in snapshot.days[each].capped}
    published = stored_counters(open_parts(context.data, "counters", day, snapshot.days[day].counters))
    span = f"time >= '{utc_naive(local[0])}' AND time < '{utc_naive(local[1])}'"
    events = f"(FROM {archived_events(context.data, snapshot, utc_days)} WHERE {span})"
    counting = _Counting(events, utc_naive(local[0]), published, capped)
    for dimension in (TOTAL, *DIMENSIONS):
        by_numbers(lambda numbers, name=dimension: _count(context.database, counting, name, numbers))  # type: ignore[misc]


def _count(database: duckdb.DuckDBPyConnection, counting: _Counting, dimension: str, numbers: TextNumbers) -> bool:
    """Count one dimension. Returns whether two of its texts share a number."""
    value = "NULL" if dimension == TOTAL else column_sql(dimension)
    places, at_place = _kept_places(database, counting, dimension, numbers)
    text = sql_file(
        __file__,
        "count_visitors.sql",
        events=counting.events,
        value=f"{value}::VARCHAR",
        site_number=numbers.number("site"),
        value_number=numbers.number("value"),
        visitor_number=TextNumbers(strong=True).number("visitor"),
        is_capped="true" if dimension in counting.capped else "false",
        is_site_ambiguous=f"({numbers.is_ambiguous('site')})",
        is_value_ambiguous=f"({numbers.is_ambiguous('value')})",
        kept_places=places,
        at_place=at_place,
        other=OTHER,
        dimension=dimension,
        start=str(counting.start),
    )
    run_script(database, text)
    if count_rows(database, "(FROM counted_visitors WHERE is_ambiguous LIMIT 1)"):
        return True
    database.execute(f"INSERT INTO kept_visitors SELECT {', '.join(COUNTER_COLUMNS)} FROM counted_visitors")
    return False


def _kept_places(
    database: duckdb.DuckDBPyConnection, counting: _Counting, dimension: str, numbers: TextNumbers
) -> tuple[str, str]:
    """Make `kept_values`. Returns the sites, with values, that have rows of their own
    (SQL), and when an event is at one.
    """
    if dimension in counting.capped and dimension != SITE:
        choose_as_published(database, dimension, counting.published, numbers)
        same_value = "k.is_other = e.is_other AND (e.is_other OR k.value IS NOT DISTINCT FROM e.value_number)"
        places = "(SELECT DISTINCT site, value, is_other, true AS is_kept FROM choice)"
        return places, f"k.site = e.site_number AND {same_value}"
    kept = "" if SITE in counting.capped else " LIMIT 0"
    sites = f"SELECT number AS value FROM ({published_sites(counting.published, numbers)}){kept}"
    database.execute(f"CREATE OR REPLACE TEMP TABLE kept_values AS {sites}")
    if SITE not in counting.capped:
        return "(SELECT true AS is_kept)", "true"
    return "(SELECT value AS site, true AS is_kept FROM kept_values)", "k.site = e.site_number"
