"""A day of which both have the archive, or one has nothing: it is written again with
the events of both, as a rebuild does. An event that this directory has already is a
duplicate.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from compactor.absorb.theirs import Theirs
from compactor.claims.yield_events import CLAIM_COLUMNS
from compactor.context import PassContext
from compactor.fold.counters import new_day
from compactor.generations.archive import archived_events
from compactor.generations.clustered import STORED_COLUMNS_SQL
from compactor.generations.part_files import write_part
from compactor.generations.part_writer import rewrite_day
from compactor.sql import count_rows, sql_file, sql_list
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Day, Snapshot
from shared.lateness import DEDUPE_DAYS, dedupe_window
from shared.sql.archive_events import id_number_sql
from shared.sql.parquet import parquet
from shared.stores.instance import read_instance


class OpenDay(NamedTuple):
    """The day afterwards, and how many events of the other were there."""

    day: Day
    duplicates: int


def merge_open_day(context: PassContext, before: Snapshot, theirs: Theirs, day: date) -> OpenDay:
    """Publish a day with the events of both. Raises PartDamaged."""
    database, kept = context.database, theirs.snapshot.days[day]
    old = before.days.get(day) or replace(new_day(context), added_at=kept.added_at)
    nearby = archived_events(context.data, before, sorted(dedupe_window([day])))
    found = sql_file(
        __file__,
        "new_events.sql",
        theirs=archived_events(theirs.data, theirs.snapshot, [day]),
        ours=nearby,
        their_number=id_number_sql("e.site", "e.id"),
        our_number=id_number_sql("p.site", "p.id"),
    )
    database.execute(found, {"window": DEDUPE_DAYS})
    new = count_rows(database, "absorbed_events")
    duplicates = sum(part.rows for part in kept.archive) - new
    if new:
        ours = archived_events(context.data, before, [day])
        rows = new + sum(part.rows for part in old.archive)
        events = f"(FROM {ours} UNION ALL FROM absorbed_events)"
        old = rewrite_day(context, day, old, events, rows, before.generation + 1)
    added_at = max(old.added_at, kept.added_at)
    return OpenDay(_with_yielded(context, before, theirs, day, replace(old, added_at=added_at)), duplicates)


def _with_yielded(context: PassContext, before: Snapshot, theirs: Theirs, day: date, merged: Day) -> Day:
    """The day with what the other has yielded, but to this host, which counts it."""
    parts = theirs.snapshot.days[day].yielded
    own = read_instance(context.data)
    if not parts or own is None:
        return merged
    paths = sql_list(verified_parts(theirs.data, "yielded", day, parts))
    rows = f"FROM {parquet(paths)} e WHERE winner <> '{UUID(str(own.instance))}'::UUID"
    sql = f"SELECT {STORED_COLUMNS_SQL}, {', '.join(CLAIM_COLUMNS)} {rows}"
    count = count_rows(context.database, f"(SELECT 1 {rows})")
    part = write_part(context, "yielded", day, before.generation + 1, sql, count)
    return replace(merged, yielded=(*merged.yielded, part)) if part else merged
