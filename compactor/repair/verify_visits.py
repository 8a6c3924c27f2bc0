"""The check of `foldlog verify` on visits: each day has those that its archive says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from compactor.generations.archive import open_parts
from compactor.generations.visit_parts import collect_visits, sum_visits
from compactor.repair.verify_finding import RUN_REBUILD, VerifyFinding
from compactor.sql import sql_list
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import one_row
from shared.generations.snapshot import Day, Part, Snapshot, VisitsOf
from shared.sql.archive_events import empty_relation_sql
from shared.sql.parquet import parquet
from shared.sql.visits import VISIT_COLUMNS

if TYPE_CHECKING:
    import duckdb

SUM_COLUMNS = dict.fromkeys(("bucket", "site", "bot", "visits", "bounces", "views", "duration_ms"), "VARCHAR")


def check_visits(
    database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot
) -> Iterator[VerifyFinding]:
    """Visits and their sums equal a recount of the archive, where that is there."""
    for day, kept in snapshot.days.items():
        if kept.visits_of is None or not _can_be_recounted(snapshot, day, kept.visits_of):
            continue
        collect_visits(database, data, snapshot, day, kept.visits_of.zone)
        sum_visits(database)
        checked: tuple[tuple[str, tuple[Part, ...], str, Mapping[str, str]], ...] = (
            ("sessions", kept.sessions, "visits_of_day", VISIT_COLUMNS),
            ("visits", kept.visits, "visit_sums", SUM_COLUMNS),
        )
        for kind, parts, recounted, columns in checked:
            published = _published(data, kind, day, parts, columns)
            if _digest(database, published, columns) != _digest(database, recounted, columns):
                problem = "differs from a recount of the archive"
                yield VerifyFinding(f"{kind}/{day}", problem, RUN_REBUILD)
        database.execute("DROP TABLE visits_of_day")


def _can_be_recounted(snapshot: Snapshot, day: date, made: VisitsOf) -> bool:
    """Whether all of which the visits were made is still there."""
    one, none = timedelta(days=1), Day("")
    earlier, following = (snapshot.days.get(day + shift, none) for shift in (-one, one))
    is_gone = snapshot.days[day].expired or following.expired
    return not is_gone and (not made.reached or bool(earlier.sessions))


def _published(data: DataDirectory, kind: str, day: date, parts: tuple[Part, ...], columns: Mapping[str, str]) -> str:
    if not parts:
        return empty_relation_sql(dict(columns))
    return parquet(sql_list(path for _, path in open_parts(data, kind, day, parts)))


def _digest(database: duckdb.DuckDBPyConnection, rows: str, columns: Mapping[str, str]) -> tuple[object, ...]:
    """How many rows there are, and one number of all of them."""
    texts = ", ".join(f"coalesce({name}::VARCHAR, chr(30))" for name in columns)
    return one_row(database, f"SELECT count(*), bit_xor(md5_number(concat_ws(chr(31), {texts}))) FROM {rows}")
