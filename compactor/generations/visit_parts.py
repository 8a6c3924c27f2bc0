"""The visits of a day that is over: its sessions part, a row a visit, and its visits
part, their sums by quarter of an hour. docs/formats.md has the columns.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.generations.archive import lists_by_version, open_archive, open_parts
from compactor.generations.part_files import write_part
from compactor.generations.visit_freshness import generations_of
from compactor.sql import count_rows, sql_file, sql_list
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_row
from shared.generations.counter_schema import BUCKET_S, OTHER
from shared.generations.snapshot import Day, Snapshot, VisitsOf
from shared.sql.parquet import parquet
from shared.sql.texts import TextNumbers
from shared.sql.visits import (
    BOUNCED_SQL,
    DURATION_MS_SQL,
    NOT_REACHED,
    VISIT_COLUMNS,
    VisitDay,
    events_with_rows,
    go_on_sql,
    visits_digest,
)

if TYPE_CHECKING:
    import duckdb

# Rows of a day: beyond these, sites with few visits are counted together.
SUM_ROWS_MAX = 100_000
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
    days = [each for each in (day, day + _ONE) if each in snapshot.days]
    events = events_with_rows(lists_by_version(open_archive(data, snapshot, days)))
    earlier = snapshot.days.get(day - _ONE, _NONE)
    reached = NOT_REACHED
    if earlier.sessions and not earlier.expired:
        opened = open_parts(data, "sessions", day - _ONE, earlier.sessions)
        went_on = f"(FROM {parquet(sql_list(path for _, path in opened))} WHERE ended_at >= DATE '{day}')"
        reached = of.reached_sql(went_on)
    for sql in of.statements(events, reached):
        database.execute(sql)


def _reaches(earlier: Day) -> str:
    return earlier.visits_of.reaches if earlier.visits_of and not earlier.expired else ""


def _digest(context: PassContext, day: date) -> str:
    """The digest of visits in `visits_of_day` that go on on the following day."""
    return visits_digest(one_row(context.database, go_on_sql("visits_of_day", day)))


def sum_visits(database: duckdb.DuckDBPyConnection) -> bool:
    """Make the table `visit_sums`. Returns whether sites were counted together."""
    numbers = TextNumbers(keyed=True)
    text = sql_file(
        __file__,
        "visit_sums.sql",
        site_number=numbers.number("site"),
        bounced=BOUNCED_SQL,
        duration_ms=DURATION_MS_SQL,
        bucket_s=str(BUCKET_S),
        rows_max=str(SUM_ROWS_MAX),
        other=OTHER,
    )
    database.execute(text)
    is_capped = f"(FROM visit_sums WHERE site = '{OTHER}')"
    return count_rows(database, is_capped) > 0
