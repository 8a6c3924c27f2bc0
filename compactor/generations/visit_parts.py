"""The visits of a day that is over: its sessions part, a row a visit, and its visits
part, their sums by quarter of an hour. docs/formats.md has the columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.generations.archive import lists_by_version, open_archive, open_parts
from compactor.generations.part_files import write_part
from compactor.generations.visit_freshness import generations_of
from compactor.sql import count_rows, sql_list
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_row
from shared.generations.counter_schema import OTHER
from shared.generations.snapshot import Day, Snapshot, VisitsOf
from shared.sql.parquet import parquet
from shared.sql.texts import TextNumbers
from shared.sql.visits import (
    NOT_CARRIED,
    SUM_ROWS_MAX,
    VISIT_COLUMNS,
    VisitDay,
    events_with_rows,
    go_on_sql,
    sums_sql,
    visits_digest,
)

if TYPE_CHECKING:
    import duckdb

_ONE = timedelta(days=1)
_NONE = Day("")
_COLUMNS = ", ".join(VISIT_COLUMNS)


def make_visits(
    context: PassContext, snapshot: Snapshot, day: date, generation: int, *, sums_only: bool = False
) -> Day:
    """Publish the visits that begin on a day, or their sums alone. Raises
    PartDamaged.
    """
    kept, following = snapshot.days[day], snapshot.days.get(day + _ONE, _NONE)
    zone = context.settings.timezone
    collect_visits(context.database, context.data, snapshot, day, zone)
    made = VisitsOf(
        generations_of(kept.archive),
        generations_of(following.archive),
        _reaches(snapshot.days.get(day - _ONE, _NONE)),
        _digest(context, day),
        zone,
    )
    rows = f"SELECT {_COLUMNS} FROM visits_of_day"
    count = 0 if sums_only else count_rows(context.database, "visits_of_day")
    sessions = write_part(context, "sessions", day, generation, rows, count)
    capped = sum_visits(context.database)
    sums = "FROM visit_sums ORDER BY bucket, site, bot"
    visits = write_part(context, "visits", day, generation, sums, count_rows(context.database, "visit_sums"))
    context.database.execute("DROP TABLE visits_of_day")
    return replace(
        kept,
        sessions=(sessions,) if sessions else (),
        visits=(visits,) if visits else (),
        visits_of=replace(made, capped=capped),
        merge_failure=None,
    )


def collect_visits(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, day: date, zone: str
) -> None:
    """Make the table `visits_of_day`. Raises PartDamaged."""
    of = VisitDay(day, zone, TextNumbers(strong=True))
    carried = NOT_CARRIED
    earlier = snapshot.days.get(day - _ONE, _NONE)
    if earlier.sessions and not earlier.expired:
        opened = open_parts(data, "sessions", day - _ONE, earlier.sessions)
        carried = of.carried_sql(parquet(sql_list(path for _, path in opened)))
    _run(database, of.statements(_events(data, snapshot, day), carried))
    database.execute(f"CREATE OR REPLACE TEMP TABLE visits_begun AS FROM visits_of_day WHERE begun_at >= DATE '{day}'")
    after = VisitDay(day + _ONE, zone, of.numbers)
    carried = after.carried_sql("visits_begun")
    _run(database, after.statements(_events(data, snapshot, day + _ONE), carried, among=carried))
    pieces = f"(FROM visits_of_day WHERE begun_at < DATE '{day + _ONE}')"
    database.execute(f"CREATE OR REPLACE TEMP TABLE visits_of_day AS {after.extended_sql('visits_begun', pieces)}")
    database.execute("DROP TABLE visits_begun")


def _events(data: DataDirectory, snapshot: Snapshot, day: date) -> str:
    return events_with_rows(lists_by_version(open_archive(data, snapshot, [day] if day in snapshot.days else [])))


def _run(database: duckdb.DuckDBPyConnection, statements: Iterable[str]) -> None:
    for sql in statements:
        database.execute(sql)


def _reaches(earlier: Day) -> str:
    return earlier.visits_of.reaches if earlier.visits_of and not earlier.expired else ""


def _digest(context: PassContext, day: date) -> str:
    """The digest of visits in `visits_of_day` that go on on the following day."""
    return visits_digest(one_row(context.database, go_on_sql("visits_of_day", day)))


def sum_visits(database: duckdb.DuckDBPyConnection) -> bool:
    """Make the table `visit_sums`. Returns whether sites were counted together."""
    database.execute(f"CREATE OR REPLACE TEMP TABLE visit_sums AS {sums_sql('visits_of_day', SUM_ROWS_MAX)}")
    is_capped = f"(FROM visit_sums WHERE site = '{OTHER}')"
    return count_rows(database, is_capped) > 0
