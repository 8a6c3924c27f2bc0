"""Deduplication: of lines with one (site, id) the first received counts (P6, P7).

The result does not depend on where a line stands or which pass reads it, so any split
of the same segments into passes ends in the same events. A line that precedes an event
that an earlier pass archived replaces it, and that event's day is written again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import duckdb

from compactor.context import PassContext
from compactor.generations.archive import archive_paths
from shared.duckdb_engine import one_row
from shared.event_ids import server_id_random_sql, server_id_time_sql
from shared.generations.snapshot import Snapshot
from shared.lateness import dedupe_window
from shared.schema import CONTENT, CONTEXT
from shared.sql.archive_events import from_archive_sql


@dataclass
class FoldResult:
    """What deduplication found. `replaced` are archived events, by UTC day, that a new
    line takes the place of.
    """

    new: dict[date, int] = field(default_factory=dict)
    duplicates: int = 0
    conflicts: int = 0
    replaced: dict[date, int] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        """How many more events are counted than before."""
        return sum(self.new.values()) - sum(self.replaced.values())

    @property
    def days(self) -> list[date]:
        return sorted({*self.new, *self.replaced})


def _payload(table: str) -> str:
    """What must be equal for a second line with the same id to be a retry and not a
    conflict.
    """
    return "concat_ws(chr(31), " + ", ".join(f"coalesce({table}.{column}::VARCHAR, '')" for column in CONTENT) + ")"


def _precedence(table: str) -> str:
    """A text that orders the lines of one id: the first received first, and no two
    different lines equal.
    """
    rest = ", ".join(f"coalesce({table}.{column}::VARCHAR, '')" for column in CONTEXT)
    return f"concat_ws(chr(31), {table}.received::VARCHAR, {table}.time::VARCHAR, {_payload(table)}, {rest})"


def deduplicate(context: PassContext, before: Snapshot) -> FoldResult:
    """Leave in `incoming` one line of each (site, id), and none that an archived event
    precedes.

    Makes the table `replaced` of archived events that a line left in `incoming`
    precedes.
    """
    folded = FoldResult()
    database = context.database
    _drop_repeats_within(database, folded)
    _drop_repeats_of_archived(context, before, folded)
    folded.new = dict(database.execute("SELECT time::DATE, count(*) FROM incoming GROUP BY ALL").fetchall())
    folded.replaced = dict(database.execute("SELECT day, count(*) FROM replaced GROUP BY ALL").fetchall())
    return folded


def _drop_repeats_within(database: duckdb.DuckDBPyConnection, folded: FoldResult) -> None:
    # Equal ids have equal hashes, and numbers are grouped in two thirds of the time of
    # texts. What merely shares a hash is told apart by the window.
    repeated = "SELECT hash(site, id) FROM incoming GROUP BY ALL HAVING count(*) > 1"
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE ranked AS
        SELECT i.rowid AS line, row_number() OVER copies AS place,
            {_payload("i")} <> first_value({_payload("i")}) OVER copies AS conflict
        FROM incoming i WHERE hash(site, id) IN ({repeated})
        WINDOW copies AS (PARTITION BY i.site, i.id ORDER BY {_precedence("i")})
        """
    )
    (repeats, conflicts) = one_row(
        database, "SELECT count(*) FILTER (place > 1), count(*) FILTER (place > 1 AND conflict) FROM ranked"
    )
    if repeats:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM ranked WHERE place > 1)")
    folded.duplicates += repeats
    folded.conflicts += conflicts


def _drop_repeats_of_archived(context: PassContext, before: Snapshot, folded: FoldResult) -> None:
    database = context.database
    database.execute("CREATE OR REPLACE TEMP TABLE replaced (site VARCHAR, id VARCHAR, day DATE)")
    touched = [day for (day,) in database.execute("SELECT DISTINCT time::DATE FROM incoming").fetchall()]
    paths = archive_paths(context.data, before, sorted(dedupe_window(touched)))
    if not paths:
        return
    # By what is stored of an id, so that it need not be put together for every archived
    # event; in two steps, so that DuckDB passes over the row groups in which no id of a
    # client, or no moment of receipt, is one of those that are looked for.
    asked = f"SELECT rowid AS line, site, id, {server_id_random_sql('i')} AS random, {server_id_time_sql('i')} AS at "
    asked += "FROM incoming i"
    meeting = f"SELECT a.*, i.line FROM read_parquet($paths) a JOIN ({asked}) i ON a.site = i.site"
    meetings = (
        f"({meeting} AND a.client_id = i.id UNION ALL {meeting} AND a.random_id = i.random AND a.received = i.at)"
    )
    database.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE met AS
        SELECT a.line, a.site, a.id, a.time::DATE AS day, {_precedence("i")} < {_precedence("a")} AS precedes,
            {_payload("i")} <> {_payload("a")} AS conflict
        FROM {from_archive_sql(meetings, "line")} a JOIN incoming i ON a.line = i.rowid
        """,
        {"paths": [str(path) for path in paths]},
    )
    (repeats, conflicts) = one_row(database, "SELECT count(*), count(*) FILTER (conflict) FROM met")
    if repeats:
        database.execute("DELETE FROM incoming WHERE rowid IN (SELECT line FROM met WHERE NOT precedes)")
        database.execute("INSERT INTO replaced SELECT site, id, day FROM met WHERE precedes")
    folded.duplicates += repeats
    folded.conflicts += conflicts
