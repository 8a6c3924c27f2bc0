"""Counters parts: what a pass adds to the counters of a day, with the parts that it
absorbs. The value of a key is the sum over all parts of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from compactor.generations.archive import OpenedPart, lists_by_version, open_parts
from compactor.generations.day_note import DAY_NOTE, encode_note
from compactor.generations.part_files import write_part
from compactor.generations.tiers import parts_to_absorb
from compactor.sql import count_rows, sql_file, sql_texts
from shared.duckdb_engine import one_number
from shared.generations.counter_schema import COUNTER_COLUMNS, TOTAL
from shared.generations.snapshot import Day, Part
from shared.sql.counters import counters_sql, row_names
from shared.sql.texts import TextNumbers

if TYPE_CHECKING:
    import duckdb

    from compactor.context import PassContext

_COLUMNS = ", ".join(COUNTER_COLUMNS)


def merge_counters(
    context: PassContext,
    day: date,
    kept: Day,
    added: str,
    generation: int,
    *,
    rows: int | None = None,
    all_parts: bool = False,
) -> tuple[Part, ...]:
    """Publish the rows of `added`, a relation with COUNTER_COLUMNS, with the parts that
    they absorb, or with `all_parts` of the day. Returns the parts of the day
    afterwards. Raises PartDamaged.

    `rows`: how many are added, if that is known. Rows of dimensions that are not
    counted are left out.
    """
    rows = count_rows(context.database, added) if rows is None else rows
    absorbed = list(kept.counters) if all_parts else parts_to_absorb(kept.counters, rows)
    absorbed += [part for part in kept.counters if part.version == 1 and part not in absorbed and rows]
    opened = open_parts(context.data, "counters", day, absorbed)
    source = f"SELECT {_COLUMNS} FROM {added}"
    if opened or kept.uncounted:
        sum_counters(context.database, f"({source} UNION ALL FROM {stored_counters(opened)})", kept.uncounted)
        source = f"SELECT {_COLUMNS} FROM merged_counters"
        rows = count_rows(context.database, "merged_counters")
    sql = f"{source} ORDER BY dimension, site, bucket, event, bot, value"
    others = tuple(each for each in kept.counters if each not in absorbed)
    note = encode_note(kept, (*(each.generation for each in others), generation))
    part = write_part(context, "counters", day, generation, sql, rows, {DAY_NOTE: note})
    return (*others, *([part] if part else []))


def stored_counters(parts: Sequence[OpenedPart]) -> str:
    """SQL of the rows of counters parts, with COUNTER_COLUMNS."""
    return counters_sql(lists_by_version(parts))


def sum_counters(database: duckdb.DuckDBPyConnection, rows: str, uncounted: Sequence[str]) -> None:
    """Make `merged_counters`: each key once, without those that sum up to nothing."""
    numbers = TextNumbers(keyed=True)
    text = sql_file(
        __file__,
        "merged_counters.sql",
        rows=rows,
        excluded=sql_texts(row_names(uncounted)),
        **{name: numbers.number(name) for name in ("site", "event", "value")},
    )
    database.execute(text)


def total_events(database: duckdb.DuckDBPyConnection, parts: Sequence[OpenedPart]) -> int:
    """How many events counters parts contain."""
    sql = f"SELECT sum(events)::BIGINT FROM {stored_counters(parts)} WHERE dimension = '{TOTAL}' AND visitors IS NULL"
    return one_number(database, sql)
