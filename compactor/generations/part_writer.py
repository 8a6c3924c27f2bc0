"""Writing parts: for each day that a pass changes, one archive part with its new events
and one with its counters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import date

import msgspec

from compactor.context import PassContext
from compactor.fold.counters import (
    ALL_DIMENSIONS,
    add_day_sums,
    add_new_counters,
    build_day_counters,
    cap_values,
    counting_sql,
    recount_day,
)
from compactor.fold.working_tables import DayCounters, NewCounters, NewEvents
from compactor.generations.archive import open_parts, stored_events
from compactor.sql import count_rows, sql_file, sql_text
from shared.disk.durable import publishing
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import COUNTER_COLUMNS
from shared.generations.part_integrity import record_written
from shared.generations.snapshot import Day, Part
from shared.schema import STORED_COLUMNS
from shared.sql.archive_events import from_archive_sql, to_archive_sql

TIER_PARTS = 8
# DuckDB reads milliseconds as microseconds and would write them as such: a third more
# bytes.
_STORED_COLUMNS = ", ".join(
    f"e.{name}::TIMESTAMP_MS AS {name}" if kind == "TIMESTAMP" else f"e.{name}" for name, kind in STORED_COLUMNS.items()
)
_COUNTER_COLUMNS = ", ".join(COUNTER_COLUMNS)
# Version 2 writes times as differences and ids without their lengths. After these
# encodings zstd level 1 leaves no larger files than level 3, and costs least.
PART_VERSION = 2
# For a rebuild that has no snapshot: parts of version 1 have no such note.
_VERSION_NOTE = f"KV_METADATA {{version: '{PART_VERSION}'}}"
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2"


def write_day(context: PassContext, day: date, old: Day, events: NewEvents, new: NewCounters, generation: int) -> Day:
    """Publish what this pass changes of one day. Returns the day for the new snapshot.
    Raises PartDamaged.
    """
    new_rows = events.new.get(day, 0)
    replaced = events.replaced.get(day, 0)
    merged = list(old.archive) if replaced else parts_to_absorb(old.archive, new_rows)
    rows = new_rows + sum(part.rows for part in merged) - replaced
    sql = _archive_sql(context.data, day, merged, replaced)
    part = write_part(context, "archive", day, generation, sql, rows)
    archive = (*(part for part in old.archive if part not in merged), *([part] if part else []))

    if (replaced or old.capped) and not old.expired:
        # Event and site stand on every row. Any other dimension can be counted again
        # alone.
        all_of_it = replaced or not set(old.capped).isdisjoint({"event", "site"})
        counters = recount_day(context, day, archive, old, new, ALL_DIMENSIONS if all_of_it else old.capped)
    else:
        counters = add_new_counters(context, day, old, new)
    written = write_counters(context, day, counters, generation)
    return msgspec.structs.replace(old, added_at=context.now, archive=archive, counters=written, capped=counters.capped)


def rewrite_day(context: PassContext, day: date, old: Day, events: str, generation: int) -> Day:
    """Publish a day anew from a table of all its events with ARCHIVE_COLUMNS. Returns
    the day for the new snapshot.
    """
    database = context.database
    rows = count_rows(database, events)
    part = write_part(context, "archive", day, generation, clustered(to_archive_sql(events)), rows)
    counters = build_day_counters(database, counting_sql(events))
    counters = cap_values(database, counters, context.settings.max_values)
    written = write_counters(context, day, counters, generation)
    return msgspec.structs.replace(old, archive=(part,) if part else (), counters=written, capped=counters.capped)


def write_counters(context: PassContext, day: date, counters: DayCounters, generation: int) -> tuple[Part, ...]:
    """Publish `day_counters` with the sums of whole days."""
    add_day_sums(context.database, counters)
    sql = f"SELECT {_COUNTER_COLUMNS} FROM day_counters ORDER BY dimension, site, bucket, event, bot, value"
    part = write_part(context, "counters", day, generation, sql, count_rows(context.database, "day_counters"))
    # The columns of counters are those of version 1.
    return (msgspec.structs.replace(part, version=1),) if part else ()


def _archive_sql(data: DataDirectory, day: date, merged: list[Part], replaced: int) -> str:
    """The new events of a day and those of the parts that are merged with them, in no
    order: day_merge.py orders them once.
    """
    new = to_archive_sql(f"(FROM new_events WHERE time::DATE = DATE '{day}')")
    if not merged:
        return f"FROM {new}"
    source = stored_events(open_parts(data, "archive", day, merged))
    kept = f"(SELECT {_STORED_COLUMNS} FROM {source} e)"
    if not replaced:
        return f"FROM {new} UNION ALL FROM {kept}"
    replaced_events = f"(FROM replaced_events WHERE day = DATE '{day}')"
    kept = to_archive_sql(
        f"(SELECT a.* FROM {from_archive_sql(source)} a ANTI JOIN {replaced_events} r USING (site, id))"
    )
    return clustered(f"(FROM {new} UNION ALL FROM {kept})")  # the whole day is written again


def clustered(events: str) -> str:
    """SQL of stored events in the order of site, country, visitor, session and time."""
    return sql_file(__file__, "clustered.sql", events=events, columns=_STORED_COLUMNS)


def write_part(context: PassContext, kind: str, day: date, generation: int, sql: str, rows: int) -> Part | None:
    """Publish the result of a query as a part, or nothing when it has no rows."""
    if not rows:
        return None
    path = context.data.part(kind, day, generation)
    with publishing(path) as beside:
        context.database.execute(f"COPY ({sql}) TO {sql_text(str(beside))} ({PARQUET}, {_VERSION_NOTE})")
        with beside.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        part = Part(generation, rows, beside.stat().st_size, sha256, version=PART_VERSION)
    record_written(context.data, path, part)
    return part


def parts_to_absorb(parts: Sequence[Part], new_rows: int) -> list[Part]:
    """The parts of a day to write together with its new rows: those of a size that has
    become too common.

    Sizes are in tiers of factor TIER_PARTS, so that a row is written again only once
    per tier, however many passes a day has.
    """
    if not new_rows:
        return []
    merged: list[Part] = []
    rows = new_rows
    while True:
        tier = _tier(rows)
        same = [part for part in parts if part not in merged and _tier(part.rows) <= tier]
        if len(same) < TIER_PARTS - 1:
            return merged
        merged += same
        rows += sum(part.rows for part in same)


def _tier(rows: int) -> int:
    return int(math.log(max(rows, 1), TIER_PARTS))
