"""Writing the parts of a day: one archive part with new events, the index of its ids,
and one counters part with what they add.

Each absorbs older parts of its day in tiers (tiers.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from msgspec.structs import replace

from compactor.context import PassContext
from compactor.fold.counters import day_to_add_to
from compactor.fold.recount import AllowsQuarters, few_rows, recount_day
from compactor.fold.working_tables import NewCounters, NewEvents
from compactor.generations.archive import OpenedPart, events_of, open_parts, stored_events
from compactor.generations.clustered import STORED_COLUMNS_SQL, write_clustered
from compactor.generations.counter_parts import merge_counters
from compactor.generations.id_index import with_made, write_ids
from compactor.generations.part_files import write_part
from compactor.generations.tiers import parts_to_absorb
from compactor.sql import sql_list
from shared.generations.snapshot import Day, Part, Snapshot
from shared.sql.archive_events import to_archive_sql
from shared.sql.parquet import parquet
from shared.sql.texts import keyed_number


def write_day(
    context: PassContext, before: Snapshot, day: date, events: NewEvents, new: NewCounters, generation: int
) -> Day:
    """Publish what this pass changes of one day. Returns the day for the new snapshot.
    Raises PartDamaged.
    """
    kept = day_to_add_to(context, before, day)
    kept = replace(kept, ids=with_made(kept.ids, events.made_ids.get(day, ())))
    uncounted = dict.fromkeys((*kept.uncounted, *new.too_many.get(day, ())))
    capped = dict.fromkeys((*kept.capped, *new.capped.get(day, ())))
    kept = replace(kept, uncounted=tuple(uncounted), capped=tuple(capped))
    kept = _write_events(context, day, kept, events, generation)
    added = f"(FROM new_counters WHERE day = DATE '{day}')"
    counters = merge_counters(context, day, kept, added, generation, rows=new.rows.get(day, 0))
    return replace(kept, added_at=context.now, counters=counters, merged=False, merge_failure=None)


def _write_events(context: PassContext, day: date, kept: Day, events: NewEvents, generation: int) -> Day:
    """Publish the new events, and the events of the parts that are absorbed with them
    or that hold a replaced event. A part that holds one is written again without it.
    """
    replaced = events.replaced.get(day, {})
    absorbed = [part for part in kept.archive if part.generation in replaced]
    new_rows = events.new.get(day, 0)
    others = [part for part in kept.archive if part not in absorbed]
    absorbed += parts_to_absorb(others, new_rows + sum(part.rows for part in absorbed))
    opened = open_parts(context.data, "archive", day, absorbed)
    # What the id has in common with the time of receipt was found out as it was loaded.
    new = f"(FROM new_events WHERE time::DATE = DATE '{day}')"
    sources = [to_archive_sql(new, is_derived="NOT is_indexed")] if new_rows else []
    if opened:
        kept_events = _without_replaced(opened) if replaced else stored_events(opened)
        sources.append(f"(SELECT {STORED_COLUMNS_SQL} FROM {kept_events} e)")
    rows = new_rows + sum(part.rows for part in absorbed) - sum(replaced.values())
    part = write_part(context, "archive", day, generation, " UNION ALL ".join(f"FROM {each}" for each in sources), rows)
    indexed = events.indexed.get(day, 0)
    index = _write_index(context, day, kept, absorbed, indexed, generation) if part else None
    return with_archive_part(kept, absorbed, part, index)


def with_archive_part(kept: Day, absorbed: Iterable[Part], part: Part | None, index: Part | None) -> Day:
    """The day with an archive part and its index of ids in place of the parts that it
    absorbed, and of theirs.
    """
    gone = {each.generation for each in absorbed}

    def replaced(parts: Iterable[Part], new: Part | None) -> tuple[Part, ...]:
        return (*(each for each in parts if each.generation not in gone), *([new] if new else []))

    return replace(kept, archive=replaced(kept.archive, part), ids=replaced(kept.ids, index))


def _without_replaced(opened: Sequence[OpenedPart]) -> str:
    """The stored events of parts, without those that are replaced."""
    stored = stored_events(opened, "filename", "file_row_number AS file_row")
    return (
        f"(SELECT * EXCLUDE (filename, file_row) FROM {stored} s ANTI JOIN replaced_rows r "
        "ON s.file_row = r.file_row AND s.filename = r.filename)"
    )


def _write_index(
    context: PassContext, day: date, kept: Day, absorbed: Sequence[Part], indexed: int, generation: int
) -> Part | None:
    """Publish the index of the new archive part: the numbers of its new ids, of which
    there are `indexed`, and those of the absorbed parts. A replaced event has the id of
    the event that replaces it.
    """
    gone = {part.generation for part in absorbed}
    old = open_parts(context.data, "ids", day, [part for part in kept.ids if part.generation in gone])
    new = f"SELECT {keyed_number('id_number')} AS number FROM incoming WHERE time::DATE = DATE '{day}' AND is_indexed"
    rows = indexed + sum(part.rows for part, _ in old)
    if old:
        new += f" UNION ALL SELECT number FROM {parquet(sql_list(path for _, path in old))}"
    return write_part(context, "ids", day, generation, f"{new} ORDER BY number", rows)


def rewrite_day(context: PassContext, day: date, old: Day, events: str, rows: int, generation: int) -> Day:
    """Publish a day anew from a relation of all its events with ARCHIVE_COLUMNS.
    Returns the day for the new snapshot.
    """
    part = write_clustered(context, day, generation, to_archive_sql(events), rows)
    written = [part] if part else []
    ids = [write_ids(context, day, generation, [context.data.part("archive", day, generation)])] if part else []
    archived = replace(old, archive=tuple(written), ids=tuple(index for index in ids if index))
    archive = events_of(open_parts(context.data, "archive", day, written))
    return replace(count_whole_day(context, day, archived, archive, generation), merged=True, merge_failure=None)


def count_whole_day(
    context: PassContext,
    day: date,
    kept: Day,
    events: str,
    generation: int,
    allows_quarters: AllowsQuarters = few_rows,
) -> Day:
    """Publish the counters of a day, counted from a relation of all its events."""
    counted = recount_day(context.database, day, kept, events, context.settings, allows_quarters)
    new = replace(kept, counters=(), quarters=counted.quarters, capped=counted.capped, uncounted=())
    return replace(new, counters=merge_counters(context, day, new, "(FROM new_counters)", generation))
