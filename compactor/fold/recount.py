"""Counting a whole day from its events: what its counters become at the day merge, a
rebuild and an erasure. The result depends on the events and the settings alone (P6).

Each dimension is counted on its own, by numbers, so that memory is bounded however many
events the day has; those of a day with few events in one statement. A dimension is
counted by quarter of an hour where that needs few rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from compactor.fold.count_rows import (
    CountedEvents,
    Grouping,
    apply_choice,
    choose_as_published,
    find_texts,
    group_rows,
    name_rows,
    number_rows,
    published_sites,
)
from compactor.sql import count_rows, run_script, sql_file
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import COUNTED, EVENT, SITE, TOTAL
from shared.generations.snapshot import Day
from shared.settings import Settings
from shared.sql.texts import TextNumbers, by_numbers_of_columns

if TYPE_CHECKING:
    import duckdb

# A dimension is counted by quarter of an hour if that needs fewer rows than this, and
# fewer than one for so many events.
QUARTER_ROWS_MAX = 100_000
EVENTS_FOR_A_ROW = 20
# The dimensions of a day with at most so many events are counted in one statement: each
# statement costs such a day more than its rows do.
AT_ONCE_MAX = 10_000


class Recount(NamedTuple):
    """Table `new_counters`: all counters of a day. `quarters` and `capped` are those of
    the day in the snapshot.
    """

    quarters: tuple[str, ...]
    capped: tuple[str, ...]


AllowsQuarters = Callable[[int, int], bool]


def few_rows(events: int, rows: int) -> bool:
    """Whether a dimension of a day is counted by quarter of an hour."""
    return rows < QUARTER_ROWS_MAX and rows * EVENTS_FOR_A_ROW < events


def recount_day(
    database: duckdb.DuckDBPyConnection,
    day: date,
    kept: Day,
    events: str,
    settings: Settings,
    allows_quarters: AllowsQuarters = few_rows,
) -> Recount:
    """Count a day from a relation of its events with ARCHIVE_COLUMNS."""
    counted = CountedEvents(events, {day: kept})
    found: list[Recount] = []

    def count(numbers: TextNumbers) -> frozenset[str]:
        capped = [SITE] if _choose_sites(database, counted, settings, numbers) else []
        number_rows(database, counted, numbers, copied=False, kept_sites=True)
        total = _count_total(database)
        quarters: list[str] = []
        if ambiguous := find_texts(database, counted, numbers, [SITE], only_kept=True):
            return ambiguous
        for some in _in_turn(COUNTED, total):
            group_rows(database, map(Grouping, some))
            rows = Counter(_rows_of(database, some))
            over = [name for name in some if rows[name] > settings.max_values and _cap(database, day, name, settings)]
            few = [name for name in some if name not in over and allows_quarters(total, rows[name])]
            capped += over
            quarters += _count_by_quarter(database, day, few, total, allows_quarters)
            if ambiguous := find_texts(database, counted, numbers, some, only_kept=True):
                return ambiguous  # at once: the other dimensions would be counted in vain
        found.append(Recount(tuple(quarters), tuple(capped)))
        return _find_other_events(database, counted, numbers)

    by_numbers_of_columns(count)
    name_rows(database)
    return found[-1]


def _count_total(database: duckdb.DuckDBPyConnection) -> int:
    """Group the total. Returns the number of events."""
    group_rows(database, [Grouping(TOTAL)])
    return one_number(database, "SELECT sum(events)::BIGINT FROM grouped")


def _in_turn(dimensions: Sequence[str], events: int) -> Iterable[Sequence[str]]:
    """The dimensions of so many events: those that are counted together."""
    return [dimensions] if dimensions and events <= AT_ONCE_MAX else [[each] for each in dimensions]


def _rows_of(database: duckdb.DuckDBPyConnection, dimensions: Sequence[str], which: str = "true") -> dict[str, int]:
    """How many rows in `grouped`, of those that `which` (SQL) selects, each of the
    dimensions has that has some.
    """
    rows = f"SELECT dimension, count(*) FROM grouped WHERE list_contains($1::VARCHAR[], dimension) AND {which}"
    return dict(database.execute(f"{rows} GROUP BY dimension", [list(dimensions)]).fetchall())


def _find_other_events(
    database: duckdb.DuckDBPyConnection, counted: CountedEvents, numbers: TextNumbers
) -> frozenset[str]:
    """Find the texts of events that have no rows of their own but stand with values."""
    return find_texts(database, counted, numbers, [EVENT], only_kept=True)


def _choose_sites(
    database: duckdb.DuckDBPyConnection, counted: CountedEvents, settings: Settings, numbers: TextNumbers
) -> bool:
    """Make `own_sites` and `kept_sites`. Returns whether some sites are not kept."""
    own = f"SELECT {numbers.number('site')} AS number FROM (SELECT unnest($1::VARCHAR[]) AS site)"
    database.execute(f"CREATE OR REPLACE TEMP TABLE own_sites AS {own}", [list(settings.sites)])
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE site_counts AS SELECT {numbers.number('site')} AS number, count(*) AS events "
        f"FROM {counted.rows} GROUP BY 1"
    )
    text = sql_file(__file__, "kept_sites.sql")
    database.execute(text, {"max_values": settings.max_values})
    return count_rows(database, "site_counts") > count_rows(database, "kept_sites")


def _cap(database: duckdb.DuckDBPyConnection, day: date, dimension: str, settings: Settings) -> bool:
    """Keep the rows of a dimension in `grouped` within the bound. Returns whether it
    exceeded it.
    """
    rows = f"(FROM grouped WHERE dimension = '{dimension}')"
    sites = "CASE WHEN site IN (SELECT number FROM own_sites) THEN site END AS sites"
    groups = f"SELECT {sites}, site, event, value FROM {rows}"
    most = f"SELECT max(n) FROM (SELECT count(*) AS n FROM (SELECT DISTINCT * FROM ({groups})) GROUP BY sites)"
    if one_number(database, most) <= settings.max_values:
        return False
    text = sql_file(__file__, "choose_rows.sql", dimension=dimension)
    run_script(database, text, {"max_values": settings.max_values})
    apply_choice(database, day, dimension)
    return True


def _count_by_quarter(
    database: duckdb.DuckDBPyConnection,
    day: date,
    dimensions: Sequence[str],
    events: int,
    allows_quarters: AllowsQuarters,
) -> Sequence[str]:
    """Count dimensions by quarter of an hour instead, where that needs few rows.
    Returns these.
    """
    if not dimensions:
        return ()
    group_rows(database, [Grouping(name, [day]) for name in dimensions])
    rows = Counter(_rows_of(database, dimensions, "by_quarter"))
    allowed = [name for name in dimensions if allows_quarters(events, rows[name])]
    database.execute(
        "DELETE FROM grouped WHERE list_contains($1::VARCHAR[], dimension) "
        "AND by_quarter <> list_contains($2::VARCHAR[], dimension)",
        [list(dimensions), allowed],
    )
    return allowed


def recount_as_published(
    database: duckdb.DuckDBPyConnection, day: date, kept: Day, events: str, published: str
) -> None:
    """Make `new_counters` from a relation of the events of a day, with the rows that
    the `published` counters (SQL) have chosen.
    """
    counted = CountedEvents(events, {day: kept})

    def count(numbers: TextNumbers) -> frozenset[str]:
        database.execute(f"CREATE OR REPLACE TEMP TABLE kept_sites AS {published_sites(published, numbers)}")
        number_rows(database, counted, numbers, copied=False, kept_sites=SITE in kept.capped)
        total = _count_total(database)
        if ambiguous := find_texts(database, counted, numbers, [SITE], only_kept=True):
            return ambiguous
        for some in _in_turn([name for name in COUNTED if name not in kept.uncounted], total):
            group_rows(database, [Grouping(name, [day] if name in kept.quarters else []) for name in some])
            for dimension in kept.capped:
                if dimension in some:
                    choose_as_published(database, dimension, published, numbers)
                    apply_choice(database, day, dimension)
            if ambiguous := find_texts(database, counted, numbers, some, only_kept=True):
                return ambiguous
        return _find_other_events(database, counted, numbers)

    by_numbers_of_columns(count)
    name_rows(database)
