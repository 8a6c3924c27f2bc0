"""The parts that a pass writes: for each day touched one archive part with its new
events, and its counters anew.

Counters of a day are the old ones plus the new events, unless something old changed (an
event was replaced, or values were counted under `(other)`): then they are counted again
from the day's whole archive, so that they depend on the events alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import date

import msgspec

from compactor.context import PassContext
from compactor.fold.counters import (
    EVERY_DIMENSION,
    add_counters,
    add_day_sums,
    build_day_counters,
    cap_values,
    counting_sql,
    recount_day,
)
from compactor.fold.dedupe import FoldResult
from compactor.sql import count_rows, sql_list, sql_text
from shared.disk.durable import publishing
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import COUNTER_COLUMNS
from shared.generations.part_integrity import verified_parts
from shared.generations.snapshot import Day, Part
from shared.schema import STORED_COLUMNS
from shared.sql.archive_events import from_archive_sql, to_archive_sql

TIER_PARTS = 8
# DuckDB reads milliseconds as microseconds, and would write them so: a third more
# bytes.
_STORED_COLUMNS = ", ".join(
    f"e.{name}::TIMESTAMP_MS AS {name}" if kind == "TIMESTAMP" else f"e.{name}" for name, kind in STORED_COLUMNS.items()
)
_COUNTER_COLUMNS = ", ".join(COUNTER_COLUMNS)
# Version 2 writes times as differences and ids without their lengths. Level 1 of zstd
# costs least, and what is left of an archive after these encodings is no larger with it
# than with level 3.
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARQUET_VERSION v2"


def write_day(context: PassContext, day: date, old: Day, folded: FoldResult, generation: int) -> Day:
    """Write what this pass changes of one day. Returns the day for the new snapshot."""
    new_rows = folded.new.get(day, 0)
    replaced = folded.replaced.get(day, 0)
    merged = list(old.archive) if replaced else parts_to_merge(old.archive, new_rows)
    rows = new_rows + sum(part.rows for part in merged) - replaced
    sql = _archive_sql(context.data, day, merged, replaced)
    part = write_part(context, "archive", day, generation, sql, rows)
    archive = (*(part for part in old.archive if part not in merged), *([part] if part else []))

    if (replaced or old.capped) and not old.expired:
        # Event and site stand on every row. Any other dimension can be counted again
        # alone.
        all_of_it = replaced or not set(old.capped).isdisjoint({"event", "site"})
        capped = recount_day(context, day, archive, old, EVERY_DIMENSION if all_of_it else old.capped)
    else:
        add_counters(context, day, old)
        capped = cap_values(context.database, context.settings.max_values)
    counters = write_counters(context, day, generation)
    return msgspec.structs.replace(old, added_at=context.now, archive=archive, counters=counters, capped=capped)


def rewrite_day(context: PassContext, day: date, old: Day, events: str, generation: int) -> Day:
    """Write a day anew from a table of all its events with ARCHIVE_COLUMNS. Returns it
    for the new snapshot.
    """
    database = context.database
    rows = count_rows(database, events)
    part = write_part(context, "archive", day, generation, clustered(to_archive_sql(events)), rows)
    build_day_counters(database, counting_sql(events))
    capped = cap_values(database, context.settings.max_values)
    counters = write_counters(context, day, generation)
    return msgspec.structs.replace(old, archive=(part,) if part else (), counters=counters, capped=capped)


def write_counters(context: PassContext, day: date, generation: int) -> Part | None:
    """Publish the table `counted` as the counters of a day, with the sums of all its
    quarters of an hour.
    """
    add_day_sums(context.database)
    sql = f"SELECT {_COUNTER_COLUMNS} FROM counted ORDER BY dimension, site, bucket, event, bot, value"
    return write_part(context, "counters", day, generation, sql, count_rows(context.database, "counted"))


def _archive_sql(data: DataDirectory, day: date, merged: list[Part], replaced: int) -> str:
    """New events, and those of the parts that are merged with them, as they come: they
    are put in order once (settle.py).
    """
    new = to_archive_sql(f"(FROM fresh WHERE time::DATE = DATE '{day}')")
    if not merged:
        return f"FROM {new}"
    source = f"read_parquet({sql_list(verified_parts(data, 'archive', day, merged))})"
    kept = f"(SELECT {_STORED_COLUMNS} FROM {source} e)"
    if not replaced:
        return f"FROM {new} UNION ALL FROM {kept}"
    gone = f"(FROM replaced WHERE day = DATE '{day}')"
    kept = to_archive_sql(
        f"(SELECT a.* FROM {from_archive_sql(source)} a ANTI JOIN {gone} r ON a.site = r.site AND a.id = r.id)"
    )
    return clustered(f"(FROM {new} UNION ALL FROM {kept})")  # all of the day is written again


def clustered(events: str) -> str:
    """SQL of stored events in the order of site, country, visitor, session and time.

    A report by country then passes over the rest, and the columns that stay the same
    from event to event are small. One number stands for all of that: texts would take
    three times as long to sort, and spill more. Two visitors who share its 24 bits of
    them stand between each other, which does no harm.
    """
    places = f"SELECT *, row_number() OVER (ORDER BY site, country) AS place FROM (SELECT DISTINCT site, country FROM {events})"
    bits = {"p.place": 16, "hash(e.visitor)": 24, "hash(e.session)": 7, "epoch(e.time::TIME)": 17}
    number = "0::UBIGINT"
    for value, width in bits.items():
        number = f"(({number}) * {1 << width} + ({value})::UBIGINT % {1 << width})"
    return (
        f"SELECT {_STORED_COLUMNS} FROM {events} e JOIN ({places}) p "
        f"ON e.site = p.site AND e.country IS NOT DISTINCT FROM p.country ORDER BY {number}"
    )


def write_part(context: PassContext, kind: str, day: date, generation: int, sql: str, rows: int) -> Part | None:
    """Publish the result of a query as a part, or nothing when it has no rows."""
    if not rows:
        return None
    with publishing(context.data.part(kind, day, generation)) as beside:
        context.database.execute(f"COPY ({sql}) TO {sql_text(str(beside))} ({PARQUET})")
        with beside.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Part(generation, rows, beside.stat().st_size, sha256)


def parts_to_merge(parts: Sequence[Part], new_rows: int) -> list[Part]:
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
