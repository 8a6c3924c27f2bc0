"""Counting: from a relation of events to rows of counters, by numbers that stand for
texts. New events of a pass (counters.py) and whole days (recount.py) are counted alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from compactor.sql import run_script, sql_file
from shared.generations.counter_schema import COUNTED, DAY_ROWS_SUFFIX, EVENT, OTHER, SITE, TOTAL
from shared.generations.day_cuts import cut_spans
from shared.generations.snapshot import Day
from shared.schema import column_sql
from shared.sql.texts import TextNumbers
from shared.timestamps import utc_naive

if TYPE_CHECKING:
    import duckdb

TEXTS = (SITE, *COUNTED)
_NEEDED = ("time", "bot", SITE, *COUNTED)


class CountedEvents(NamedTuple):
    """A relation of events to count (`rows`, SQL), of these days.

    `removed`: a relation of events that are taken out of the counters, or None.
    `texts`: for some columns a relation that has their texts and costs less to read.
    """

    rows: str
    days: Mapping[date, Day]
    removed: str | None = None
    texts: Mapping[str, str] = {}

    @property
    def weighted(self) -> str:
        """SQL of the needed columns of each event, with its weight."""
        columns = ", ".join(f"{column_sql(name)} AS {name}" for name in _NEEDED)
        rows = f"SELECT {columns}, 1 AS weight FROM {self.rows}"
        if self.removed is None:
            return f"({rows})"
        return f"({rows} UNION ALL SELECT {columns}, -1 FROM {self.removed})"

    def texts_of(self, column: str) -> str:
        """A relation with every text of a column."""
        text = f"SELECT {column_sql(column)} AS {column} FROM"
        rows = f"{text} {self.texts.get(column, self.rows)}"
        return f"({rows})" if self.removed is None else f"({rows} UNION ALL {text} {self.removed})"


def number_rows(
    database: duckdb.DuckDBPyConnection,
    events: CountedEvents,
    numbers: TextNumbers,
    *,
    copied: bool,
    kept_sites: bool = False,
) -> None:
    """Make the view `counted_rows`, of a table if the events are few enough to be
    `copied`, and an empty `grouped` and `texts`. With `kept_sites` the table of that
    name has the numbers of the sites that are kept.
    """
    site = numbers.number("site")
    if kept_sites:
        site = f"CASE WHEN {site} IN (SELECT number FROM kept_sites) THEN {site} END"
    cut, join = _cut_sql(database, events.days)
    rows = sql_file(
        __file__,
        "counted_rows.sql",
        cut=cut,
        site=site,
        numbers=", ".join(f"{numbers.number(name)} AS {name}" for name in COUNTED),
        rows=f"{events.weighted} {join}",
    )
    if copied:
        database.execute(f"CREATE OR REPLACE TEMP TABLE numbered_rows AS {rows}")
        rows = "FROM numbered_rows"
    database.execute(f"CREATE OR REPLACE TEMP VIEW counted_rows AS {rows}")
    number = numbers.type
    database.execute(
        "CREATE OR REPLACE TEMP TABLE grouped (day DATE, bucket TIMESTAMP, by_quarter BOOLEAN, bot BOOLEAN, "
        f"site {number}, event {number}, dimension VARCHAR, value {number}, is_other BOOLEAN, events BIGINT)"
    )
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE texts (dimension VARCHAR, number {number}, text VARCHAR, is_ambiguous BOOLEAN)"
    )


class Grouping(NamedTuple):
    """How a dimension is grouped: by quarter of an hour on these days, else by day; not
    at all on the `excluded` days.
    """

    dimension: str
    quarter_days: Sequence[date] = ()
    excluded: Sequence[date] = ()


def group_rows(database: duckdb.DuckDBPyConnection, groupings: Iterable[Grouping]) -> None:
    """Add the counts of dimensions to `grouped`, in one statement: each costs a small
    pass more than its rows do.
    """
    database.execute("INSERT INTO grouped " + " UNION ALL ".join(map(_grouping_sql, groupings)))


def _grouping_sql(grouping: Grouping) -> str:
    name = grouping.dimension
    by_quarter = f"list_contains({_dates(grouping.quarter_days)}::DATE[], day)" if grouping.quarter_days else "false"
    return sql_file(
        __file__,
        "group_rows.sql",
        dimension=name,
        by_quarter="true" if name == TOTAL else by_quarter,
        event="NULL" if name in {TOTAL, EVENT} else EVENT,
        value="NULL" if name == TOTAL else name,
        excluded=_dates(grouping.excluded),
    )


def choose_as_published(
    database: duckdb.DuckDBPyConnection, dimension: str, published: str, numbers: TextNumbers
) -> None:
    """Make `kept_values` and `choice` from published counters (SQL) of a dimension."""
    text = sql_file(
        __file__,
        "published_choice.sql",
        rows=published,
        names=f"['{dimension}', '{dimension}{DAY_ROWS_SUFFIX}']",
        other=OTHER,
        is_event="true" if dimension == EVENT else "false",
        site=numbers.number("site"),
        event=numbers.number("event"),
        value=numbers.number("value", dimension),
    )
    run_script(database, text)


def published_sites(published: str, numbers: TextNumbers) -> str:
    """SQL of the numbers of the sites that published counters (SQL) have rows of."""
    site = numbers.number("site")
    return f"SELECT DISTINCT {site} AS number FROM {published} WHERE dimension = '{TOTAL}' AND visitors IS NULL"


def apply_choice(database: duckdb.DuckDBPyConnection, day: date, dimension: str) -> None:
    """Count what `kept_values` and `choice` do not keep under `(other)`, in the rows of
    a dimension and day in `grouped`.
    """
    text = sql_file(__file__, "apply_choice.sql", dimension=dimension, day=str(day))
    database.execute(f"CREATE OR REPLACE TEMP TABLE chosen AS {text}")
    database.execute("DELETE FROM grouped WHERE dimension = $1 AND day = $2", [dimension, day])
    database.execute("INSERT INTO grouped FROM chosen")


def find_texts(
    database: duckdb.DuckDBPyConnection,
    events: CountedEvents,
    numbers: TextNumbers,
    columns: Iterable[str] = TEXTS,
    *,
    only_kept: bool = False,
) -> frozenset[str]:
    """Add the texts of columns to `texts`, with their numbers. Returns the columns of
    which two share one. `only_kept`: for the numbers in `grouped` only.
    """
    rows = " UNION ALL ".join(_texts_sql(events, numbers, name, only_kept=only_kept) for name in columns)
    database.execute(f"INSERT INTO texts {rows}")
    ambiguous = database.execute("SELECT DISTINCT dimension FROM texts WHERE is_ambiguous").fetchall()
    return frozenset(name for (name,) in ambiguous)


def name_rows(database: duckdb.DuckDBPyConnection) -> None:
    """Make `new_counters` of `grouped` and `texts`."""
    database.execute(
        sql_file(__file__, "named_counters.sql", other=OTHER, total=TOTAL, event=EVENT, day_rows=DAY_ROWS_SUFFIX)
    )


def _texts_sql(events: CountedEvents, numbers: TextNumbers, name: str, *, only_kept: bool) -> str:
    """SQL of the texts of a column that `texts` does not have, with their numbers."""
    number = numbers.number(name)
    where = f"{name} IS NOT NULL"
    if only_kept:
        used = "SELECT site FROM grouped" if name == SITE else f"SELECT value FROM grouped WHERE dimension = '{name}'"
        used += " UNION SELECT event FROM grouped" if name == EVENT else ""
        where += f" AND {number} IN ({used} EXCEPT SELECT number FROM texts WHERE dimension = '{name}')"
    return (
        f"SELECT '{name}' AS dimension, {number} AS number, min({name}) AS text, "
        f"{numbers.is_ambiguous(name)} AS is_ambiguous FROM {events.texts_of(name)} WHERE {where} GROUP BY {number}"
    )


def _cut_sql(database: duckdb.DuckDBPyConnection, days: Mapping[date, Day]) -> tuple[str, str]:
    """SQL of the cut that an event is in, and the join that it needs."""
    if all(kept.zone == "UTC" for kept in days.values()):
        return "date_trunc('day', time)", ""
    spans = [(day, *map(utc_naive, span)) for day, kept in days.items() for span in cut_spans(day, kept.zone)]
    database.execute(
        "CREATE OR REPLACE TEMP TABLE day_cuts AS SELECT unnest($1::DATE[]) AS cut_day, "
        "unnest($2::TIMESTAMP[]) AS cut_start, unnest($3::TIMESTAMP[]) AS cut_end",
        [list(column) for column in zip(*spans, strict=True)],
    )
    return "cut_start", "JOIN day_cuts ON time::DATE = cut_day AND time >= cut_start AND time < cut_end"


def _dates(days: Iterable[date]) -> str:
    return "[" + ", ".join(f"'{day}'" for day in days) + "]"
