"""What a publish changes: the difference between the generation that a store holds and
a newer one, however many lie between.

A day whose counters parts are the same has not changed. Of another one, the parts that
only one of the two generations has tell which keys changed. Where such a part of the
old generation is deleted, the day is published whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from compactor.generations.archive import open_parts
from compactor.generations.counter_parts import stored_counters
from compactor.publishing.calendar_day import calendar_day
from compactor.sql import count_rows, sql_file, sql_texts
from shared.disk.layout import DataDirectory
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Day, Part, Snapshot
from shared.sql.counters import DIMENSION_SQL, row_names
from shared.sql.texts import TextNumbers
from shared.stores.counter_rows import CounterRow, DayRows

if TYPE_CHECKING:
    import duckdb

_NO_DAY = Day("")
PAGE_ROWS = 20_000


def changed_rows(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, before: Snapshot, after: Snapshot
) -> Iterator[DayRows]:
    """The rows of each UTC day that differs. Raises PartDamaged for a part of
    `after`.
    """
    for day in sorted({*before.days, *after.days}):
        old, new = before.days.get(day, _NO_DAY), after.days.get(day, _NO_DAY)
        if (old.zone, old.uncounted) != (new.zone, new.uncounted):
            yield whole_day(database, data, day, new)
        elif old.counters != new.counters:
            yield _changed_day(database, data, day, old, new)


def whole_day(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, kept: Day) -> DayRows:
    """All rows of a day. Raises PartDamaged."""
    rows = [_rows_of(data, day, kept.counters, events="events", change="0")]
    return DayRows(day, _sums(database, day, kept, rows, "sum(events) <> 0"), whole=True)


def _changed_day(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, old: Day, new: Day) -> DayRows:
    removed = [part for part in old.counters if part not in new.counters]
    try:
        gone = _rows_of(data, day, removed, events="0", change="-events")
    except PartDamaged:
        return whole_day(database, data, day, new)
    kept = [part for part in new.counters if part in old.counters]
    added = [part for part in new.counters if part not in old.counters]
    rows = [
        gone,
        _rows_of(data, day, kept, events="events", change="0"),
        _rows_of(data, day, added, events="events", change="events"),
    ]
    return DayRows(day, _sums(database, day, new, rows, "sum(change) <> 0"), whole=False)


def _rows_of(data: DataDirectory, day: date, parts: Sequence[Part], *, events: str, change: str) -> str:
    """SQL of the rows of parts, with what they count now and what they change."""
    rows = stored_counters(open_parts(data, "counters", day, parts))
    columns = f"bucket, site, bot, event, dimension, value, {events} AS events, {change} AS change"
    return f"SELECT {columns} FROM {rows} WHERE visitors IS NULL"


def _sums(
    database: duckdb.DuckDBPyConnection, day: date, kept: Day, rows: Iterable[str], asked_for: str
) -> Iterator[list[CounterRow]]:
    """Pages of rows, by way of a table, which may spill. Read them before the next
    day's.
    """
    numbers = TextNumbers(keyed=True)
    text = sql_file(
        __file__,
        "changed_counters.sql",
        day=calendar_day(day, kept.zone),
        dimension=DIMENSION_SQL,
        rows=f"({' UNION ALL '.join(rows)})",
        excluded=sql_texts(row_names(kept.uncounted)),
        asked_for=asked_for,
        **{name: numbers.number(name) for name in ("site", "event", "value")},
    )
    database.execute(text)
    page = "FROM changed_counters WHERE rowid >= $first AND rowid < $first + $rows"
    for first in range(0, count_rows(database, "changed_counters"), PAGE_ROWS):
        yield [CounterRow(*row) for row in database.execute(page, {"first": first, "rows": PAGE_ROWS}).fetchall()]
